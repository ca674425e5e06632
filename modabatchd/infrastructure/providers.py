"""
What libcloud's drivers are told, by provider, and which providers are refused.  Values and pure functions: no libcloud, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from modabatchd.infrastructure.dialects import (
    INSTALLATION,
    Dialect,
    Offered,
    Ref,
    Sizes,
    Tags,
    Wanted,
    count_ours,
    counting,
    named,
    only,
    others,
    tags_of,
    worded,
    words_of,
)
from modabatchd.infrastructure.node import MachineState

_EC2: Final = "{http://ec2.amazonaws.com/doc/2016-11-15/}"


def dialect(provider: str) -> Dialect | str:
    """The dialect of a provider, by libcloud's name of it; a string tells why it is refused."""
    return DIALECTS.get(provider) or REFUSED.get(provider) or _UNKNOWN.format(known=", ".join(sorted(DIALECTS)))


def _ec2(wanted: Wanted) -> dict[str, Any]:
    options = wanted.options
    network = others(options.get("network"))
    groups = words_of(options.get("security_groups"))
    arguments = only(
        location=wanted.zone and Ref("zone", wanted.zone),
        ex_keyname=options.get("key"),
        ex_subnet=network and network[0],
        ex_security_group_ids=groups if network else [],
        ex_security_groups=[] if network else groups,
        ex_assign_public_ip=network and options.get("address") == "public",
        ex_spot=wanted.spot,
    )
    return arguments | {
        "size": Ref("size", wanted.size),
        "image": Ref("image", options["image"]),
        "ex_userdata": wanted.user_data,
        "ex_metadata": wanted.tags.named(),
        "ex_clienttoken": wanted.tags.node,
        # A node that turns itself off must not be left behind, stopped and paid for.
        "ex_terminate_on_shutdown": True,
    }


def _ec2_told(answer: Any, installation: str) -> int | None:
    tag = getattr(answer, "tag", None)
    if tag == f"{_EC2}DescribeAddressesResponse":
        return 0
    if (
        tag != f"{_EC2}DescribeInstancesResponse"
        or answer.findtext(f"{_EC2}nextToken")
        or answer.find(f"{_EC2}reservationSet") is None
    ):
        return None
    return len(answer.findall(f"{_EC2}reservationSet/{_EC2}item/{_EC2}instancesSet/{_EC2}item"))


def _ec2_sizes(answer: Any) -> list[Offered]:
    items = answer.iterfind(f"{_EC2}instanceTypeSet/{_EC2}item")
    return [
        Offered(
            id=item.findtext(f"{_EC2}instanceType") or "",
            cpus=int(item.findtext(f"{_EC2}vCpuInfo/{_EC2}defaultVCpus") or 0),
            memory=int(item.findtext(f"{_EC2}memoryInfo/{_EC2}sizeInMiB") or 0),
        )
        for item in items
    ]


def _openstack(wanted: Wanted) -> dict[str, Any]:
    options = wanted.options
    arguments = only(
        ex_keyname=options.get("key"),
        networks=others(options.get("network")),
        ex_security_groups=others(options.get("security_groups")),
        ex_availability_zone=wanted.zone,
        ex_config_drive=options.get("config_drive") == "true",
    )
    return arguments | {
        "size": Ref("size", wanted.size),
        "image": Ref("image", options["image"]),
        "ex_userdata": wanted.user_data,
        "ex_metadata": wanted.tags.named(),
    }


def _gce(wanted: Wanted) -> dict[str, Any]:
    options, zone = wanted.options, wanted.zone
    network, subnetwork = options.get("network", "default"), options.get("subnetwork")
    disk = options.get("disk_type", "pd-standard")
    arguments = only(
        ex_subnetwork=subnetwork and Ref("other", subnetwork, f"regions/{zone.rpartition('-')[0]}/subnetworks/{subnetwork}"),
        ex_disk_size=options.get("disk"),
        ex_preemptible=wanted.spot,
    )
    return arguments | {
        "size": Ref("size", wanted.size, f"zones/{zone}/machineTypes/{wanted.size}"),
        "image": Ref("image", options["image"], options["image"]),
        "location": Ref("zone", zone),
        "ex_network": Ref("other", network, f"global/networks/{network}"),
        "ex_disk_type": Ref("other", disk, f"zones/{zone}/diskTypes/{disk}"),
        "external_ip": None if options.get("address") == "none" else "ephemeral",
        "ex_metadata": {"items": [{"key": "user-data", "value": wanted.user_data}]},
        "ex_labels": wanted.tags.named(),
        # Left out, the node would get a key of the project's default account.
        "ex_service_accounts": [],
    }


def _gce_told(answer: Any, installation: str) -> int | None:
    """Every zone is named, also one without machines; a zone that did not answer carries a warning."""
    if not isinstance(answer, dict) or answer.get("kind") != "compute#instanceAggregatedList" or not answer.get("items"):
        return None
    zones = list(answer["items"].values())
    if answer.get("unreachables") or any(_gce_silent(zone) for zone in zones):
        return None
    return sum(count_ours(zone.get("instances", []), named("labels"), installation) for zone in zones)


def _gce_silent(zone: Mapping[str, Any]) -> bool:
    return "instances" not in zone and zone.get("warning", {}).get("code") != "NO_RESULTS_ON_PAGE"


def _digitalocean(wanted: Wanted) -> dict[str, Any]:
    keys = only(ssh_keys=words_of(wanted.options.get("key")))
    return {
        "size": Ref("size", wanted.size),
        "image": Ref("image", wanted.options["image"]),
        "location": Ref("zone", wanted.zone),
        "ex_user_data": wanted.user_data,
        "ex_create_attr": keys | {"tags": wanted.tags.words()},
    }


def _linode(wanted: Wanted) -> dict[str, Any]:
    return only(ex_authorized_users=words_of(wanted.options.get("key"))) | {
        "size": Ref("size", wanted.size),
        "image": Ref("image", wanted.options["image"]),
        "location": Ref("zone", wanted.zone),
        "root_pass": wanted.password,
        "ex_userdata": wanted.user_data,
        "ex_tags": wanted.tags.words(),
    }


def _vultr(wanted: Wanted) -> dict[str, Any]:
    options, tags = wanted.options, wanted.tags
    arguments = only(
        ex_ssh_key_ids=words_of(options.get("key")),
        ex_private_network_ids=words_of(options.get("network")),
        ex_firewall_group_id=options.get("security_groups"),
    )
    return arguments | {
        "size": Ref("size", wanted.size),
        "image": Ref("image", options["image"]),
        "location": Ref("zone", wanted.zone),
        "ex_hostname": wanted.name,
        "ex_userdata": wanted.user_data,
        "ex_tag": f"modabatchd:{UUID(tags.installation).hex}:{UUID(tags.node).hex}",
    }


def _vultr_owner(data: Mapping[str, Any]) -> Tags | None:
    name, _, values = str(data.get("tag") or "").partition(":")
    installation, _, node = values.partition(":")
    return tags_of(installation, node) if name == "modabatchd" else None


def _local(wanted: Wanted) -> dict[str, Any]:
    return {
        "size": Ref("size", wanted.size),
        "image": None,
        "ex_userdata": wanted.user_data,
        "ex_tags": wanted.tags.named(),
        "ex_clienttoken": wanted.tags.node,
    }


#: By libcloud's names of the providers; C{local} is our own driver.
DIALECTS: Final[Mapping[str, Dialect]] = {
    "ec2": Dialect(
        create=_ec2,
        owner=named("tags"),
        told=_ec2_told,
        listing=lambda installation: {"ex_filters": {f"tag:{INSTALLATION}": installation}},
        account={"signature_version": "4"},
        options={"image": True, "network": False, "security_groups": False, "key": False, "address": False},
        spot=True,
        states={"shutting-down": MachineState.STOPPING, "stopping": MachineState.STOPPING},
        console="ex_get_console_output",
        user_data_limit=16384,
        # libcloud's own table of sizes is years old.
        sizes=Sizes(lambda size: {"Action": "DescribeInstanceTypes", "InstanceType.1": size}, _ec2_sizes),
    ),
    "openstack": Dialect(
        create=_openstack,
        owner=named("metadata"),
        told=counting("servers", named("metadata")),
        options={"image": True, "network": False, "security_groups": False, "key": False, "config_drive": False},
        console="ex_get_console_output",
        sizes=Sizes(),
    ),
    "gce": Dialect(
        create=_gce,
        owner=named("labels"),
        told=_gce_told,
        listing=lambda installation: {"ex_zone": "all"},
        destroying={"ex_sync": False},
        # Otherwise the driver leaves its access token in a file in the home directory.  Its time-out is how long it waits
        # for a create to end.
        account={"credential_file": "/dev/null", "timeout": 110.0},
        options={"image": True, "network": False, "subnetwork": False, "disk": False, "disk_type": False, "address": False},
        spot=True,
        zoned=True,
        states={"STOPPING": MachineState.STOPPING},
        console="ex_get_serial_output",
        user_data_limit=262144,
    ),
    "digitalocean": Dialect(
        create=_digitalocean,
        owner=worded,
        told=counting("droplets", worded),
        account={"timeout": None},
        options={"image": True, "key": False},
        zoned=True,
    ),
    "linode": Dialect(
        create=_linode,
        owner=worded,
        told=counting("data", worded),
        options={"image": True, "key": False},
        zoned=True,
        user_data_limit=65535 * 3 // 4,
    ),
    "vultr": Dialect(
        create=_vultr,
        owner=_vultr_owner,
        told=counting("instances", _vultr_owner),
        listing=lambda installation: {"ex_list_bare_metals": False},
        options={"image": True, "network": False, "security_groups": False, "key": False},
        zoned=True,
    ),
    "local": Dialect(create=_local, owner=named("tags"), options={}, console="ex_get_console_output"),
}

_UNKNOWN: Final = "It is none of the drivers that are tested with modabatchd: {known}."
_SILENT: Final = "libcloud's driver cannot pass user-data to a machine, so it could not be told which pool to join."

#: Why a provider is refused.
REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("scaleway", "upcloud", "ovh", "vsphere", "dummy"), _SILENT),
    "azure_arm": "libcloud's driver fails for every kind of user-data.",
    "azure": "The provider has closed this interface, and libcloud's driver cannot pass user-data to a machine.",
    "libvirt": "libcloud's driver cannot create machines.",
}

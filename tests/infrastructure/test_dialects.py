"""What the drivers are told, whose machines are, what lists tell, and what errors mean."""

from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from modabatchd.infrastructure import faults
from modabatchd.infrastructure.dialects import Dialect, Ref, Tags, Wanted, complaints
from modabatchd.infrastructure.errors import CloudAway, CloudError, CloudRefused, NoCapacity, QuotaReached, Throttled
from modabatchd.infrastructure.faults import Exists, Fault, Gone
from modabatchd.infrastructure.libcloud import Account, driver_factory
from modabatchd.infrastructure.providers import DIALECTS, REFUSED, dialect

OURS, NODE = str(uuid4()), str(uuid4())
EC2 = "http://ec2.amazonaws.com/doc/2016-11-15/"


def wanted(**changes: Any) -> Wanted:
    plain: dict[str, Any] = {
        "name": "modabatch-1",
        "tags": Tags(OURS, NODE),
        "size": "s",
        "zone": "eu-1a",
        "spot": False,
        "user_data": "#cloud-config\n",
        "password": "p",
        "options": {"image": "i"},
    }
    return Wanted(**(plain | changes))


def spoken(provider: str) -> Dialect:
    found = dialect(provider)
    assert isinstance(found, Dialect)
    return found


@pytest.mark.parametrize("provider", sorted(DIALECTS))
def test_user_data_and_tags_go_to_every_provider(provider: str) -> None:
    text = str(spoken(provider).create(wanted()))
    assert "#cloud-config" in text
    assert OURS in text or OURS.replace("-", "") in text
    assert NODE in text or NODE.replace("-", "") in text
    assert Ref("size", "s") in spoken(provider).create(wanted()).values() or "machineTypes/s" in text


@pytest.mark.parametrize("provider", sorted(DIALECTS))
def test_a_machine_is_ours_by_what_we_said(provider: str) -> None:
    said = spoken(provider).create(wanted())
    tags = said.get("ex_tags") or said.get("ex_create_attr", {}).get("tags") or said.get("ex_metadata")
    data = {"tags": tags, "metadata": tags, "labels": said.get("ex_labels"), "tag": said.get("ex_tag")}
    owner = spoken(provider).owner
    assert owner(data) == Tags(OURS, NODE)
    for name in ("tags", "metadata", "labels", "tag"):
        assert owner(dict.fromkeys(data) | {name: None}) is None
    assert owner({}) is None


def test_a_machine_whose_node_tag_is_lost_is_ours_all_the_same() -> None:
    assert spoken("ec2").owner({"tags": {"modabatchd-installation": OURS}}) == Tags(OURS, "")
    assert spoken("linode").owner({"tags": [f"modabatchd-i:{OURS.replace('-', '')}"]}) == Tags(OURS, "")
    assert spoken("linode").owner({"tags": ["modabatchd-i:rubbish"]}) is None


@pytest.mark.parametrize("provider", ["scaleway", "upcloud", "ovh", "vsphere", "azure_arm", "libvirt", "nothing"])
def test_providers_that_are_refused(provider: str) -> None:
    reason = dialect(provider)
    assert isinstance(reason, str)
    with pytest.raises(CloudRefused) as caught:
        driver_factory(Account(provider=provider))
    assert reason in caught.value.cause


def test_no_provider_is_both() -> None:
    assert not DIALECTS.keys() & REFUSED.keys()


def test_complaints() -> None:
    assert complaints(spoken("ec2"), {"image": "i"}, ["", "us-east-1a"], spot=True) == []
    assert complaints(spoken("linode"), {"colour": "red"}, ["", "x"], spot=True) == [
        "There is no option colour.",
        "The option image is missing.",
        "Zones must be named.",
        "There is no spot market.",
    ]
    assert complaints(spoken("local"), {}, [""]) == []


def test_ec2_without_a_network_of_its_own() -> None:
    said = spoken("ec2").create(wanted(options={"image": "i", "security_groups": "default", "address": "public"}, zone=""))
    assert said["ex_security_groups"] == ["default"]
    assert not {"ex_security_group_ids", "ex_subnet", "ex_assign_public_ip", "location", "ex_spot"} & said.keys()


def instances(namespace: str = EC2, items: int = 2, extra: str = "") -> ElementTree.Element:
    item = "<item><instancesSet><item/></instancesSet></item>"
    body = f"<reservationSet>{item * items}</reservationSet>{extra}"
    return ElementTree.fromstring(f'<DescribeInstancesResponse xmlns="{namespace}">{body}</DescribeInstancesResponse>')


def test_what_ec2s_lists_tell() -> None:
    told = spoken("ec2").told
    assert told is not None
    assert told(instances(), OURS) == 2
    assert told(instances(items=0), OURS) == 0
    assert told(instances(namespace=EC2.rstrip("/")), OURS) is None
    assert told(instances(extra="<nextToken>more</nextToken>"), OURS) is None
    assert told(ElementTree.fromstring(f'<DescribeInstancesResponse xmlns="{EC2}"/>'), OURS) is None
    assert told(ElementTree.fromstring(f'<DescribeAddressesResponse xmlns="{EC2}"/>'), OURS) == 0
    assert told("Bad Gateway", OURS) is None


@pytest.mark.parametrize(("provider", "key"), [("openstack", "servers"), ("digitalocean", "droplets"), ("linode", "data")])
def test_what_lists_in_json_tell(provider: str, key: str) -> None:
    told = spoken(provider).told
    assert told is not None
    ours = {"metadata": Tags(OURS, NODE).named(), "tags": Tags(OURS, NODE).words()}
    assert told({key: [ours, {}, ours]}, OURS) == 2
    assert told({key: [ours]}, str(uuid4())) == 0
    for strange in ({}, {key: None}, [], "", None):
        assert told(strange, OURS) is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(kind="BaseHTTPError", status=500, text="InsufficientInstanceCapacity: none left"), NoCapacity),
        (Fault(kind="BaseHTTPError", status=400, text="SpotMaxPriceTooLow: 0.01"), NoCapacity),
        (Fault(kind="BaseHTTPError", status=400, text="InstanceLimitExceeded: 10"), QuotaReached),
        (Fault(kind="BaseHTTPError", status=400, text="VcpuLimitExceeded: 32"), QuotaReached),
        (Fault(kind="BaseHTTPError", status=503, text="RequestLimitExceeded: slow down"), Throttled),
        (Fault(kind="BaseHTTPError", status=400, text="Throttling: Rate exceeded"), Throttled),
        (Fault(kind="BaseHTTPError", status=503, text="Unavailable: try later"), CloudAway),
        (Fault(kind="BaseHTTPError", status=400, text="InvalidAMIID.NotFound: ami-0"), CloudRefused),
        (Fault(kind="BaseHTTPError", status=400, text="InvalidInstanceID.NotFound: i-0"), Gone),
        (Fault(kind="BaseHTTPError", status=403, text="UnauthorizedOperation: no"), CloudRefused),
        (Fault(kind="InvalidCredsError", text="AuthFailure: no"), CloudRefused),
        (Fault(kind="IdempotentParamError", text="IdempotentParameterMismatch: no"), Exists),
        (Fault(kind="RateLimitReachedError", status=429, text="429 Rate limit exceeded", retry_after=7.0), Throttled),
        (Fault(kind="BaseHTTPError", status=403, text="403 Forbidden Quota exceeded for cores"), QuotaReached),
        (Fault(kind="BaseHTTPError", status=413, text="overLimit: This request was rate-limited."), Throttled),
        (
            Fault(kind="BaseHTTPError", status=409, text="Cannot delete instance while it is in task_state deleting"),
            CloudAway,
        ),
        (Fault(kind="BaseHTTPError", status=404, text="Instance could not be found."), Gone),
        (Fault(kind="QuotaExceededError", status=200, text="QUOTA_EXCEEDED: CPUS"), QuotaReached),
        (Fault(kind="GoogleBaseError", status=403, text="rateLimitExceeded: per minute"), Throttled),
        (Fault(kind="GoogleBaseError", status=200, text="ZONE_RESOURCE_POOL_EXHAUSTED: zone"), NoCapacity),
        (Fault(kind="ResourceExistsError", status=409, text="alreadyExists: modabatch-1"), Exists),
        (Fault(kind="ResourceNotFoundError", text="instance"), Gone),
        (Fault(kind="BaseHTTPError", status=422, text="Size is not available in this region. (code: 422)"), NoCapacity),
        (Fault(kind="BaseHTTPError", status=422, text="creating this droplet will exceed your droplet limit"), QuotaReached),
        (Fault(kind="LibcloudError", status=400, text="Account Limit reached. Status code: 400."), QuotaReached),
        (Fault(kind="LibcloudError", status=400, text="Label must be unique-label Status code: 400."), Exists),
        (Fault(kind="VultrException", status=503, text="Rate limit hit."), Throttled),
        (Fault(kind="VultrException", status=400, text="Invalid plan."), CloudRefused),
        (Fault(kind="ConnectionError", text="Connection refused"), CloudAway),
        (Fault(kind="MalformedResponseError", text="Failed to parse XML"), CloudAway),
        (Fault(kind="KeyError", text="'servers'"), CloudAway),
    ],
)
def test_what_errors_mean(fault: Fault, error: type[CloudError]) -> None:
    told = faults.error(fault, "ec2")
    assert type(told) is error
    assert told.cause.startswith("ec2: ")
    assert told.cure
    if isinstance(told, Throttled):
        assert told.retry_after == fault.retry_after


def test_long_errors_are_cut() -> None:
    told = faults.error(Fault(kind="X", text="many\n words " * 100), "ec2")
    assert len(told.cause) < 320
    assert "\n" not in told.cause
    assert faults.error(Fault(kind="Timeout"), "ec2").cause == "ec2: Timeout"

"""Accounts at providers whose drivers are tested by what they send: requests are recorded, and answered as far as need be."""

from typing import Any

from tests.clouds.loopback import Request, Response, in_json

NOW = "2026-01-01T00:00:00Z"


class Recorder:
    """
    An empty account.

    @ivar requests: all that came.
    @ivar created: the body of each create.
    @ivar machines: as the provider shows them, by id.
    @ivar strange: whether lists are answered with something else.
    """

    creating: str

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.created: list[dict[str, Any]] = []
        self.machines: dict[str, dict[str, Any]] = {}
        self.strange = False

    def answer(self, request: Request) -> Response:
        self.requests.append(request)
        if request.method == "DELETE":
            return self.deleted(request.path.rpartition("/")[2])
        if (request.method, request.path) == ("POST", self.creating):
            self.created.append(request.json)
            shown = self.shown(request.json, str(len(self.machines) + 101))
            self.machines[str(shown["id"])] = shown
            return self.made(shown)
        return self.asked(request)

    def deleted(self, machine_id: str) -> Response:
        del self.machines[machine_id]
        return Response(status=204)

    def shown(self, wanted: dict[str, Any], machine_id: str) -> dict[str, Any]:
        raise NotImplementedError

    def made(self, shown: dict[str, Any]) -> Response:
        raise NotImplementedError

    def asked(self, request: Request) -> Response:
        raise NotImplementedError


class DigitalOcean(Recorder):
    creating = "/v2/droplets"

    def shown(self, wanted: dict[str, Any], machine_id: str) -> dict[str, Any]:
        networks = {"v4": [{"type": "public", "ip_address": "203.0.113.9"}]}
        about = {"id": int(machine_id), "name": wanted["name"], "status": "new", "tags": wanted["tags"]}
        return about | {"created_at": NOW, "networks": networks, "region": {"name": "Frankfurt"}}

    def made(self, shown: dict[str, Any]) -> Response:
        return in_json({"droplet": shown}, 202)

    def asked(self, request: Request) -> Response:
        return in_json({"links": {}} if self.strange else {"droplets": list(self.machines.values()), "links": {}})


class Linode(Recorder):
    creating = "/v4/linode/instances"

    def shown(self, wanted: dict[str, Any], machine_id: str) -> dict[str, Any]:
        nothing = dict.fromkeys(("ipv6", "hypervisor", "specs", "alerts", "backups", "watchdog_enabled"))
        about = {"id": int(machine_id), "label": wanted["label"], "tags": wanted["tags"], "status": "provisioning"}
        place = {"region": wanted["region"], "type": wanted["type"], "image": wanted["image"]}
        return nothing | about | place | {"ipv4": ["203.0.113.9"], "created": NOW.rstrip("Z")}

    def made(self, shown: dict[str, Any]) -> Response:
        return in_json(shown)

    def deleted(self, machine_id: str) -> Response:
        del self.machines[machine_id]
        return in_json({})

    def asked(self, request: Request) -> Response:
        return in_json({} if self.strange else {"data": list(self.machines.values()), "page": 1, "pages": 1})


class Vultr(Recorder):
    creating = "/v2/instances"

    def shown(self, wanted: dict[str, Any], machine_id: str) -> dict[str, Any]:
        words = (
            "os ram disk vcpu_count allowed_bandwidth netmask_v4 gateway_v4 server_status v6_network v6_network_size "
            "app_id image_id features firewall_group_id"
        )
        about = {"id": f"v-{machine_id}", "label": wanted["label"], "tag": wanted["tag"], "plan": wanted["plan"]}
        state = {"status": "pending", "power_status": "running", "region": wanted["region"], "os_id": wanted["os_id"]}
        addresses = {"main_ip": "203.0.113.9", "v6_main_ip": "", "internal_ip": ""}
        return dict.fromkeys(words.split()) | about | state | addresses | {"date_created": NOW}

    def made(self, shown: dict[str, Any]) -> Response:
        return in_json({"instance": shown}, 202)

    def asked(self, request: Request) -> Response:
        about = {"meta": {"links": {"next": ""}}}
        return in_json(about if self.strange else about | {"instances": list(self.machines.values())})


class GoogleCompute(Recorder):
    """@ivar silent: a zone that does not answer to a list of all."""

    base = "/compute/v1/projects/project"
    operation = {
        "name": "operation",
        "status": "RUNNING",
        "selfLink": f"https://www.googleapis.com{base}/zones/europe-west3-a/operations/operation",
    }
    creating = f"{base}/zones/europe-west3-a/instances"
    silent = ""

    def shown(self, wanted: dict[str, Any], machine_id: str) -> dict[str, Any]:
        project = f"https://www.googleapis.com{self.base}"
        zone = f"{project}/zones/europe-west3-a"
        about = {"id": machine_id, "name": wanted["name"], "labels": wanted["labels"], "status": "PROVISIONING"}
        kind = {"machineType": f"{zone}/machineTypes/small-2", "image": f"{project}/global/images/debian"}
        return about | kind | {"zone": zone, "tags": {"fingerprint": "f"}, "networkInterfaces": [{"networkIP": "10.0.0.9"}]}

    def made(self, shown: dict[str, Any]) -> Response:
        return in_json(self.operation)

    def deleted(self, machine_id: str) -> Response:
        self.machines = {key: shown for key, shown in self.machines.items() if shown["name"] != machine_id}
        return in_json(self.operation)

    def asked(self, request: Request) -> Response:
        path = request.path.removeprefix(self.base)
        if path.startswith("/zones/europe-west3-a/operations"):
            return in_json(self.operation | {"status": "DONE"})
        if path.startswith("/zones/europe-west3-a/instances/"):
            return in_json(next(each for each in self.machines.values() if each["name"] == path.rpartition("/")[2]))
        if path == "/zones":
            zones = [{"id": "1", "name": "europe-west3-a", "status": "UP"}]
            return in_json({"kind": "compute#zoneList", "items": zones})
        return self._all(path.rpartition("/")[2])

    def _all(self, kind: str) -> Response:
        if self.strange:
            return in_json({})
        empty: dict[str, Any] = {"warning": {"code": "NO_RESULTS_ON_PAGE"}}
        here = {kind: list(self.machines.values())} if kind == "instances" and self.machines else empty
        there = {"warning": {"code": "UNREACHABLE"}} if self.silent else empty
        return in_json(
            {
                "kind": "compute#instanceAggregatedList" if kind == "instances" else "compute#diskAggregatedList",
                "items": {"zones/europe-west3-a": here, "zones/us-east1-b": there},
            }
        )

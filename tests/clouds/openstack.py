"""An OpenStack account: as much of Keystone and Nova as libcloud's driver asks for."""

import base64
from typing import Any
from uuid import uuid4

from tests.clouds.faults import Account
from tests.clouds.loopback import Request, Response, in_json

IMAGE = "7a0a4f0e-debian-12"
SIZE = "m1.small"
_DATES = {"created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z"}
_REFUSALS = {
    "capacity": (500, "No valid host was found. There are not enough hosts available."),
    "quota": (403, "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances"),
    "image": (400, "Can not find requested image"),
    "size": (400, "Flavor m1.unknown could not be found."),
    "credentials": (401, "The request you have made requires authentication."),
    "unknown": (404, "Instance could not be found."),
}


class OpenStackAccount(Account):
    """
    An empty account.

    @ivar port: where it is served; must be set.
    @ivar servers: by id.
    """

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.servers: dict[str, dict[str, Any]] = {}
        self.user_data: dict[str, str] = {}
        self.consoles: dict[str, str] = {}

    def is_create(self, request: Request) -> bool:
        return (request.method, request.path) == ("POST", "/compute/servers")

    def throttled(self) -> Response:
        return in_json({"overLimit": {"code": 429, "message": "slow down"}}, 429, **{"Retry-After": "7"})

    def refused(self, refusal: str) -> Response:
        status, message = _REFUSALS[refusal]
        return in_json({"fault": {"code": status, "message": message}}, status)

    def answered(self, request: Request) -> Response:
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["v3", "auth", "tokens"]:
                return self._token(request.json["auth"]["identity"]["password"]["user"])
            case "POST", ["compute", "servers"]:
                return self._create(request.json["server"])
            case "GET", ["compute", "flavors", "detail"]:
                flavor = {"id": SIZE, "name": SIZE, "ram": 2048, "disk": 20, "vcpus": 1, "swap": ""}
                return in_json({"flavors": [flavor]})
            case "GET", ["compute", "images", image] if image == IMAGE:
                return in_json({"image": {"id": IMAGE, "name": "debian", "status": "ACTIVE", "metadata": {}} | _DATES})
            case "GET", ["compute", "servers", "detail"]:
                shown = [server for server in self.servers.values() if not self.hidden(server["id"])]
                return in_json({} if self.faults.misread else {"servers": shown})
            case method, ["compute", "servers", server_id, *rest] if server_id in self.servers:
                return self._server(method, server_id, rest)
        return self.refused("unknown")

    def add(self, name: str, metadata: dict[str, str]) -> str:
        """A new server.  @return: its id."""
        server_id = str(uuid4())
        link = {"rel": "self", "href": f"http://127.0.0.1:{self.port}/compute/servers/{server_id}"}
        now = "2026-01-01T00:00:00Z"
        about = {"id": server_id, "name": name, "metadata": metadata, "status": "ACTIVE", "links": [link], "hostId": "h"}
        addresses = {"private": [{"addr": "10.0.0.5", "version": 4}]}
        self.servers[server_id] = about | {"addresses": addresses, "tenant_id": "t", "created": now, "updated": now}
        return server_id

    def _token(self, user: dict[str, str]) -> Response:
        if user["password"] != "secret":
            return self.refused("credentials")
        url = f"http://127.0.0.1:{self.port}/compute"
        endpoint = {"interface": "public", "region": "RegionOne", "url": url, "id": "e"}
        catalog = [{"type": "compute", "name": "nova", "endpoints": [endpoint]}]
        token = {"expires_at": "2099-01-01T00:00:00.000000Z", "catalog": catalog, "user": {"id": "u", "name": user["name"]}}
        return in_json({"token": token | {"roles": []}}, 201, **{"X-Subject-Token": "token"})

    def _create(self, wanted: dict[str, Any]) -> Response:
        if wanted["imageRef"] != IMAGE or wanted["flavorRef"] != SIZE:
            return self.refused("image" if wanted["imageRef"] != IMAGE else "size")
        server_id = self.add(wanted["name"], wanted["metadata"])
        self.made(server_id)
        self.user_data[server_id] = base64.b64decode(wanted["user_data"]).decode()
        return in_json({"server": {"id": server_id, "adminPass": "p"}}, 202)

    def _server(self, method: str, server_id: str, rest: list[str]) -> Response:
        if method == "DELETE":
            del self.servers[server_id]
            return Response(status=204)
        if rest == ["action"]:
            return in_json({"output": self.consoles.get(server_id, "")})
        return in_json({"server": self.servers[server_id]})

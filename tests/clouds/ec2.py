"""An EC2 account: moto, and in front of it what moto leaves out: client tokens, unknown images, refusals, late lists."""

import base64
import re
from random import randrange
from typing import Any
from xml.etree import ElementTree

from werkzeug.test import Client

from tests.clouds.faults import Account
from tests.clouds.loopback import Request, Response

IMAGE = "ami-12c6146b"
SIZE = "m5.large"
KEY = "AKIAIOSFODNN7EXAMPLE"
_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
_UNKNOWN = {"DescribeImages": "image", "DescribeInstanceTypes": "type"}
_REFUSALS = {
    "capacity": ("InsufficientInstanceCapacity", "We currently do not have sufficient m5.large capacity in the zone.", 500),
    "quota": ("InstanceLimitExceeded", "Your quota allows for 0 more running instance(s).", 400),
    "throttled": ("RequestLimitExceeded", "Request limit exceeded.", 503),
    "image": ("InvalidAMIID.NotFound", "The image id '[ami-0]' does not exist", 400),
    "type": ("InvalidInstanceType", "The following supplied instance types do not exist: [m9.none]", 400),
    "size": ("InvalidParameterValue", "Invalid value for InstanceType.", 400),
    "token": ("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent.", 400),
    "credentials": ("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
}

ElementTree.register_namespace("", _NAMESPACE)


class EC2Account(Account):
    """
    An empty account in us-east-1.

    @ivar user_data: by instance id.
    @ivar consoles: what an instance printed, by its id.
    """

    def __init__(self) -> None:
        super().__init__()
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._moto = Client(DomainDispatcherApplication(create_backend_app))
        self._account = str(randrange(10**11, 10**12))
        self._tokens: dict[str, tuple[str, str]] = {}
        self._vanished: set[str] = set()
        self.user_data: dict[str, str] = {}
        self.consoles: dict[str, str] = {}

    def is_create(self, request: Request) -> bool:
        return request.form.get("Action") == "RunInstances"

    def throttled(self) -> Response:
        return self.refused("throttled")

    def refused(self, refusal: str) -> Response:
        code, message, status = _REFUSALS[refusal]
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Response(f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>".encode(), status)

    def answered(self, request: Request) -> Response:
        if f"Credential={KEY}/" not in request.headers.get("Authorization", ""):
            return self.refused("credentials")
        action = request.form.get("Action")
        if action == "RunInstances":
            return self._run(request)
        if action == "GetConsoleOutput":
            return self._console(request.form["InstanceId"])
        response = self._ask(request)
        if response.status == 400 and action in _UNKNOWN:
            return self.refused(_UNKNOWN[action])
        return self._listed(response) if action == "DescribeInstances" else response

    def run(self, tags: dict[str, str]) -> str:
        """Somebody else starts an instance.  @return: its id."""
        form = {"Action": "RunInstances", "ImageId": IMAGE, "InstanceType": SIZE, "MinCount": "1", "MaxCount": "1"}
        for number, (name, value) in enumerate(tags.items(), 1):
            form |= {f"TagSpecification.1.Tag.{number}.Key": name, f"TagSpecification.1.Tag.{number}.Value": value}
        kind = {"TagSpecification.1.ResourceType": "instance"} if tags else {}
        return _first_id(self._moto_says(form | kind))

    def vanish(self, instance_id: str) -> None:
        """Terminate an instance, and forget it at once."""
        self.terminate(instance_id)
        self._vanished.add(instance_id)

    def terminate(self, instance_id: str) -> None:
        """An instance has turned itself off."""
        self._moto_says({"Action": "TerminateInstances", "InstanceId.1": instance_id})

    def states(self) -> dict[str, str]:
        """The states of all instances, whoever sees them."""
        answer = ElementTree.fromstring(self._moto_says({"Action": "DescribeInstances"}))
        items = answer.iterfind(f".//{{{_NAMESPACE}}}instancesSet/{{{_NAMESPACE}}}item")
        return {_text(item, "instanceId"): _text(item, f"instanceState/{{{_NAMESPACE}}}name") for item in items}

    def _run(self, request: Request) -> Response:
        form = request.form
        if form["ImageId"] != IMAGE or form["InstanceType"] != SIZE:
            return self.refused("image" if form["ImageId"] != IMAGE else "size")
        token = form.get("ClientToken", "")
        said, body = self._tokens.get(token, ("", ""))
        if body:
            return Response(body.encode()) if said == form.get("UserData") else self.refused("token")
        response = self._ask(request)
        if response.status == 200:
            instance_id = _first_id(response.body.decode())
            self.made(instance_id)
            self.user_data[instance_id] = base64.b64decode(form.get("UserData", "")).decode()
            if token:
                self._tokens[token] = form.get("UserData", ""), response.body.decode()
        return response

    def _console(self, instance_id: str) -> Response:
        output = base64.b64encode(self.consoles.get(instance_id, "").encode()).decode()
        body = f"<instanceId>{instance_id}</instanceId><timestamp>2026-01-01T00:00:00.000Z</timestamp><output>{output}</output>"
        return Response(f'<GetConsoleOutputResponse xmlns="{_NAMESPACE}">{body}</GetConsoleOutputResponse>'.encode())

    def _listed(self, response: Response) -> Response:
        if response.status != 200:
            return response
        answer = ElementTree.fromstring(response.body)
        reservations: Any = answer.find(f"{{{_NAMESPACE}}}reservationSet")
        for reservation in list(reservations):
            instance_id = _first_id(ElementTree.tostring(reservation, encoding="unicode"))
            if instance_id in self._vanished or self.hidden(instance_id):
                reservations.remove(reservation)
        text = ElementTree.tostring(answer, encoding="unicode")
        return Response((text.replace("2016-11-15", "2013-10-15") if self.faults.misread else text).encode())

    def _moto_says(self, form: dict[str, str]) -> str:
        headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/ec2/aws4_request"}
        return _corrected(self._moto.post("/", data=form, headers=headers | self._headers()).data).decode()

    def _ask(self, request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name in ("Authorization", "Content-Type")}
        answer = self._moto.open(
            "/", method=request.method, query_string=request.query, data=request.body, headers=headers | self._headers()
        )
        return Response(_corrected(answer.data), answer.status_code)

    def _headers(self) -> dict[str, str]:
        return {"Host": "ec2.us-east-1.amazonaws.com", "x-moto-account-id": self._account}


def _corrected(answer: bytes) -> bytes:
    """moto leaves out the slash at the end of the namespace."""
    return answer.replace(b'/doc/2016-11-15"', b'/doc/2016-11-15/"')


def _first_id(text: str) -> str:
    found = re.search(r"<instanceId>(.*?)</instanceId>", text)
    assert found, text
    return found[1]


def _text(item: Any, path: str) -> str:
    return str(item.findtext(f"{{{_NAMESPACE}}}{path}"))

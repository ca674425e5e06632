"""The description of the API against the API: what it says is so, and nothing that fits it makes the service fail."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.integration.daemon import Daemon, running


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("described") / "state") as daemon:
        daemon.submit("echo here")
        yield daemon


@pytest.fixture(scope="module")
def description(daemon: Daemon) -> OpenApiSchema:
    return schemathesis.openapi.from_url(f"{daemon.url}/api/spec.json")


schema = schemathesis.pytest.from_fixture("description")


@schema.parametrize()
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_service_does_what_its_description_says(case: Case, daemon: Daemon) -> None:
    case.call_and_validate(base_url=daemon.url, timeout=30)

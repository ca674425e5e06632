"""The description of the API against the API: what it says is so, and nothing that fits it makes the service fail."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.integration.daemon import running


def test_the_service_does_what_its_description_says(tmp_path: Path) -> None:
    with running(tmp_path / "state") as daemon:
        daemon.submit("echo here")
        operations = [
            result.ok() for result in schemathesis.openapi.from_url(f"{daemon.url}/api/spec.json").get_all_operations()
        ]
        assert len(operations) > 15
        for operation in operations:
            if operation.label == "GET /events":
                continue  # an answer without an end
            # What a bundle must hold, that ids or a condition must be there, and what a key was used for, no schema can say.
            unsaid = ("POST /jobs", "POST /jobs/actions", "POST /webhooks")
            excluded = [positive_data_acceptance] if operation.label in unsaid else []
            check(operation, partial(Case.call_and_validate, base_url=daemon.url, timeout=30, excluded_checks=excluded))


def check(operation: APIOperation, validate: Callable[[Case], object]) -> None:
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def holds(case: Case) -> None:
        validate(case)

    holds()

"""Scaling in memory, behind the whole front in memory."""

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from modabatchd.config.settings import HTTPSettings
from modabatchd.infrastructure.accounting import Accounting
from modabatchd.infrastructure.policy import Limits
from modabatchd.rest.analysis import Analysis
from modabatchd.rest.app import Application
from modabatchd.rest.costs import Costs
from modabatchd.rest.infrastructure import Infrastructure
from modabatchd.rest.once import Once
from modabatchd.rest.site import Site
from modabatchd.rest.upload import Upload
from modabatchd.store.costs import SQLCosts
from modabatchd.store.keys import SQLKeys
from tests.infrastructure.policies_for_tests import policy, pool
from tests.infrastructure.scaled import Scaled
from tests.queue.world import template
from tests.rest.in_memory import Client, Response
from tests.rest.places import Place
from tests.run_now import RunNow


class Front:
    def __init__(self, directory: Path) -> None:
        rules = policy(pool(1, 8, labels={"team": "x"}), idle=60.0, limits=Limits(max_nodes=3), currency="EUR")
        self.world = Scaled(directory, template(directory), rules)
        parts = self.world.parts
        resource = Infrastructure(self.world.clock, parts.scaling, parts.by_hand, parts.book, self.world.register)
        analysis = self.analysis = Analysis(self.world.clock, self.world.store, parts.scaling)
        place = Place(directory / "spool")
        ledger = SQLCosts(self.world.store)
        self.accounting = Accounting(self.world.clock, ledger, parts.scaling)
        costs = Costs(self.world.clock, self.world.store, ledger, parts.book)
        once = Once(self.world.clock, SQLKeys(self.world.store.write, self.world.store.read))
        application = Application([resource, analysis, costs], [], lambda head: Upload(head, place.spool, RunNow()), once)
        self.client = Client(Site(application.resource(), application.reception, HTTPSettings(), Clock()))

    def ask(self, method: str, path: str, expected: int = 200) -> Any:
        return self.response(method, path, expected).json()

    def response(self, method: str, path: str, expected: int = 200) -> Response:
        response = self.client.request(method, f"/infrastructure{path}")
        assert response.status == expected, response.content
        return response

    def nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "")["nodes"]
        return found

"""SIGKILL for a daemon, at a moment that was chosen: around a question to its provider, or once something is recorded."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from modabatchd.infrastructure.node import NodeState
from tests.clouds.ec2 import EC2Account
from tests.clouds.loopback import Dropped, Request, Response
from tests.integration.daemon import Daemon

_ACTIONS: Final = {"a create": "RunInstances", "a destroy": "TerminateInstances", "a list": "DescribeInstances"}
#: What becomes of the request, which nobody hears the answer of.
_LOST, _UNANSWERED, _LATE = "lost", "carried out", "carried out seconds later"
_CALLS: Final = {f"{what}, {fate}": (what, fate) for what in _ACTIONS for fate in (_LOST, _UNANSWERED, _LATE)}
_RECORDS: Final = {f"a node recorded as {state.value}": state for state in NodeState}
_CHANCE: Final = "some moment"
#: All moments; a random one counts as much as all of a kind.
MOMENTS: Final = (*_CALLS, *_RECORDS, *[_CHANCE] * 5)
#: Seconds that are waited for a moment, and that a late request is under way.
_PATIENCE: Final = 25.0
_DELAY: Final = 4.0
_LOOK: Final = 0.005


class Strikes:
    """
    Stands between the daemon and the account.

    @param account: of the emulated provider.
    @param chance: chooses the random moments.
    """

    def __init__(self, account: EC2Account, chance: random.Random) -> None:
        self._account = account
        self._chance = chance
        self._lock = threading.Lock()
        self._armed: tuple[str, str] | None = None
        self._victim = 0

    def answer(self, request: Request) -> Response:
        """What the provider says, if the daemon lives to hear it."""
        fate = self._fate(request)
        if fate is None:
            return self._account.answer(request)
        if fate == _UNANSWERED:
            self._account.answer(request)
        os.kill(self._victim, signal.SIGKILL)
        if fate == _LATE:
            threading.Timer(_DELAY, self._account.answer, [request]).start()
        raise Dropped

    def strike(self, daemon: Daemon, moment: str) -> str:
        """
        Kill the daemon, at that moment or when one has waited for it long enough.

        @return: the moment; or that it did not come.
        """
        process = daemon.process
        assert process is not None
        self._victim = process.pid
        came = self._wait(daemon, moment)
        if process.poll() is None:
            process.kill()
        process.wait()
        daemon.process = None
        return moment if came else f"no moment: {moment} did not come"

    def _fate(self, request: Request) -> str | None:
        """What becomes of the request on which the daemon dies; L{None} for all others."""
        with self._lock:
            if self._armed is None or request.form.get("Action") != _ACTIONS[self._armed[0]]:
                return None
            fate, self._armed = self._armed[1], None
            return fate

    def _wait(self, daemon: Daemon, moment: str) -> bool:
        if moment in _CALLS:
            return self._wait_for_call(daemon, _CALLS[moment])
        if moment in _RECORDS:
            return _wait_for_record(daemon.directory / "modabatchd.sqlite", _RECORDS[moment])
        time.sleep(self._chance.uniform(0, 8))
        return True

    def _wait_for_call(self, daemon: Daemon, call: tuple[str, str]) -> bool:
        assert daemon.process is not None
        with self._lock:
            self._armed = call
        until = time.monotonic() + _PATIENCE
        while daemon.process.poll() is None and time.monotonic() < until:
            time.sleep(_LOOK)
        with self._lock:
            came, self._armed = self._armed is None, None
        return came


def _wait_for_record(database: Path, state: NodeState) -> bool:
    """Until a node is in a state that it was not in before."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        before = _recorded(connection, state)
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            if _recorded(connection, state) - before:
                return True
            time.sleep(_LOOK)
    return False


def _recorded(connection: sqlite3.Connection, state: NodeState) -> set[str]:
    rows = connection.execute("SELECT id, entry FROM nodes").fetchall()
    return {node_id for node_id, entry in rows if json.loads(entry)["node"]["state"] == state.value}

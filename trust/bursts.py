"""Jobs that come a few at a time, with pauses in which their nodes have time to go."""

from __future__ import annotations

import random
import threading
from typing import Final
from uuid import uuid4

import requests

from tests.integration.daemon import bundle

#: Of an answer after which the same is asked once more.
_AGAIN: Final = frozenset({409, 429, 500, 502, 503, 507})
#: More cores than half of a machine of the account has, and than the pool's own machine has at all.
_CPUS: Final = "40"


class Bursts:
    """
    Submits to a daemon that may be dead at any time, each job under a key of its own, until it is told that it was accepted.

    @ivar accepted: how many.
    @ivar problems: answers that no client should ever see.
    """

    def __init__(self, url: str, chance: random.Random) -> None:
        self.accepted = 0
        self.problems: list[str] = []
        self._url = url
        self._chance = chance
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Let them come."""
        self._thread.start()

    def stop(self) -> None:
        """No more come."""
        self._over.set()
        self._thread.join()

    def unfinished(self) -> list[str]:
        """Jobs that have not come to their end yet, each with its state."""
        listed = requests.get(f"{self._url}/jobs", timeout=60).json()
        states = {entry["id"]: entry["job_status"] for entry in listed}
        return [f"{job_id}: {state}" for job_id, state in states.items() if state != "completed"]

    def _run(self) -> None:
        while not self._over.is_set():
            for _ in range(self._chance.randint(1, 3)):
                self._submit(str(uuid4()))
            self._over.wait(self._chance.uniform(1, 12))

    def _submit(self, key: str) -> None:
        job = bundle(f"sleep {self._chance.uniform(0.5, 6):.1f}")
        while not self._is_accepted(key, job):
            self._over.wait(0.2)

    def _is_accepted(self, key: str, job: bytes) -> bool:
        try:
            answer = requests.post(
                f"{self._url}/jobs",
                headers={"Idempotency-Key": f'"{key}"'},
                files={"job-bundle": job},
                data={"request-cpus": _CPUS},
                timeout=30,
            )
        except requests.RequestException:
            return False
        if answer.status_code in _AGAIN:
            return False
        if answer.status_code in (201, 202):
            self.accepted += 1
        else:
            self.problems.append(f"{answer.status_code}: {answer.text[:300]}")
        return True

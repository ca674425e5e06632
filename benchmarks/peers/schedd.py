"""The scheduler itself, spoken to without any daemon."""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path
from typing import Any, Final

from modabatchd.queue.htcondor.classads import Group, canonical
from modabatchd.queue.htcondor.environment import Access, child_environment

_REMOVAL: Final = 120.0


def submit(group: Group) -> list[tuple[int, int]]:
    """Submit jobs as one; their numbers."""
    library = _library()
    result = _schedd(library).submit(library.Submit(group.description), itemdata=iter(group.rows))
    return [(result.cluster(), result.first_proc() + row) for row in range(len(group.rows))]


def act(action: str, number: str) -> None:
    """Hold or remove a job, as an administrator would."""
    library = _library()
    actions = {"hold": library.JobAction.Hold, "remove": library.JobAction.Remove}
    _schedd(library).act(actions[action], [number], ("by hand", 0))


def remove_all(instance: str) -> None:
    """Take all jobs of an installation out of the queue, and wait until they are gone."""
    library = _library()
    constraint = f'ModabatchInstance == "{canonical(instance)}"'
    schedd = _schedd(library)
    schedd.edit(constraint, "ModabatchAcknowledged", "true")
    schedd.act(library.JobAction.Remove, constraint)
    until = time.monotonic() + _REMOVAL
    while schedd.query(constraint, ["ClusterId"], limit=1) and time.monotonic() < until:
        time.sleep(0.5)


def _schedd(library: Any) -> Any:
    name = os.environ["MODABATCH_TEST_SCHEDD"]
    ads = library.Collector().query(library.AdType.Schedd)
    return library.Schedd(next(ad for ad in ads if str(ad["Name"]).startswith(name)))


def _library() -> Any:
    """HTCondor's library, which finds the pool in the way a daemon's children do; it looks when it is imported."""
    told = {name: os.environ[f"MODABATCH_TEST_{name}"] for name in ("COLLECTOR", "TOKEN_DIR", "CONDOR_CONFIG")}
    access = Access(
        collector=told["COLLECTOR"], token_directory=Path(told["TOKEN_DIR"]), config_file=Path(told["CONDOR_CONFIG"])
    )
    os.environ.update(child_environment({}, access))
    return importlib.import_module("htcondor2")

"""
The nodes of the pool, and what an administrator does to them; a part of the program in the child process.

Note [Which token]
==================
Each node has its own signing key, and wants to see a token made with it.  The library takes tokens from a directory, and the
first that fits; so each order goes out with a directory of its own, which holds just the one.

Note [A node of yesterday]
==========================
The library remembers with whom it has spoken at which address.  When another node has got that address, the first try fails for
no other reason.  So everything is tried twice; all of it may be done twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import classad2
import htcondor2

from modabatchd.queue.htcondor import frames

#: The attributes of slots, beside those that every ad has, that L{modabatchd.infrastructure.presences} reads.
_SLOT: Final = [
    *("Name", "MyType", "MyAddress", "Machine", "SlotType", "State", "Activity", "Draining", "GlobalJobId", "LastHeardFrom"),
    *("Cpus", "Memory", "Disk", "GPUs", "TotalSlotCpus", "TotalSlotMemory", "TotalSlotDisk", "TotalSlotGPUs", "Offline"),
    *("ModabatchNode", "ModabatchPool", "ModabatchBorn"),
]
_COLLECTOR: Final = ["Name", "MyType", "StatsLifetime", "StatsLastUpdateTime"]
_TOKEN_DIRECTORIES: Final = ("SEC_TOKEN_DIRECTORY", "SEC_TOKEN_SYSTEM_DIRECTORY")
#: Seconds that a node's daemons may take to end and to take their ads back.
_LEAVING: Final = 3.0
_LOOK: Final = 0.1
#: Types of ads, how they are taken back, and which part of their names is the node's.
_TRACES: Final = (
    ("Machine", "INVALIDATE_STARTD_ADS", 1),
    ("StartD", "INVALIDATE_STARTD_ADS", 0),
    ("DaemonMaster", "INVALIDATE_MASTER_ADS", 0),
)


def collector() -> Sequence[classad2.ClassAd]:
    """The collector's own ad."""
    ads: Sequence[classad2.ClassAd] = htcondor2.Collector().query(htcondor2.AdType.Collector, None, _COLLECTOR)
    if not ads:
        raise htcondor2.HTCondorException("The collector tells nothing of itself")
    return ads


def slots() -> Sequence[classad2.ClassAd]:
    """All slots of the pool."""
    found: Sequence[classad2.ClassAd] = htcondor2.Collector().query(htcondor2.AdType.Startd, None, _SLOT)
    return found


def carry_out(operation: Any) -> None:
    """Do what is asked of a node."""
    match operation:
        case frames.Drain(node, token):
            _twice(lambda: _drain(node, token))
        case frames.Resume(node, token):
            _twice(lambda: _resume(node, token))
        case frames.Dismiss(node, token):
            _twice(lambda: _dismiss(node, token))
        case frames.Forget(node, token):
            _forget(node, token)


def _drain(node: str, token: str) -> None:
    startd = _startd(node)
    with _showing(token):
        try:
            # Nothing on completion: a node that is drained shows itself as such, and can be resumed.
            graceful, nothing = htcondor2.DrainType.Graceful, htcondor2.CompletionType.Nothing
            htcondor2.Startd(startd).drainJobs(graceful, nothing, reason="modabatchd")
        except htcondor2.HTCondorException:
            # It says no more than that when it drains already; the collector may hear of it later.
            if not any(slot.get("Draining") for slot in htcondor2.Collector(startd).query(htcondor2.AdType.Startd)):
                raise


def _resume(node: str, token: str) -> None:
    with _showing(token):
        htcondor2.Startd(_startd(node)).cancelDrainJobs()


def _dismiss(node: str, token: str) -> None:
    """Returns when the slots have gone; they may have before."""
    masters = htcondor2.Collector().query(htcondor2.AdType.Master, _of(node, 0))
    if not masters:
        return
    with _showing(token):
        htcondor2.send_command(masters[0], htcondor2.DaemonCommand.OffGraceful)
    until = time.monotonic() + _LEAVING
    while _slots(node) and time.monotonic() < until:
        time.sleep(_LOOK)


def _forget(node: str, token: str) -> None:
    told = htcondor2.Collector(None, htcondor2.SecurityContext(token))
    for kind, command, part in _TRACES:
        query = classad2.ClassAd({"MyType": "Query", "TargetType": kind})
        query["Requirements"] = classad2.ExprTree(_of(node, part))
        told.advertise([query], command)


def _startd(node: str) -> classad2.ClassAd:
    found = _slots(node)
    if not found:
        raise htcondor2.HTCondorException(f"The pool does not show a node {node}")
    return found[0]


def _slots(node: str) -> Sequence[classad2.ClassAd]:
    wanted = f'{_of(node, 1)} && SlotType =!= "Dynamic"'
    found: Sequence[classad2.ClassAd] = htcondor2.Collector().query(htcondor2.AdType.Startd, wanted, _SLOT)
    return found


def _of(node: str, part: int) -> str:
    """The constraint for ads of a node: the part of their names that is the node's, C{slot1@} and the domain set apart."""
    return f'split(Name, "@.")[{part:d}] == {classad2.quote(node)}'


def _twice(call: Callable[[], None]) -> None:
    """See Note [A node of yesterday]."""
    try:
        call()
    except htcondor2.HTCondorException:
        call()


@contextmanager
def _showing(token: str) -> Iterator[None]:
    """See Note [Which token]."""
    before = {name: htcondor2.param.get(name) for name in _TOKEN_DIRECTORIES}
    with TemporaryDirectory(prefix="modabatch-") as directory:
        place = Path(directory) / "token"
        place.touch(mode=0o600)
        place.write_text(token)
        try:
            for name in _TOKEN_DIRECTORIES:
                htcondor2.param[name] = directory
            yield
        finally:
            for name, value in before.items():
                htcondor2.param[name] = value or ""

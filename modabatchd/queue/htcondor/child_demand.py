"""
How many jobs wait for a node, by shape; a part of the program in the child process.

Note [Counting what waits]
==========================
Asking for all idle jobs takes longer the more there are.  The scheduler sorts jobs into I{autoclusters} and counts them for
the matchmaking's sake; to ask for these costs the same for ten jobs and for a hundred thousand.  But a count covers all jobs
that it has ever sorted and that are still in the queue: also those that run, are held, or have ended.  These are asked for
one by one and subtracted; there are as many as there are cores and results that nobody has fetched.  And jobs are only
sorted when the matchmaker comes by, so those that are idle and not sorted yet are asked for as well, and sorted here.

A job that changes in the middle of it may be missed.  It is counted the next time.

Note [One for all]
==================
An autocluster's ad has the attributes that machines of today care about, and not those that the machines of tomorrow may.  So
one of its jobs stands for all.  It is looked up again when the first job of the autocluster has left the queue.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import classad2
import htcondor2

from modabatchd.queue.htcondor.frames import Shape

_VANILLA: Final = 5
_MOST_UNSORTED: Final = 10_000
#: What a slot is made of, in MiB and KiB: HTCondor rounds requests up to these.
_MEMORY_GRAIN: Final = 128
_DISK_GRAIN: Final = 1024
_ASKED: Final = ("RequestCpus", "RequestMemory", "RequestDisk", "RequestGPUs", "Requirements")

Offers = Mapping[str, Sequence[classad2.ClassAd]]


class Waiting:
    """Counts jobs, and remembers of each autocluster the job that stands for it.  See Note [One for all]."""

    def __init__(self) -> None:
        self._examples: dict[tuple[int, str], classad2.ClassAd] = {}

    def shapes(self, schedd: htcondor2.Schedd, offers: Mapping[str, Sequence[str]]) -> list[Shape]:
        """All shapes of which a job waits."""
        machines = {name: [*_readable(texts)] for name, texts in offers.items()}
        return [*self._sorted(schedd, machines), *_unsorted(schedd, machines)]

    def _sorted(self, schedd: htcondor2.Schedd, offers: Offers) -> Iterator[Shape]:
        """See Note [Counting what waits]."""
        clusters = schedd.query("true", ["AutoClusterId", "JobCount", "JobIds"], opts=htcondor2.QueryOpt.AutoCluster)
        busy = Counter(ad.get("AutoClusterId") for ad in schedd.query("JobStatus != 1", ["AutoClusterId"]))
        kept, self._examples = self._examples, {}
        for cluster in clusters:
            number = int(cluster["AutoClusterId"])
            count = int(cluster["JobCount"]) - busy[number]
            if count > 0 and (example := self._example(schedd, kept, number, str(cluster.get("JobIds", "")))):
                yield _shape(str(number), count, example, offers)

    def _example(
        self, schedd: htcondor2.Schedd, kept: Mapping[tuple[int, str], classad2.ClassAd], number: int, jobs: str
    ) -> classad2.ClassAd | None:
        key = (number, jobs.partition(" ")[0])
        example = kept.get(key)
        if example is None:
            wanted = f"AutoClusterId == {number:d} && JobStatus == 1 && JobUniverse == {_VANILLA}"
            example = next(iter(schedd.query(wanted, [], limit=1)), None)
        if example is not None:
            self._examples[key] = example
        return example


def _readable(offers: Sequence[str]) -> Iterator[classad2.ClassAd]:
    """What an owner's mistake has spoilt matches nothing; the others are not to suffer from it."""
    for text in offers:
        with suppress(ValueError, classad2.ClassAdException):
            yield classad2.ClassAd(text)


def _unsorted(schedd: htcondor2.Schedd, offers: Offers) -> Iterator[Shape]:
    wanted = f"JobStatus == 1 && AutoClusterId is undefined && JobUniverse == {_VANILLA}"
    groups: dict[str, list[classad2.ClassAd]] = {}
    for ad in schedd.query(wanted, [], limit=_MOST_UNSORTED):
        groups.setdefault("; ".join(str(ad.lookup(name)) for name in _ASKED if name in ad), []).append(ad)
    for number, ads in enumerate(groups.values()):
        yield _shape(f"new-{number}", len(ads), ads[0], offers)


def _shape(name: str, count: int, job: classad2.ClassAd, offers: Offers) -> Shape:
    return Shape(
        id=name,
        count=count,
        cpus=max(1, _number(job, "RequestCpus")),
        memory=_rounded(_number(job, "RequestMemory"), _MEMORY_GRAIN),
        disk=_rounded(_number(job, "RequestDisk"), _DISK_GRAIN),
        gpus=_number(job, "RequestGPUs"),
        oldest=float(job.get("QDate", 0)),
        offers=[offer for offer, machines in offers.items() if any(job.symmetricMatch(machine) for machine in machines)],
    )


def _number(job: classad2.ClassAd, name: str) -> int:
    """What a job asks for, however it has expressed that; 0 if it depends on the machine."""
    value = job.eval(name) if name in job else 0
    return math.ceil(value) if isinstance(value, int | float) and not isinstance(value, classad2.Value) else 0


def _rounded(amount: int, grain: int) -> int:
    return -(-amount // grain) * grain

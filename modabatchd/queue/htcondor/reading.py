"""
Ads of jobs, as far as they can be read.

Note [Ads that cannot be read]
==============================
One job whose ad nobody understands, because an administrator edited it or a new version of HTCondor shows something new, must
not keep the others from being watched.  So it is left out, and told to the log once.  It is not absent, though: whoever looks
for it is told L{modabatchd.queue.absence.Unreadable}.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from twisted.logger import Logger

from modabatchd.queue.htcondor import classads
from modabatchd.queue.job import BackendId, JobState, Sighting


class Reading:
    """
    Reads the ads of jobs.

    @ivar remote: our numbers of jobs whose files lie with the scheduler, as far as we have seen them.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.remote: set[BackendId] = set()
        self._odd: set[str] = set()

    def read(self, ads: Iterable[Mapping[str, Any]], odd: set[str]) -> Iterator[Sighting]:
        """
        What ads say, without those of half-made jobs.

        @param odd: gets the ids of jobs of which it cannot be read.  See Note [Ads that cannot be read].
        """
        for ad in ads:
            job_id = ad.get("ModabatchJobId")
            if not isinstance(job_id, str) or classads.half_made(ad):
                continue
            try:
                sighting = classads.sighting(ad)
            except Exception as problem:
                odd.add(job_id)
                self._tell(job_id, problem)
                continue
            self._odd.discard(job_id)
            if classads.spooled(ad):
                self.remote.add(sighting.backend_id)
            yield sighting

    def _tell(self, job_id: str, problem: Exception) -> None:
        if job_id not in self._odd:
            self._odd.add(job_id)
            what = f"{type(problem).__name__}: {problem}"
            self._log.error("what the scheduler shows of job {job_id} cannot be read: {what}", job_id=job_id, what=what)


def best(sightings: Iterable[Sighting]) -> Mapping[str, Sighting]:
    """One sighting per job: should there be two, the one that was not removed, else the latest."""
    ranked = sorted(sightings, key=lambda sighting: (sighting.state is not JobState.REMOVED, sighting.backend_id))
    return {sighting.job_id: sighting for sighting in ranked}

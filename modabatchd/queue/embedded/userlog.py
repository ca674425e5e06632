"""The event log of a job, in the manner of HTCondor's.  Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from modabatchd.queue.embedded.record import Record
from modabatchd.queue.job import JobState, Sighting

_OCCUPYING: Final = (JobState.RUNNING, JobState.SUSPENDED)
_EVENTS: Final[Mapping[tuple[JobState, JobState], tuple[str, str]]] = {
    (JobState.IDLE, JobState.RUNNING): ("001", "Job executing on host: {host}"),
    (JobState.RUNNING, JobState.SUSPENDED): ("010", "Job was suspended."),
    (JobState.SUSPENDED, JobState.RUNNING): ("011", "Job was unsuspended."),
    (JobState.RUNNING, JobState.IDLE): ("004", "Job was evicted."),
    (JobState.SUSPENDED, JobState.IDLE): ("004", "Job was evicted."),
    (JobState.HELD, JobState.IDLE): ("013", "Job was released."),
}


def told(before: Record | None, after: Record, machine: str, now: float) -> str:
    """
    What a change adds to the log; nothing, if it changes no state.

    @param before: L{None} for a job that has just come.
    @param now: seconds since the epoch; the log has local time.
    """
    seen = after.sighting
    if before is None:
        return _event("000", f"Job submitted from host: {machine}", seen, now)
    if before.sighting.state is seen.state:
        return ""
    if seen.state is JobState.COMPLETED:
        return _event("005", "Job terminated.", seen, now, _ending(seen))
    if seen.state is JobState.REMOVED:
        return _event("009", "Job was aborted.", seen, now, f"\t{seen.reason}\n")
    if seen.state is JobState.HELD:
        evicted = _event("004", "Job was evicted.", seen, now) if before.sighting.state in _OCCUPYING else ""
        return evicted + _event("012", "Job was held.", seen, now, f"\t{seen.reason}\n\tCode 1 Subcode 0\n")
    code, text = _EVENTS[before.sighting.state, seen.state]
    return _event(code, text.format(host=seen.host), seen, now)


def _event(code: str, text: str, seen: Sighting, now: float, more: str = "") -> str:
    number = f"{seen.backend_id.cluster:03d}.{seen.backend_id.proc:03d}.000"
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    return f"{code} ({number}) {at} {text}\n{more}...\n"


def _ending(seen: Sighting) -> str:
    if seen.exit_signal is not None:
        how = f"\t(0) Abnormal termination (signal {seen.exit_signal})\n\t(0) No core file\n"
    else:
        how = f"\t(1) Normal termination (return value {seen.exit_status})\n"
    hours, seconds = divmod(int(seen.user_cpu), 3600)
    days, hours = divmod(hours, 24)
    used = f"Usr {days} {hours:02d}:{seconds // 60:02d}:{seconds % 60:02d}, Sys 0 00:00:00"
    return f"{how}\t\t{used}  -  Run Remote Usage\n\t{seen.image_size}  -  ImageSize of job (KB)\n"

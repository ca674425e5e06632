"""The file of a recording or a log, as an argument."""

from __future__ import annotations

import gzip
from itertools import chain
from pathlib import Path

import msgspec

from modabatchd.client.errors import Unusable
from modabatchd.infrastructure.policy import Policy
from modabatchd.infrastructure.replay.figures import Figures
from modabatchd.infrastructure.replay.log import Log, LogProblem, read_swf
from modabatchd.infrastructure.replay.recording import as_it_was, read_recording, to_log

_CURE = 'Give what "modabatch journal" has recorded, or a log in the Standard Workload Format.'


class Trace(msgspec.Struct, frozen=True):
    """@ivar was: what really happened, if that was recorded."""

    log: Log
    was: Figures | None = None


def read_trace(path: Path, policy: Policy, first: int | None) -> Trace:
    """
    Read one, whichever it is.

    @param first: only so many jobs; of those that really ran, all are told.
    @raise Unusable: it is neither.
    """
    try:
        trace = _read(path, policy)
    except LogProblem as problem:
        raise Unusable(f"{path}:{problem.line}: {problem}", _CURE) from None
    except (OSError, EOFError) as problem:
        raise Unusable(f"{path}: {problem}", _CURE) from None
    if first is not None:
        trace = msgspec.structs.replace(trace, log=msgspec.structs.replace(trace.log, jobs=trace.log.jobs[:first]))
    return trace


def _read(path: Path, policy: Policy) -> Trace:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as lines:
        head = lines.readline()
        everything = chain([head], lines)
        if not head.startswith("{"):
            return Trace(read_swf(everything))
        recording = read_recording(everything)
        return Trace(to_log(recording, policy), as_it_was(recording))

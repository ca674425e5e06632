"""
What is done to jobs.  A part of the program in the child process.

Note [What became of each]
==========================
The scheduler only counts what became of the jobs of one call.  If that is the same for all of them, it is enough.
Otherwise those that are now as they were to be count as done, and each of the others has a call of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import classad2
import htcondor2

from modabatchd.queue.htcondor.classads import of_numbers
from modabatchd.queue.htcondor.frames import Number

_ACTIONS: Final = {
    "remove": htcondor2.JobAction.Remove,
    "hold": htcondor2.JobAction.Hold,
    "release": htcondor2.JobAction.Release,
    "suspend": htcondor2.JobAction.Suspend,
    "continue": htcondor2.JobAction.Continue,
}
#: The statuses that jobs have after each action.
_AFTERWARDS: Final = {"remove": (3,), "hold": (5,), "release": (1, 2), "suspend": (7,), "continue": (2,)}
_TOTALS: Final = {
    "TotalSuccess": "done",
    "TotalNotFound": "not found",
    "TotalBadStatus": "bad status",
    "TotalAlreadyDone": "already done",
    "TotalPermissionDenied": "denied",
    "TotalError": "error",
}
#: What leaves nothing to ask.
_CLEAR: Final = ("done", "not found", "bad status", "already done")
_OVER: Final = (3, 4)


def act(schedd: htcondor2.Schedd, action: str, jobs: Sequence[Number], reason: str) -> list[str]:
    """
    Do one thing to jobs.  See Note [What became of each].

    @param action: a word of L{modabatchd.queue.job.Action}.
    @return: values of L{modabatchd.queue.interfaces.ActionResult}, one for each.
    """
    done: Collection[Number] = ()
    if len(jobs) > 1:
        totals = _totals(schedd, action, jobs, reason)
        if (same := _same_for_all(totals, len(jobs))) is not None:
            return [same] * len(jobs)
        done = _in_status(schedd, jobs, _AFTERWARDS[action])
    return ["done" if job in done else _act_on_one(schedd, action, job, reason) for job in jobs]


def _same_for_all(totals: classad2.ClassAd | None, count: int) -> str | None:
    """What became of all jobs of a call, if it is the same and leaves nothing to ask."""
    results = [] if totals is None else [result for total, result in _TOTALS.items() if totals.get(total) == count]
    return next((result for result in results if result in _CLEAR), None)


def _act_on_one(schedd: htcondor2.Schedd, action: str, job: Number, reason: str) -> str:
    totals = _totals(schedd, action, [job], reason)
    result = next((result for total, result in _TOTALS.items() if totals is not None and totals.get(total)), "error")
    # The scheduler calls it a lack of permission when a job is beyond the action.
    return "bad status" if result == "denied" and _in_status(schedd, [job], _OVER) else result


def _totals(schedd: htcondor2.Schedd, action: str, jobs: Sequence[Number], reason: str) -> classad2.ClassAd | None:
    # A plain string as the reason would be dropped.
    return schedd.act(_ACTIONS[action], ["{:d}.{:d}".format(*job) for job in jobs], (reason, 0))


def _in_status(schedd: htcondor2.Schedd, jobs: Sequence[Number], wanted: Collection[int]) -> Collection[Number]:
    ads = schedd.query(of_numbers(jobs), ["ClusterId", "ProcId", "JobStatus"])
    return {(ad["ClusterId"], ad["ProcId"]) for ad in ads if ad.get("JobStatus") in wanted}

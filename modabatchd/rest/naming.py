"""What the segments of paths name.  Pure."""

from __future__ import annotations

from uuid import UUID

from modabatchd.errors import UnknownAction, UnknownJob
from modabatchd.queue.job import Action


def canonical(job_id: str) -> str:
    """The id of a job in its canonical form.  @raise UnknownJob: it is no id."""
    try:
        return str(UUID(job_id))
    except ValueError:
        raise unknown(job_id) from None


def unknown(job_id: str) -> UnknownJob:
    """The error of asking for a job that is not there."""
    return UnknownJob(f"There is no job {job_id[:100]!r}.", "List the jobs with GET /jobs.")


def action_named(action: str) -> Action:
    """The action of that name.  @raise UnknownAction: there is none."""
    if action not in set(Action):
        raise UnknownAction(f"There is no action {action[:100]!r}.", f"The actions are {', '.join(Action)}.")
    return Action(action)

"""Jobs, their states and the table of what may follow what.  Values only: no I/O, no clock."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from modabatchd.queue.indices import Indices


class JobState(enum.StrEnum):
    """The states of a job as the API names them."""

    IDLE = "idle"
    RUNNING = "running"
    SUSPENDED = "suspended"
    HELD = "held"
    REMOVED = "removed"
    COMPLETED = "completed"
    SUBMISSION_ERROR = "submission_error"

    @property
    def final(self) -> bool:
        """Whether nothing can follow: the job is over and its owner is told."""
        return self in FINAL


FINAL: Final = frozenset({JobState.REMOVED, JobState.COMPLETED, JobState.SUBMISSION_ERROR})


class Action(enum.StrEnum):
    """What can be asked of a job."""

    REMOVE = "remove"
    HOLD = "hold"
    RELEASE = "release"
    SUSPEND = "suspend"
    CONTINUE = "continue"


class Artifact(enum.StrEnum):
    """The files of a job that can be fetched."""

    OUTPUT = "output"
    STDOUT = "stdout"
    STDERR = "stderr"
    USERLOG = "_userlog"


class Transition(msgspec.Struct, frozen=True):
    """Which states allow an action, and the state that it leads to."""

    allowed: frozenset[JobState]
    to: JobState


_LIVE: Final = frozenset({JobState.IDLE, JobState.RUNNING, JobState.SUSPENDED})

#: What each action needs and leads to, after the job states of HTCondor (C{condor_hold}, C{condor_release},
#: C{condor_suspend}, C{condor_continue}, C{condor_rm}).
TRANSITIONS: Final[Mapping[Action, Transition]] = MappingProxyType(
    {
        Action.REMOVE: Transition(_LIVE | {JobState.HELD}, JobState.REMOVED),
        Action.HOLD: Transition(_LIVE, JobState.HELD),
        Action.RELEASE: Transition(frozenset({JobState.HELD}), JobState.IDLE),
        Action.SUSPEND: Transition(frozenset({JobState.RUNNING}), JobState.SUSPENDED),
        Action.CONTINUE: Transition(frozenset({JobState.SUSPENDED}), JobState.RUNNING),
    }
)


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What a job asks of the node it runs on, in HTCondor's units.

    @ivar cpus: cores.
    @ivar memory: MiB.
    @ivar disk: KiB; L{None} leaves it to the scheduler, which takes the size of the job's files.
    @ivar gpus: devices.
    """

    cpus: int = 1
    memory: int = 128
    disk: int | None = None
    gpus: int = 0


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What a user asked for, without the bytes.

    The environment is not part of it: it may hold secrets, so it lives in the job's launch file alone.

    @ivar id: our UUID, in its canonical text form.
    @ivar arguments: what C{run.sh} receives as C{"$@"}.
    @ivar priority: higher runs first, among the jobs of this queue.
    @ivar max_retries: how often a run that failed is repeated.
    @ivar max_wall_time: seconds that one run may take, suspension included; L{None} for no limit.
    @ivar notification: the URL to POST to once the job is over.
    @ivar submitted: seconds since the epoch.
    @ivar array: the indices of its tasks; L{None} for a job that is no array.
    @ivar has_parameters: whether each task has variables of its own.  See L{modabatchd.queue.parameters}.
    """

    id: str
    submitted: float
    name: str = ""
    arguments: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    resources: Resources = Resources()
    priority: int = 0
    max_retries: int = 0
    max_wall_time: int | None = None
    notification: str | None = None
    has_input: bool = False
    array: Indices | None = None
    has_parameters: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that each run of it needs."""
        optional = {"input": self.has_input, "parameters": self.has_parameters}
        return ("bundle.tar.gz", "launch.sh", *(name for name, present in optional.items() if present))


class BackendId(msgspec.Struct, frozen=True, order=True):
    """A job's number in its queue; HTCondor's C{cluster.proc}."""

    cluster: int
    proc: int = 0

    def __str__(self) -> str:
        return f"{self.cluster}.{self.proc}"


class Subject(NamedTuple):
    """What a sighting is about: a job that is no array, or one task of a job array by its index."""

    job_id: str
    task: int | None = None


class Sighting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What the queue says of one job, or of one task of a job array, at one moment.

    Times are seconds since the epoch; L{None} means "not known (yet)".

    @ivar job_id: our UUID, as the queue keeps it with the job.
    @ivar state: the state translated; C{backend_state} is the queue's own word for it.
    @ivar run_count: how many times it was started; more than 1 after reruns.
    @ivar exit_status: the application's own exit status; L{None} until known, or when a signal ended it.
    @ivar exit_signal: the signal that ended it; C{24} (SIGXCPU) when it exceeded its wall-time limit.
    @ivar image_size: KiB.
    @ivar user_cpu: seconds of user CPU time.
    @ivar host: the node it runs or last ran on.
    @ivar reason: why it is held, or why it was removed.
    @ivar task: the index of the task that it is about; L{None} for a job that is no array.
    """

    job_id: str
    backend_id: BackendId
    state: JobState
    backend_state: str
    global_job_id: str
    universe: str = "vanilla"
    priority: int = 0
    run_count: int = 0
    started: float | None = None
    current_started: float | None = None
    completed: float | None = None
    exit_status: int | None = None
    exit_signal: int | None = None
    image_size: int = 0
    user_cpu: float = 0.0
    host: str | None = None
    reason: str | None = None
    task: int | None = None

    @property
    def subject(self) -> Subject:
        """What it is about."""
        return Subject(self.job_id, self.task)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """
    One task of a job array.

    @ivar sighting: what the queue last said of it; L{None} until it said something.
    """

    index: int
    state: JobState
    sighting: Sighting | None = None


class Tally(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    How many tasks of a job array are in each state.

    @ivar failed: how many of the completed ones have not ended with exit status 0.
    """

    idle: int = 0
    running: int = 0
    suspended: int = 0
    held: int = 0
    removed: int = 0
    completed: int = 0
    submission_error: int = 0
    failed: int = 0

    def of(self, state: JobState) -> int:
        """How many are in that state."""
        number: int = getattr(self, state.value)
        return number


class StateChange(msgspec.Struct, frozen=True):
    """One line of a job's history: the state it entered, when (seconds since the epoch), and why, when that is known."""

    state: JobState
    at: float
    reason: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that we know of a job: what was asked, and what was last seen.

    @ivar seq: its place in the order of submission; ascending, never reused.
    @ivar backend_id: its number in the queue; L{None} until the queue has it.
    @ivar sighting: what the queue last said; L{None} until it said something.
    @ivar history: every state it was in, oldest first.
    @ivar settled: when it reached its final state, in seconds since the epoch; L{None} before.
    @ivar tally: of its tasks; L{None} for a job that is no array.  An array's C{backend_id} is that of its first task, and it
        has no C{sighting} of its own.
    """

    seq: int
    request: JobRequest
    state: JobState
    previous_state: JobState | None = None
    backend_id: BackendId | None = None
    sighting: Sighting | None = None
    history: tuple[StateChange, ...] = ()
    settled: float | None = None
    tally: Tally | None = None

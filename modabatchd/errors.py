"""
Every error that modabatchd raises on purpose.

An error carries a stable C{code}, a sentence on its cause and one on its cure.  It knows nothing of HTTP: C{rest.problems}
maps each class to a status.  Whatever is not an L{ModabatchError} is a defect of ours.
"""

from __future__ import annotations

from typing import ClassVar


class ModabatchError(Exception):
    """
    The base of all errors raised on purpose.

    @cvar code: a stable, machine-readable name; part of the public interface.
    @ivar cause: one sentence on what is wrong.
    @ivar cure: one sentence on what the reader can do about it.
    """

    code: ClassVar[str] = "error"

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.cure = cure


class ConfigurationError(ModabatchError):
    """The configuration cannot be used.  C{cause} may hold several lines, one per mistake."""

    code = "configuration"


class StartupError(ModabatchError):
    """The daemon cannot start here: a taken port, a directory it may not write."""

    code = "startup"


class BundleError(ModabatchError):
    """
    A bundle breaks a rule of the bundle specification.

    @ivar rule: the stable name of the rule, for instance C{"no-run-sh"}.
    """

    code = "invalid-bundle"

    def __init__(self, rule: str, cause: str, cure: str) -> None:
        super().__init__(cause, cure)
        self.rule = rule


class FieldError(ModabatchError):
    """
    A field of a request is unknown, malformed or out of range.

    @ivar field: the name of the field as the client wrote it.
    """

    code = "invalid-field"

    def __init__(self, field: str, cause: str, cure: str) -> None:
        super().__init__(cause, cure)
        self.field = field


class TooLarge(ModabatchError):
    """A request body is larger than the configuration allows."""

    code = "too-large"


class NoSpace(ModabatchError):
    """The spool's quota or its disk is full; nothing was accepted."""

    code = "no-space"


class StoreAway(ModabatchError):
    """
    The database did not answer, or refused for now.

    Whatever was asked of it may or may not have happened.
    """

    code = "store-away"


class UnknownJob(ModabatchError):
    """No job has this id."""

    code = "unknown-job"


class UnknownTask(ModabatchError):
    """A job is no array, or has no task of that index."""

    code = "unknown-task"


class UnknownOperation(ModabatchError):
    """No operation on many jobs has this id, or it has been over for long."""

    code = "unknown-operation"


class UnknownAction(ModabatchError):
    """There is no such action."""

    code = "unknown-action"


class UnknownArtifact(ModabatchError):
    """The job has no such artifact, or has none yet."""

    code = "unknown-artifact"


class IllegalAction(ModabatchError):
    """The job's state does not allow the action.  @ivar state: the state the job is in."""

    code = "illegal-action"

    def __init__(self, state: str, cause: str, cure: str) -> None:
        super().__init__(cause, cure)
        self.state = state


class QueueAway(ModabatchError):
    """
    The scheduler did not answer.

    Whatever was asked of it may or may not have happened: look the job up by its id before asking again.

    @ivar untouched: whether it is certain that nothing of what was asked has happened, or will.
    """

    code = "queue-away"

    def __init__(self, cause: str, cure: str, untouched: bool = False) -> None:
        super().__init__(cause, cure)
        self.untouched = untouched


class QueueRefused(ModabatchError):
    """The scheduler answered, and refuses for good what it was asked."""

    code = "queue-refused"

"""What the fields of a submission are, for the description of the API; L{modabatchd.queue.form} reads them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from modabatchd.queue.job import Resources

_DEFAULTS: Final = Resources()
_SIZE: Final = r"^([0-9]{1,15}(\.[0-9]{1,6})?( ?[KMGTkmgt]([iI]?[bB])?)?)?$"
_DURATION: Final = "^([0-9]{1,12}[smhd]?)?$"
#: Here too, some that fit are refused: those that go down, and too many.
_INDICES: Final = "^([0-9]{1,10}(-[0-9]{1,10}(:[0-9]{1,10})?)?(,[0-9]{1,10}(-[0-9]{1,10}(:[0-9]{1,10})?)?)*)?$"
#: Text without NUL whose quotes are closed.
_WORDS: Final = r"""^([^'"\\\x00]|\\[^\x00]|'[^'\x00]*'|"([^"\\\x00]|\\[^\x00])*")*$"""


def _text(description: str, **more: Any) -> dict[str, Any]:
    # Without a default, Swagger UI would fill in "string", and send it.
    return {"type": "string", "description": description, "default": "", **more}


def _number(description: str, low: int, high: int, default: int) -> dict[str, Any]:
    return {"type": "integer", "description": description, "minimum": low, "maximum": high, "default": default}


def _file(description: str) -> dict[str, Any]:
    return {"type": "string", "format": "binary", "contentMediaType": "application/gzip", "description": description}


def _pairs(description: str, pattern: str, example: str) -> dict[str, Any]:
    item = {"type": "string", "pattern": pattern, "default": example}
    return {"type": "array", "items": item, "description": description, "default": []}


#: The schema of each field, in JSON Schema.
FIELDS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "job-bundle": _file("The bundle: a gzip'ed tar with an executable run.sh in its root."),
        "job-input": _file("An archive for the application; its path is in MODACLOUDS_BATCH_INPUT."),
        "job-parameters": {
            "type": "string",
            "format": "binary",
            "contentMediaType": "text/csv",
            "description": "Makes the job an array: a CSV whose first line names environment variables, with one more line for "
            "each task.  With job-array, only those of its rows, counted from 1.",
        },
        "job-array": _text(
            "Makes the job an array: the indices of its tasks, for instance 1-1000, 1-1000:10 or 1,5,7-9.  Each finds its own "
            "in MODACLOUDS_BATCH_TASK_INDEX.",
            pattern=_INDICES,
        ),
        "job-name": _text("The name of the job.", maxLength=255),
        "job-arguments": _text("What run.sh gets as its arguments; split as a POSIX shell splits words.", pattern=_WORDS),
        "job-notification": _text("An http or https URL that gets a POST once the job is over.", maxLength=2048),
        "job-environment": _pairs(
            "NAME=VALUE, a variable for run.sh; may be repeated.", "^[A-Za-z_][A-Za-z0-9_]*=.*", "NAME=VALUE"
        ),
        "job-label": _pairs("KEY=VALUE, a label to find the job by; may be repeated.", "^[^=]{1,255}=.{0,255}$", "KEY=VALUE"),
        "job-priority": _number("Higher runs first, among the jobs of this queue.", -1_000_000, 1_000_000, 0),
        "request-cpus": _number("Cores.", 1, 65_536, _DEFAULTS.cpus),
        "request-memory": _text(f"MiB, or with a suffix: 512M, 2G; {_DEFAULTS.memory} MiB if not given.", pattern=_SIZE),
        "request-disk": _text("KiB, or with a suffix: 512M, 2G; what the job's files need if not given.", pattern=_SIZE),
        "request-gpus": _number("GPUs.", 0, 1024, _DEFAULTS.gpus),
        "max-wall-time": _text(
            "How long a run may take: seconds, or 90s, 15m, 2h, 1d; no limit if not given.", pattern=_DURATION
        ),
        "max-retries": _number("How often a run that fails is repeated.", 0, 100, 0),
    }
)

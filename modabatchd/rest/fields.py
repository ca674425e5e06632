"""What the fields of a submission are, for the description of the API; L{modabatchd.queue.form} reads them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from modabatchd.queue.job import Resources

_DEFAULTS: Final = Resources()


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def _number(description: str, low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "description": description, "minimum": low, "maximum": high}


def _file(description: str) -> dict[str, Any]:
    return {"type": "string", "format": "binary", "contentMediaType": "application/gzip", "description": description}


def _pairs(description: str, pattern: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "pattern": pattern}, "description": description}


#: The schema of each field, in JSON Schema.
FIELDS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "job-bundle": _file("The bundle: a gzip'ed tar with an executable run.sh in its root."),
        "job-input": _file("An archive for the application; its path is in MODACLOUDS_BATCH_INPUT."),
        "job-name": _text("The name of the job.", maxLength=255),
        "job-arguments": _text("What run.sh gets as its arguments; split as a POSIX shell splits words."),
        "job-notification": _text("An http or https URL that gets a POST once the job is over.", maxLength=2048),
        "job-environment": _pairs("NAME=VALUE, a variable for run.sh; may be repeated.", "^[A-Za-z_][A-Za-z0-9_]*=.*"),
        "job-label": _pairs("KEY=VALUE, a label to find the job by; may be repeated.", "^[^=]{1,255}=.{0,255}$"),
        "job-priority": _number("Higher runs first, among the jobs of this queue.", -1_000_000, 1_000_000),
        "request-cpus": _number(f"Cores; {_DEFAULTS.cpus} if not given.", 1, 65_536),
        "request-memory": _text(f"MiB, or with a suffix: 512M, 2G; {_DEFAULTS.memory} if not given."),
        "request-disk": _text("KiB, or with a suffix: 512M, 2G; what the job's files need if not given."),
        "request-gpus": _number("GPUs; none if not given.", 0, 1024),
        "max-wall-time": _text("How long a run may take: seconds, or 90s, 15m, 2h, 1d; no limit if not given."),
        "max-retries": _number("How often a run that fails is repeated; never if not given.", 0, 100),
    }
)

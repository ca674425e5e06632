"""What a proof is asked for, and what it found.  Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import msgspec


class Trial(msgspec.Struct, frozen=True):
    """
    How a proof is to be run.

    @ivar seed: of all chance; the same seed makes the same choices.
    @ivar size: 1.0 for the whole proof, less for a part of it.
    """

    seed: int
    size: float = 1.0

    def times(self, whole: int) -> int:
        """So many of the C{whole} that the proof asks for; one at least."""
        return max(1, round(whole * self.size))

    def chance(self, *of: object) -> random.Random:
        """Chance that depends on the seed and on what it is for, and on nothing else."""
        return random.Random(repr((self.seed, *of)))


class Finding(msgspec.Struct, frozen=True):
    """
    One thing that a proof found.

    @ivar what: what was looked at.
    @ivar value: how it was.
    @ivar promise: what it has to be; empty when it is told for information.
    @ivar holds: whether it is.
    """

    what: str
    value: str
    promise: str = ""
    holds: bool | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """
    A proof that was run, as its file tells it.

    @ivar began: RFC 3339, UTC.
    @ivar seconds: how long it took.
    @ivar versions: of everything that has a part in it, by name.
    @ivar broke: what ended it before its end, with the traceback; L{None} when nothing did.
    """

    proof: str
    trial: Trial
    began: str
    seconds: float
    versions: Mapping[str, str]
    findings: Sequence[Finding]
    broke: str | None = None

    @property
    def holds(self) -> bool:
        """Whether the proof came to its end and every promise holds."""
        return self.broke is None and all(finding.holds is not False for finding in self.findings)


def none(what: str, found: Sequence[object]) -> Finding:
    """There must not be any of these; some of them are shown."""
    shown = ", ".join(map(str, found[:5]))
    return Finding(what, f"{len(found)}{f': {shown}' if found else ''}", "0", not found)


def exactly(what: str, value: int, promised: int) -> Finding:
    """A number that must be this one."""
    return Finding(what, f"{value:,}", f"{promised:,}", value == promised)


def below(what: str, value: float, bar: float, unit: str) -> Finding:
    """A figure that must be smaller."""
    return Finding(what, f"{value:.3g} {unit}", f"< {bar:g} {unit}", value < bar)


def line(finding: Finding) -> str:
    """For whoever watches."""
    verdict = {True: "  holds", False: "  BROKEN", None: ""}[finding.holds]
    promise = f"  promised {finding.promise}" if finding.promise else ""
    return f"{finding.what}: {finding.value}{promise}{verdict}"


def encode(record: Record) -> bytes:
    """The content of a record's file: JSON, indented."""
    return msgspec.json.format(msgspec.json.encode({"holds": record.holds, **msgspec.to_builtins(record)}), indent=2) + b"\n"

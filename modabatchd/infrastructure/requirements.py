"""
Pools' requirements, looked at by HTCondor's own library.

That is done in a process of its own, which may die or hang without harm (L{modabatchd.infrastructure.requirements_child}).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from modabatchd.infrastructure.bootstrap import expression
from modabatchd.infrastructure.matching import machines
from modabatchd.infrastructure.policies.remarks import Remark
from modabatchd.infrastructure.policy import Policy, Pool

_CHILD: Final = "modabatchd.infrastructure.requirements_child"
_DEADLINE: Final = 30.0
_NO_LIBRARY: Final = 3


class _Finding(msgspec.Struct, frozen=True):
    """See L{modabatchd.infrastructure.requirements_child.Finding}."""

    wrong: int | None = None
    never: tuple[int, ...] = ()


def requirements(policy: Policy) -> list[Remark]:
    """What is to be said of them: mistakes where they are no expressions, warnings where no job can ever match."""
    named = [(index, pool) for index, pool in enumerate(policy.pools) if pool.requirements.strip()]
    untold = [(index, problem) for index, pool in named if (problem := _untold(pool))]
    wrong = [Remark(("pool", index, "requirements"), problem, error=True) for index, problem in untold]
    return [*wrong, *_read([each for each in named if each[0] not in dict(untold)])]


def _untold(pool: Pool) -> str:
    """Why HTCondor cannot be told; empty if it can."""
    try:
        expression(pool.requirements)
    except ValueError as problem:
        return str(problem)
    return ""


def _read(pools: Sequence[tuple[int, Pool]]) -> list[Remark]:
    if not pools:
        return []
    found, problem = _ask([{"requirements": pool.requirements, "machines": _alone(pool)} for _, pool in pools])
    if problem:
        return [Remark(("pool", pools[0][0], "requirements"), f"requirements were not looked at: {problem}")]
    return [remark for (index, pool), each in zip(pools, found, strict=True) for remark in _remarks(index, pool, each)]


def _alone(pool: Pool) -> Sequence[str]:
    """A requirement that is no expression would spoil the ads."""
    return machines(msgspec.structs.replace(pool, requirements=""))


def _ask(questions: Sequence[object]) -> tuple[list[_Finding], str]:
    """@return: the findings, or why there are none."""
    command = [sys.executable, "-P", "-m", _CHILD]
    try:
        done = subprocess.run(  # noqa: S603 - it is our own
            command, input=msgspec.json.encode(questions), capture_output=True, timeout=_DEADLINE, check=False
        )
    except subprocess.TimeoutExpired:
        return [], f"HTCondor's library has not answered within {_DEADLINE:g} s"
    except OSError as problem:
        return [], f"no process could be started for it: {problem.strerror}"
    if done.returncode == _NO_LIBRARY:
        return [], "HTCondor's library is not installed (pip install 'modabatchd[htcondor]')"
    try:
        return msgspec.json.decode(done.stdout, type=list[_Finding]), ""
    except msgspec.DecodeError:
        return [], f"HTCondor's library has failed (exit status {done.returncode})"


def _remarks(index: int, pool: Pool, found: _Finding) -> Iterator[Remark]:
    text, way = pool.requirements, ("pool", index, "requirements")
    if found.wrong is not None:
        where = f"at column {found.wrong}, before {text[found.wrong - 1 :][:20]!r}"
        missing = found.wrong > len(text.rstrip())
        yield Remark(way, f"this is no ClassAd expression: {'it ends too early' if missing else where}", error=True)
    elif len(found.never) == len(pool.sizes):
        yield Remark(way, f"no job can ever match {text!r} on a machine of any size")
    else:
        for place in found.never:
            yield Remark(way, f"no job can ever match {text!r} on a machine of size {pool.sizes[place].id}")

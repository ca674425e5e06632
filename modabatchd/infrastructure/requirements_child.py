"""
The program that looks at pools' requirements: the only importer of classad2 beside the one that speaks to HTCondor.

It reads L{Question}s as JSON from its standard input and writes one L{Finding} for each.  Exit status 3: classad2 is not there.

Note [Where it is wrong]
========================
The parser says that an expression is wrong, and not where.  So the text is read word by word: as long as it goes well, what was
read so far can be ended somehow, by a value and by closing what is open.  The first word with which that cannot be done is
the wrong one.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

try:
    import classad2
except ImportError:
    sys.exit(3)

_WORD: Final = re.compile(
    r"""\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[A-Za-z_]\w*|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\w?|=\?=|=!=|&&|\|\||[<>=!]=|<<|>>>?|.)""",
    re.DOTALL,
)
_OPEN: Final = {"(": ")", "[": "]", "{": "}"}
_ENDS: Final = ("", " x", " : x", " x : x")
_NUMBER: Final = re.compile(r"\b\d+\b")
_ASKED: Final = ("requestcpus", "requestmemory", "requestdisk", "requestgpus")
_MOST: Final = 20_000


class Question(msgspec.Struct, frozen=True):
    """
    @ivar requirements: of a pool.
    @ivar machines: the ads of a machine of each of its sizes, as it would be without them.
    """

    requirements: str
    machines: tuple[str, ...]


class Finding(msgspec.Struct, frozen=True):
    """
    @ivar wrong: the column, from 1, of the first word that cannot be there; one beyond the end if something is missing.
    @ivar never: the machines, by their place, that no job can match whatever it asks for.
    """

    wrong: int | None = None
    never: tuple[int, ...] = ()


def find(question: Question) -> Finding:
    """Look at one."""
    text = question.requirements
    if not text.strip():
        return Finding()
    if not _parses(text):
        return Finding(wrong=_wrong(text))
    never = [place for place, machine in enumerate(question.machines) if _never(text, classad2.ClassAd(machine))]
    return Finding(never=tuple(never))


def _parses(text: str) -> bool:
    try:
        classad2.ExprTree(text)
    except classad2.ClassAdException:
        return False
    return True


def _wrong(text: str) -> int:
    """See Note [Where it is wrong]."""
    stack: list[str] = []
    for match in _WORD.finditer(text):
        word = match[0].strip()
        if word in _OPEN:
            stack.append(_OPEN[word])
        elif word in _OPEN.values() and stack:
            stack.pop()
        if not any(_parses(text[: match.end()] + end) for end in _endings(stack)):
            return match.end() - len(match[0].lstrip()) + 1
    return len(text.rstrip()) + 1


def _endings(stack: Sequence[str]) -> Iterator[str]:
    closed = "".join(reversed(stack))
    for first, last in itertools.product(_ENDS, ("", " : x")):
        yield first + closed + last


def _never(text: str, machine: Any) -> bool:
    """Whether a machine's requirements are false by what it has itself, or for all jobs that ask for any amounts."""
    words = [match[0] for match in _WORD.finditer(text)]
    mine = re.sub(r"(?i)\bMY\s*\.\s*", "", "".join(words)) if '"' not in text else text
    machine["Requirements"] = classad2.ExprTree(f"({text}) && ({machine.lookup('Requirements')})")
    known = machine.flatten(classad2.ExprTree(mine))
    if not isinstance(known, classad2.ExprTree):
        return known is False or isinstance(known, classad2.Value) or (isinstance(known, int) and not known)
    named = {name.rpartition(".")[2].lower() for name in machine.externalRefs(known) if name}
    return bool(named) and named <= set(_ASKED) and not any(job.symmetricMatch(machine) for job in _jobs(text, machine))


def _jobs(text: str, machine: Any) -> Iterator[Any]:
    """Jobs that ask for all amounts at which something could change."""
    told = {int(number) for number in _NUMBER.findall(text) if len(number) < 16}
    amounts = [_amounts(told, int(machine.get(name, 0)), least) for name, least in _LEAST.items()]
    for cpus, memory, disk, gpus in itertools.islice(itertools.product(*amounts), _MOST):
        ad = f"[ RequestCpus = {cpus or 1}; RequestMemory = {memory or 0}; RequestDisk = {disk or 0}; Requirements = true ]"
        job = classad2.ClassAd(ad)
        if gpus is not None:
            job["RequestGPUs"] = gpus
        yield job


_LEAST: Final = {"Cpus": 1, "Memory": 1, "Disk": 1, "GPUs": None}


def _amounts(told: set[int], whole: int, least: int | None) -> list[int | None]:
    near = {number + step for number in told for step in (-1, 0, 1)}
    return [least, *sorted(number for number in near | {whole} if 0 <= number <= whole)]


if __name__ == "__main__":
    questions = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Question])
    sys.stdout.buffer.write(msgspec.json.encode([find(question) for question in questions]))

"""What Linux says a process takes: /proc."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20


def resident(pid: int) -> float:
    """MiB of memory that it has now."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> float:
    """The most MiB of memory that it had since L{forget_peak}."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Begin anew to note the most memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def processor(pid: int) -> float:
    """Seconds of CPU time that its threads have used, those that have ended not counted: exact, unlike the ticks in C{stat}."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def children(pid: int) -> list[int]:
    """The processes that it has started, and those that they have started."""
    own = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return [*own, *(grandchild for child in own for grandchild in children(child))]


def _status(pid: int, key: str) -> float:
    match = re.search(rf"^{key}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"process {pid} has no {key}")
    return int(match[1]) * 1024 / MIB

"""
What the shipped planner makes of recorded logs, and what the rules of others make of them.

Usage: python -m benchmarks.replay DIRECTORY [--boots 60,120,300] [--cores 8] [--first N]

DIRECTORY holds logs in the Standard Workload Format (*.swf, *.swf.gz).  For each log, boot time and size of the largest node
there are two contests: nodes of that size only, and all sizes of 1, 2, 4, ... cores up to it.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

import msgspec

from benchmarks.report import Result, line, table
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.policy import Limits, Policy, Pool, Size
from modabatchd.infrastructure.replay.cluster import Placement
from modabatchd.infrastructure.replay.comparing import Replay
from modabatchd.infrastructure.replay.figures import Figures
from modabatchd.infrastructure.replay.log import Log, read_swf

#: An hour of a core.
_PRICE: Final = 0.02
_LOTS: Final = Limits(max_nodes=100_000, starts_per_minute=100_000)
_BEATEN: Final = "AWS ParallelCluster"


def main() -> int:
    """Do what the module's text says.  @return: 1 when a figure misses its bar."""
    options = _options()
    results: list[Result] = []
    for cores in options.cores:
        for boot in options.boots:
            for path in sorted([*options.directory.glob("*.swf"), *options.directory.glob("*.swf.gz")]):
                name = path.name.partition(".swf")[0]
                print(f"\n{name}, nodes of {cores} cores at most, boot {boot:g} s", flush=True)
                for result in contests(name, _read(path, options.first), cores, boot):
                    print(f"  {line(result)}", flush=True)
                    results.append(result)
    print(f"\n{table(results)}")
    return 1 if any(result.reached is False for result in results) else 0


def contests(name: str, log: Log, cores: int, boot: float) -> Iterator[Result]:
    """Of one log, for nodes of one size and for nodes of several."""
    where, began = f"{name}, {cores} cores, boot {boot:g} s", perf_counter()
    sizes = _powers(cores)
    several = Replay(_policy(*sizes), log, Placement.OLDEST, boot)
    ours, mine = Replay(_policy(cores), log, Placement.OLDEST, boot).ours(), several.ours()
    print(f"  {_shown(ours)}\n  {_shown(mine)}, with sizes {sizes}", flush=True)
    peers = []
    for peer in several.peers():
        print(f"  {_shown(peer)}", flush=True)
        peers.append(peer)
    yield _undominated(f"{where}: one size", ours, peers)
    yield _against(where, ours, peers)
    yield _undominated(f"{where}: all sizes", mine, peers)
    print(f"  {perf_counter() - began:.0f} s", flush=True)


def _undominated(what: str, ours: Figures, peers: Sequence[Figures]) -> Result:
    better = [peer for peer in peers if peer.dominates(ours)]
    beaten = sum(ours.dominates(peer) for peer in peers)
    worse = "; ".join(f"{peer.rule}: {_brief(peer)}" for peer in better)
    said = f"better in all: {', '.join(peer.rule for peer in better) or 'nobody'}; we than {beaten} of {len(peers)}"
    return Result(what, _brief(ours), worse, said, "nobody", not better)


def _against(where: str, ours: Figures, peers: Sequence[Figures]) -> Result:
    [beaten] = [peer for peer in peers if peer.rule == _BEATEN]
    wins = _cost(ours) < _cost(beaten) and ours.wait < beaten.wait
    ratio = f"cost {_cost(ours) / _cost(beaten):.3f}, wait {ours.wait / max(beaten.wait, 1e-9):.3f}"
    return Result(f"{where}: one size, against {_BEATEN}", _brief(ours), _brief(beaten), ratio, "both < 1", wins)


def _policy(*cores: int) -> Policy:
    sizes = tuple(
        Size(id=f"c{count}", capacity=Capacity(cpus=count, memory=2048 * count), price=_PRICE * count) for count in cores
    )
    return Policy(pools=(Pool(name="burst", driver="local", sizes=sizes),), limits=_LOTS)


def _powers(cores: int) -> list[int]:
    return [1 << power for power in range(cores.bit_length()) if 1 << power <= cores]


def _cost(figures: Figures) -> float:
    assert figures.cost is not None
    return figures.cost


def _brief(figures: Figures) -> str:
    return f"cost {_cost(figures):.3f}, wait {figures.wait:.1f} s, p95 {figures.p95:.0f} s, {figures.starts} starts"


def _shown(figures: Figures) -> str:
    return f"{figures.rule:24} {_brief(figures)}"


def _read(path: Path, first: int | None) -> Log:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as lines:
        log = read_swf(lines)
    return msgspec.structs.replace(log, jobs=log.jobs[:first])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description="See benchmarks/README.md.")
    parser.add_argument("directory", type=Path, help="with logs in the Standard Workload Format")
    parser.add_argument("--boots", type=_numbers, default=[60, 120, 300], help="seconds, several between commas")
    parser.add_argument("--cores", type=_numbers, default=[8], help="of the largest node, several between commas")
    parser.add_argument("--first", type=int, help="only so many jobs of each log")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())

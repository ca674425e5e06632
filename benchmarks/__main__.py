"""
Measure figures, and tell which of them reach their bar.

Usage: python -m benchmarks [--quick] [NAME...]
"""

import argparse
import importlib
import signal
import sys
from typing import Final

from benchmarks.report import Result, line, table

#: The modules that measure, by the name of the figure.
FIGURES: Final = {
    "upload": "benchmarks.upload",
    "download": "benchmarks.download",
    "list": "benchmarks.listing",
    "read": "benchmarks.reading",
    "million": "benchmarks.million",
    "submit": "benchmarks.submissions",
    "arrays": "benchmarks.arrays",
    "idle": "benchmarks.idle",
    "freshness": "benchmarks.freshness",
    "planner": "benchmarks.planner",
    "latency": "benchmarks.latency",
}


def main() -> int:
    """Do what the module's text says.  @return: 1 when a figure misses its bar."""
    options = _options()
    # Whatever was started is stopped on the way out, also when we are told to end.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    results: list[Result] = []
    for name in options.names or FIGURES:
        print(f"\n{name}", flush=True)
        for result in importlib.import_module(FIGURES[name]).measure(quick=options.quick):
            print(f"  {line(result)}", flush=True)
            results.append(result)
    print(f"\n{table(results)}")
    return 1 if any(result.reached is False for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="See benchmarks/README.md.")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it works; the figures mean little")
    # argparse checks the default of "*" against the choices as well, so they are checked by hand.
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(FIGURES)}; all of them by default")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in FIGURES]
    if unknown:
        parser.error(f"there is no figure {', '.join(unknown)}")
    return options


if __name__ == "__main__":
    sys.exit(main())

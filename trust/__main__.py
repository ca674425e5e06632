"""
Prove that nothing is lost, and write down for each proof what it found.

Usage: python -m trust [--size SHARE] [--seed NUMBER] [--results DIRECTORY] [NAME...]
"""

from __future__ import annotations

import argparse
import importlib
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trust.findings import Finding, Record, Trial, encode, line
from trust.versions import versions

#: The modules that prove something, by the name of the proof; each has C{prove(trial)}, which yields L{Finding}s.
PROOFS: Final = {
    "crashes": "trust.crashes",
    "nodes": "trust.nodes",
    "simulation": "trust.simulation",
}


def main() -> int:
    """Do what the module's text says.  @return: 1 when a promise is broken or a proof did not come to its end."""
    options = _options()
    # Whatever was started is stopped on the way out, also when we are told to end.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    options.results.mkdir(parents=True, exist_ok=True)
    trial = Trial(options.seed, options.size)
    records = [_run(name, trial, options.results) for name in options.names or PROOFS]
    broken = [record.proof for record in records if not record.holds]
    print(f"\n{len(records) - len(broken)} of {len(records)} proofs hold{'; broken: ' + ', '.join(broken) if broken else ''}.")
    return 1 if broken else 0


def _run(name: str, trial: Trial, results: Path) -> Record:
    """One proof; its record is written into its file."""
    print(f"\n{name}  (seed {trial.seed}, size {trial.size:g})", flush=True)
    began, started = datetime.now(UTC), time.monotonic()
    findings: list[Finding] = []
    broke = None
    try:
        for finding in _findings(name, trial):
            print(f"  {line(finding)}", flush=True)
            findings.append(finding)
    except Exception:
        broke = traceback.format_exc()
        print(broke, file=sys.stderr)
    record = Record(
        proof=name,
        trial=trial,
        began=began.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - started, 1),
        versions=versions(),
        findings=findings,
        broke=broke,
    )
    (results / f"{name}.json").write_bytes(encode(record))
    return record


def _findings(name: str, trial: Trial) -> Iterator[Finding]:
    found: Iterator[Finding] = importlib.import_module(PROOFS[name]).prove(trial)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m trust", description="See trust/README.md.")
    parser.add_argument("--size", type=_share, default=1.0, help="a part of each proof: 0.01 for a hundredth; default: all")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**9), help="of all chance; by default another each time"
    )
    parser.add_argument("--results", type=Path, default=Path("build/trust"), help="where the files go; default: build/trust")
    # argparse checks the default of "*" against the choices as well, so they are checked by hand.
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(PROOFS)}; all of them by default")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in PROOFS]
    if unknown:
        parser.error(f"there is no proof {', '.join(unknown)}")
    return options


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("a share is more than 0, and 1 at the most")
    return share


if __name__ == "__main__":
    sys.exit(main())

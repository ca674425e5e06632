"""What has a part in a proof, and in which version."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Final

_PACKAGES: Final = ("modabatchd", "Twisted", "klein", "treq", "msgspec", "SQLAlchemy", "htcondor", "apache-libcloud", "moto")
_TOOL: Final = "MODABATCH_TEST_CONDOR"


def versions() -> Mapping[str, str]:
    """Of everything that has a part; what is not there is left out."""
    own = {"kernel": platform.release(), "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    return {**own, **dict(_packages()), **dict(_condor())}


def _packages() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            yield package, version(package)


def _condor() -> Iterator[tuple[str, str]]:
    if _TOOL in os.environ:
        told = subprocess.run([os.environ[_TOOL], "condor_version"], capture_output=True, text=True, check=True).stdout
        yield "HTCondor", told.split()[1]

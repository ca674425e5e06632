"""Where the programs of HTCondor and PostgreSQL are: in the folder that C{tools/programs} fills, or installed."""

import os
import shutil
import subprocess
from pathlib import Path

from processes import DidNotStart

_NAMES = ("RELEASE_DIR", "BIN", "SBIN", "LIB", "LIBEXEC", "SHARE")
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def find(name: str, *folders: Path) -> Path:
    """The program of that name in the first of the folders that has it, else on the machine's path.

    @raise DidNotStart: there is no such program.
    """
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    if found := shutil.which(name, path=_PATH):
        return Path(found)
    raise DidNotStart(f"There is no {name} on this machine.")


def postgresql(tree: Path) -> Path:
    """The folder with initdb and the server, of the newest version there is."""
    versions = [*tree.glob("usr/lib/postgresql/*/bin"), *Path("/").glob("usr/lib/postgresql/*/bin")]
    newest = sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True)
    return find("initdb", *newest).parent


def condor(tree: Path) -> dict[str, Path]:
    """HTCondor's folders under their names in its configuration."""
    if (tree / "usr/sbin/condor_master").exists():
        return _laid_out(tree / "usr")
    find("condor_master")
    asked = subprocess.run([find("condor_config_val"), *_NAMES], capture_output=True, text=True, check=False)
    answers = asked.stdout.splitlines()
    if asked.returncode or len(answers) != len(_NAMES):
        return _laid_out(Path("/usr"))
    return dict(zip(_NAMES, map(Path, answers), strict=True))


def _laid_out(prefix: Path) -> dict[str, Path]:
    places = (".", "bin", "sbin", "lib/condor", "libexec/condor", "share/condor")
    return {name: prefix / place for name, place in zip(_NAMES, places, strict=True)}

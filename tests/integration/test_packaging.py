"""What is shipped is what was tested: the daemon from a wheel, without the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import requests

from tests.integration.daemon import bundle, clean_environment, eventually, free_port

PROJECT = Path(__file__).parents[2]
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("modabatchd", "twisted"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(made), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=300, cwd=source)
    [wheel] = made.glob("*.whl")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(made / "site"), str(wheel)],
        check=True, timeout=120, cwd=made,
    )  # fmt: skip
    return made


def command(installed: Path) -> tuple[list[str], dict[str, str]]:
    """twistd with the wheel and its dependencies, but without the editable installation that a .pth file adds."""
    path = os.pathsep.join([str(installed / "site"), sysconfig.get_path("purelib")])
    return [sys.executable, "-P", "-S", "-c", TWISTD], clean_environment({}) | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def test_a_wheel_holds_all_that_is_needed(installed: Path) -> None:
    [wheel] = installed.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {
        str(path.relative_to(PROJECT))
        for path in (PROJECT / "modabatchd").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here - names == set()
    assert "twisted/plugins/modabatch_plugin.py" in names
    assert "twisted/__init__.py" not in names


def test_the_daemon_runs_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    twistd, environment = command(installed)
    shown = subprocess.run(
        [*twistd, "--help"], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert "modabatch" in shown
    port = free_port()
    settings = {"MODABATCH_DAEMON__DIRECTORY": str(tmp_path / "state"), "MODABATCH_HTTP__LISTEN": str(port)}
    process = subprocess.Popen([*twistd, "-n", "--pidfile=", "modabatch"], env=environment | settings, cwd=tmp_path)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None
        try:
            return requests.get(f"{url}/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        eventually(answers)
        job_id = requests.post(f"{url}/jobs", files={"job-bundle": bundle("echo shipped")}, timeout=30).json()["job_id"]
        eventually(lambda: requests.get(f"{url}/jobs/{job_id}", timeout=5).json()["job_status"] == "completed")
        assert requests.get(f"{url}/jobs/{job_id}/artifacts/stdout", timeout=5).content == b"shipped\n"
        assert requests.get(f"{url}/api/spec.html", timeout=5).ok
    finally:
        process.terminate()
        process.wait(60)

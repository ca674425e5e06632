"""The command itself: what it says of itself, and what it does without a server."""

import sys
from pathlib import Path

import pytest

from modabatchd.client.command import SECTIONS
from tests.client.asking import command

NAMES = [name for section in SECTIONS.values() for name in section]


def test_every_command_explains_itself() -> None:
    told = command("--help").output
    for name in NAMES:
        assert f"  {name}  " in told
        assert "..." not in told.partition("Jobs:")[2]
        alone = command(name, "--help")
        assert alone.exit_code == 0, alone.output
        assert alone.output.startswith("Usage: ")


def test_a_command_that_is_none() -> None:
    result = command("sumbit")
    assert result.exit_code == 2
    assert "No such command 'sumbit'" in result.output


def test_a_command_whose_extra_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "modabatchd.client.commands.replay")
    monkeypatch.setitem(sys.modules, "cronsim", None)
    for name in [name for name in sys.modules if name.startswith("modabatchd.infrastructure.")]:
        monkeypatch.delitem(sys.modules, name)
    assert command("--help").exit_code == 0
    result = command("replay", "--policy", "x", "y")
    assert result.exit_code == 1
    assert "replay needs the module cronsim" in result.output
    assert "pip install 'modabatchd[scaling]'" in result.output


def test_nobody_answers() -> None:
    result = command("list", server="http://127.0.0.1:1")
    assert result.exit_code == 3
    assert "Nobody answers at http://127.0.0.1:1" in result.output
    assert " cure: " in result.output


@pytest.mark.parametrize("wrong", ["--label=x", "--env==y"])
def test_pairs_that_are_none(tmp_path: Path, wrong: str) -> None:
    result = command("submit", tmp_path, wrong)
    assert result.exit_code == 2
    assert "is not " in result.output

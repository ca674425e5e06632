"""The script that starts run.sh.  That shells read it as it is meant is proved by test_wrapper.py."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.queue.launch import launch_script

TEXT = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)


def words(script: bytes) -> list[str]:
    """The words of a script, as a POSIX shell splits it."""
    return shlex.split(script.decode(), posix=True)


def test_a_job_without_arguments_and_environment() -> None:
    assert launch_script([], {}) == b"#!/bin/sh\ncd ./work || exit 125\nexec ./run.sh\n"


def test_arguments_follow_in_order() -> None:
    script = launch_script(["a b", "", "it's"], {})
    assert script.splitlines()[-1] == b"exec ./run.sh 'a b' '' 'it'\\''s'"


def test_variables_are_not_seen_in_any_command_line() -> None:
    script = launch_script(["x"], {"SECRET": "s3cret"}).decode()
    assert "export SECRET='s3cret'\n" in script
    assert "s3cret" not in script.splitlines()[-1]


@pytest.mark.parametrize(
    "name", ["UID", "OPTIND", "LC_ALL", "RANDOM", "PATH", "IFS", "PS4", "BASH_ENV", "_", "PWD", "HISTSIZE"]
)
def test_names_that_shells_keep_for_themselves_go_through_env(name: str) -> None:
    script = launch_script(["x"], {name: "a b", "OWN": "y"}).decode()
    assert script.splitlines()[-1] == f"exec env -- '{name}=a b' ./run.sh 'x'"
    assert f"export {name}" not in script


@pytest.mark.parametrize("name", ["UIDS", "MY_PATH", "PATHS", "PS", "LANGUAGES", "pwd", "__"])
def test_names_that_only_look_like_those_do_not(name: str) -> None:
    assert f"export {name}='v'\n" in launch_script([], {name: "v"}).decode()


@given(st.lists(TEXT), st.dictionaries(NAME, TEXT))
def test_nothing_but_words_comes_of_what_users_write(arguments: list[str], environment: dict[str, str]) -> None:
    found = words(launch_script(arguments, environment).removeprefix(b"#!/bin/sh\n"))
    assert found[:5] == ["cd", "./work", "||", "exit", "125"]
    assert found[len(found) - len(arguments) :] == arguments
    before = found[5 : len(found) - len(arguments)]
    told = [word for word in before if word not in ("export", "exec", "env", "--", "./run.sh") or "=" in word]
    assert sorted(told) == sorted(f"{name}={value}" for name, value in environment.items())


@given(TEXT)
def test_a_script_is_plain_utf_8_with_one_line_feed_at_its_end(value: str) -> None:
    script = launch_script([value], {"A": value})
    assert script.decode().endswith("\n")
    assert len(re.findall(r"^exec \./run\.sh ", script.decode(), re.MULTILINE)) >= 1

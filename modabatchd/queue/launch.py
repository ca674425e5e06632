"""
The script that starts C{run.sh} on a node, with the arguments and the environment that the user gave.  Pure.

Note [Variables that shells keep for themselves]
================================================
A variable reaches C{run.sh} by C{export}, because the arguments of a program, unlike its environment, can be seen by all
users of the node.  But some names mean something to one shell or another: C{UID} is read-only in bash, C{OPTIND} must be a
number in dash, C{LC_ALL} makes bash complain of locales that it does not have, C{RANDOM} never keeps its value.  Those go
through C{env}, which no shell looks into; nobody keeps secrets in them.

Note [Variables of one task]
============================
What each task of an array has of its own stands in the file C{parameters}, in the line whose number is the task's index (Note
[Rows as lines of shell] in L{modabatchd.queue.parameters}).  The line is taken before any variable of the user can mean
something to awk, and carried out after the variables that all tasks have, so that it prevails; where C{env} is needed, its
own C{env} comes last for the same reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

#: See Note [Variables that shells keep for themselves].
_KEPT: Final = re.compile(
    r"_|auto_resume|histchars|BASH\w*|CDPATH|COLUMNS|COMP_\w+|COPROC\w*|DIRSTACK|EGID|ENV|EPOCH\w+|ERRNO|EUID|EXECIGNORE|FCEDIT|FIGNORE|FPATH"
    r"|FUNC\w+|GID|GLOB\w+|GROUPS|HIST\w+|HOME|HOST\w*|IFS|IGNOREEOF|INPUTRC|KSH\w*|LANG|LANGUAGE|LC_\w+|LINENO|LINES|MACHTYPE"
    r"|MAIL\w*|MAPFILE|OLDPWD|OPT\w+|OSTYPE|PATH|PGRP|PIPESTATUS|POSIXLY_CORRECT|PPID|PROMPT\w*|PS[0-9]|PWD|RANDOM|READLINE\w*"
    r"|REPLY|SECONDS|SHELL\w*|SHLVL|SRANDOM|TERM|TEXTDOMAIN\w*|TIMEFORMAT|TMOUT|UID|USERID",
    re.ASCII,
)


_TAKE_ROW: Final = """\
MODACLOUDS_BATCH_BREAK='
'
MODACLOUDS_BATCH_ROW=$(LC_ALL=C awk -v row="$MODACLOUDS_BATCH_TASK_INDEX" 'NR == row { print; exit }' ../parameters)
[ "$MODACLOUDS_BATCH_ROW" ] || { echo "modabatchd: the task's parameters cannot be read" >&2; exit 125; }"""
_USE_ROW: Final = """\
eval "$MODACLOUDS_BATCH_ROW"
unset MODACLOUDS_BATCH_BREAK MODACLOUDS_BATCH_ROW"""


def launch_script(arguments: Sequence[str], environment: Mapping[str, str], has_parameters: bool = False) -> bytes:
    """
    A POSIX shell script that becomes C{work/run.sh}; all arguments and values reach it byte for byte.

    @param arguments: any text without NUL.
    @param environment: names that a shell can export, and any text without NUL.
    @param has_parameters: whether a file C{parameters} lies beside it.  See Note [Variables of one task].
    """
    exports, words = _variables(environment)
    program = ["./run.sh", *map(_quoted, arguments)]
    lines = ["#!/bin/sh", "cd ./work || exit 125"]
    lines += [_TAKE_ROW] if has_parameters else []
    lines += [f"export {word}" for word in exports]
    if has_parameters:
        lines += [" ".join(["set", "--", *program]), _USE_ROW]
        program = ['"$@"']
    lines.append(" ".join(["exec", *_env(words), *program]))
    return "".join(f"{line}\n" for line in lines).encode()


def variables_of_row(values: Mapping[str, str]) -> bytes:
    """One line of the file C{parameters}: sets variables for one task.  @param values: at least one."""
    exports, words = _variables(values)
    commands = [["export", *exports]] if exports else []
    commands += [["set", "--", *_env(words), '"$@"']] if words else []
    line = "; ".join(map(" ".join, commands))
    return line.replace("\n", "'\"$MODACLOUDS_BATCH_BREAK\"'").encode() + b"\n"


def _variables(environment: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The words for C{export}, and those for C{env}.  See Note [Variables that shells keep for themselves]."""
    kept = {name for name in environment if _KEPT.fullmatch(name)}
    exports = [f"{name}={_quoted(value)}" for name, value in environment.items() if name not in kept]
    return exports, [_quoted(f"{name}={value}") for name, value in environment.items() if name in kept]


def _env(words: Sequence[str]) -> list[str]:
    return ["env", "--", *words] if words else []


def _quoted(text: str) -> str:
    """One word of a POSIX shell.  Between single quotes nothing means anything, so only a quote itself has to leave them."""
    return "'" + text.replace("'", "'\\''") + "'"

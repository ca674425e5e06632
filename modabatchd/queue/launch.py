"""
The script that starts C{run.sh} on a node, with the arguments and the environment that the user gave.  Pure.

Note [Variables that shells keep for themselves]
================================================
A variable reaches C{run.sh} by C{export}, because the arguments of a program, unlike its environment, can be seen by all
users of the node.  But some names mean something to one shell or another: C{UID} is read-only in bash, C{OPTIND} must be a
number in dash, C{LC_ALL} makes bash complain of locales that it does not have, C{RANDOM} never keeps its value.  Those go
through C{env}, which no shell looks into; nobody keeps secrets in them.
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


def launch_script(arguments: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """
    A POSIX shell script that becomes C{work/run.sh}; all arguments and values reach it byte for byte.

    @param arguments: any text without NUL.
    @param environment: names that a shell can export, and any text without NUL.
    """
    kept = {name: value for name, value in environment.items() if _KEPT.fullmatch(name)}
    lines = ["#!/bin/sh", "cd ./work || exit 125"]
    lines += [f"export {name}={_quoted(value)}" for name, value in environment.items() if name not in kept]
    words = [_quoted(f"{name}={value}") for name, value in kept.items()]
    program = ["env", "--", *words, "./run.sh"] if kept else ["./run.sh"]
    lines.append(" ".join(["exec", *program, *map(_quoted, arguments)]))
    return "".join(f"{line}\n" for line in lines).encode()


def _quoted(text: str) -> str:
    """One word of a POSIX shell.  Between single quotes nothing means anything, so only a quote itself has to leave them."""
    return "'" + text.replace("'", "'\\''") + "'"

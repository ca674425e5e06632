"""This machine, as far as the embedded queue counts with it."""

from __future__ import annotations

import os
import pwd
import socket

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where jobs run.

    @ivar cores: those that this process may use.
    @ivar memory: MiB.
    @ivar user: under whose name jobs run; empty, if the user has none.
    """

    host: str
    cores: int
    memory: int
    user: str = ""


def this_machine() -> Machine:
    """The machine we are on."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return Machine(host=socket.gethostname(), cores=len(os.sched_getaffinity(0)), memory=memory, user=_user())


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""

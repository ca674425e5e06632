"""
The end of a child process whose daemon has died.

Note [Orphans]
==============
A child whose daemon was killed would finish what it is about: minutes later it might still put jobs into the queue that the
daemon's next life has looked for in vain, and submitted again.  So the kernel is told to kill it when its parent dies.  Should
that have happened before it is told, the child's input ends before it has got anything to do.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> None:
    """
    Have this process killed when the thread that started it ends.  See Note [Orphans] and prctl(2).

    Only Linux can do that; elsewhere it goes on until it sees the end of its input.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

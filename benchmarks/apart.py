"""Clients in a process of their own, which shares no interpreter with what measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Apart:
    """Calls functions of modules in the other process, one at a time."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """@return: what the function returned there."""
        return self._executor.submit(function, *args, **kwargs).result()


@contextmanager
def apart() -> Iterator[Apart]:
    """Such a process, while it is needed."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield Apart(executor)

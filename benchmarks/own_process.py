"""Figures that are taken in a process of its own, so that a peak of memory is that of one piece of work alone."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

Figures = tuple[float, float]


def _measure(measure: Callable[..., Figures], arguments: tuple[Any, ...], connection: Connection) -> None:
    connection.send(measure(*arguments))


def in_own_process(measure: Callable[..., Figures], *arguments: Any) -> Figures:
    """Return what `measure` returns in a new process. EOFError where that process ends before it does."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_measure, args=(measure, arguments, there))
    process.start()
    there.close()
    figures: Figures = here.recv()
    process.join()
    return figures

"""Faults at the border to the kernel: every call that writes is counted, and one of them kills, or fails."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from console.recovery.execution import OnProgress
from console.recovery.model import Progress

WRITING = (
    "write", "pwrite", "rename", "replace", "mkdir", "unlink", "rmdir", "fsync", "posix_fallocate", "ftruncate",
    "fchmod", "fchown", "utime",
)  # fmt: skip
"""The names in `os` through which recovery changes anything on disk."""


@dataclass(slots=True)
class Calls:
    """How many writing calls there were, and which."""

    names: list[str] = field(default_factory=list)


Places = tuple[tuple[Any, str], ...]
"""Functions by what they belong to and their name."""


@contextmanager
def interposed(
    before: Callable[[int, str], None], after: Callable[[int, str], None] | None = None, also: Places = ()
) -> Iterator[Calls]:
    """Call `before` and `after` around every writing call and those of `also`, with its number from 0 and its name."""
    calls = Calls()
    originals = {(place, name): getattr(place, name) for place, name in (*((os, each) for each in WRITING), *also)}

    def wrapped(place: Any, name: str) -> Callable[..., Any]:
        original = originals[place, name]

        def call(*arguments: Any, **named: Any) -> Any:
            number = len(calls.names)
            calls.names.append(name)
            before(number, name)
            try:
                return original(*arguments, **named)
            finally:
                if after is not None:
                    after(number, name)

        return call

    for place, name in originals:
        setattr(place, name, wrapped(place, name))
    try:
        yield calls
    finally:
        for (place, name), original in originals.items():
            setattr(place, name, original)


def count(work: Callable[[], object], also: Places = ()) -> int:
    """Return how many writing calls `work` makes."""
    with interposed(lambda number, name: None, also=also) as calls:
        work()
    return len(calls.names)


def killed_in_child(work: Callable[[], object], at: int, *, done: bool, also: Places = ()) -> bool:
    """Run `work` in a child process that is killed (SIGKILL) at its writing call `at`: before it, or with it `done`.

    Return whether it was killed; a child that ended by itself had fewer calls.
    """
    child = os.fork()
    if child == 0:
        try:

            def kill(number: int, name: str) -> None:
                if number == at:
                    os.kill(os.getpid(), signal.SIGKILL)

            def pass_on(number: int, name: str) -> None:
                return None

            with interposed(pass_on if done else kill, kill if done else None, also):
                work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def stage_times(work: Callable[[OnProgress], object]) -> dict[str, float]:
    """Run `work` and return how many seconds each of its stages took, in order; the last one's end is the run's."""
    begun: list[tuple[str, float]] = []

    def note(progress: Progress) -> None:
        if progress.state == "begins":
            begun.append((progress.stage, time.monotonic()))

    work(note)
    ends = [*(at for _, at in begun[1:]), time.monotonic()]
    return {stage: end - at for (stage, at), end in zip(begun, ends, strict=True)}


def killed_in_stage(work: Callable[[OnProgress], object], stage: str, seconds: float) -> bool:
    """Run `work` in a child process that is killed so many seconds after the stage began, whatever it does then.

    Return whether it was killed; a child that ended by itself was faster.
    """
    child = os.fork()
    if child == 0:
        try:

            def kill(progress: Progress) -> None:
                if (progress.stage, progress.state) != (stage, "begins"):
                    return
                if not seconds:
                    os.kill(os.getpid(), signal.SIGKILL)
                threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

            work(kill)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

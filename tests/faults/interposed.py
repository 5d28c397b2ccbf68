"""Faults at the border to the kernel: every call that writes is counted, and one of them kills, or fails."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from console.recovery.execution import OnProgress
from console.recovery.model import Progress
from console.recovery.store.journal import Journal

KILLS = int(os.environ.get("WALMEDIC_FAULT_KILLS", "10"))
"""So many kills of each action: of those at the stages' boundaries all, and every other call if there are so few."""
WRITING = (
    "write", "pwrite", "rename", "replace", "mkdir", "unlink", "rmdir", "fsync", "posix_fallocate", "ftruncate",
    "fchmod", "fchown", "utime", "open",
)  # fmt: skip
"""The names in `os` through which recovery changes anything on disk; `open` where it may make a file."""


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
    calls, counting = Calls(), threading.Lock()
    originals = {(place, name): getattr(place, name) for place, name in (*((os, each) for each in WRITING), *also)}

    def wrapped(place: Any, name: str) -> Callable[..., Any]:
        original = originals[place, name]

        def call(*arguments: Any, **named: Any) -> Any:
            if (place, name) == (os, "open") and not arguments[1] & os.O_CREAT:
                return original(*arguments, **named)
            with counting:  # threads write beside one another
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


def failing(at: int, code: int, *, lasting: bool = False) -> Callable[[int, str], None]:
    """Return what makes call `at` (with `lasting` every later one too) fail with the error `code`, for `interposed`."""

    def fail(number: int, call: str) -> None:
        if number == at or (lasting and number > at):
            raise OSError(code, os.strerror(code))

    return fail


def boundaries(work: Callable[[], object], also: Places = ()) -> tuple[int, list[int]]:
    """Return how many writing calls `work` makes, and the last call of each event that it journals.

    An event is journalled as an entry begins and ends and before and after each of its stages.
    """
    ends: list[int] = []
    original = Journal.append
    with interposed(lambda number, name: None, also=also) as calls:

        def append(journal: Journal, *event_args: Any) -> Any:
            event = original(journal, *event_args)
            ends.append(len(calls.names) - 1)
            return event

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Journal, "append", append)
            work()
    return len(calls.names), ends


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


def killed_after_event(work: Callable[[], object], at: int) -> bool:
    """Run `work` in a child process that is killed (SIGKILL) when it has journalled its event `at`, from 0."""
    child = os.fork()
    if child == 0:
        original, events = Journal.append, 0

        def append(journal: Journal, *event_args: Any) -> Any:
            nonlocal events
            event = original(journal, *event_args)
            if events == at:
                os.kill(os.getpid(), signal.SIGKILL)
            events += 1
            return event

        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Journal, "append", append)
                work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def killed_after(work: Callable[[], object], seconds: float) -> bool:
    """Run `work` in a child process that is killed (SIGKILL) from outside so many seconds later, wherever it is then.

    Return whether it was killed; else it had ended before.
    """
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


class Kills:
    """Kills of `work`, which is done once to its end first: `next` after each event that it journals, at calls, at any
    time; `enough` when there were all of the first, some of the others, and KILLS in all.
    """

    def __init__(self, work: Callable[[], object], rng: random.Random) -> None:
        began = time.monotonic()
        self.calls, ends = boundaries(work)
        self.seconds = time.monotonic() - began
        at_boundaries = [(at, True) for at in ends]
        others = [(at, done) for at in range(self.calls) for done in (False, True) if (at, done) not in at_boundaries]
        some = max(3, KILLS - len(at_boundaries) - KILLS // 5)
        self._instants = rng.sample(others, min(some, len(others))) + at_boundaries[::-1]
        self._rng = rng
        self.done = self.at_any_time = 0
        self.description = ""

    @property
    def enough(self) -> bool:
        """Whether no more are needed."""
        return not self._instants and self.done >= KILLS and self.at_any_time >= 2

    def next(self, work: Callable[[], object]) -> None:
        """Do `work` and kill it; at any time it may have ended before."""
        if self._instants:
            at, done = self._instants.pop()
            self.description = f"{'after' if done else 'before'} call {at} of {self.calls}"
            assert killed_in_child(work, at, done=done), self.description
            self.done += 1
        else:
            when = self._rng.uniform(0, self.seconds)
            self.description = f"after {when:.4f} s"
            killed = killed_after(work, when)
            self.done += killed
            self.at_any_time += killed

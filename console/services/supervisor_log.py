"""What supervisord's own log says of the runs that it does not count: restarts, and how each run ended.

The lines are those of supervisor/process.py and supervisord.py of supervisor 4: `spawned: 'NAME' with pid N`,
`exited: NAME (exit status 1; not expected)`, `exited: NAME (terminated by SIGABRT (core dumped); not expected)`,
`stopped: NAME (terminated by SIGTERM)`, `gave up: NAME entered FATAL state, …`, `supervisord started with pid N`.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

_CHUNK = 1 << 18  # bytes asked for at once
_CHUNKS = 256  # 64 MiB: supervisord's log is rotated at 50 MB by default
_LOOP_WINDOW, _LOOP_COUNT = 120.0, 3  # that many unexpected ends within so many seconds are a loop
_LOOP_OVER = 30.0  # seconds; a run that lasts so long, and twice as long as any of the loop's, has got out of it

_STARTED = re.compile(r" supervisord started with pid ")
_SPAWNED = re.compile(r" spawned: '(?P<name>.+)' with pid \d+$")
_ENDED = re.compile(r" (?P<how>exited|stopped): (?P<name>.+?) \((?P<why>.+)\)$")
_GAVE_UP = re.compile(r" gave up: (?P<name>.+?) entered FATAL state")
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) ")

Read = Callable[[int, int], str | None]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One line of the log about one process; `at` is epoch seconds, `what` a verb such as `ended: exit 1`."""

    at: float
    name: str
    what: str


def run_events(text: str) -> Iterator[RunEvent]:
    """Yield what the lines of supervisord's log say of its processes, in their order."""
    for line in text.splitlines():
        if found := _SPAWNED.search(line):
            yield RunEvent(_moment(line), found["name"], "started")
        elif found := _ENDED.search(line):
            stopped = found["how"] == "stopped"
            yield RunEvent(_moment(line), found["name"], "stopped" if stopped else f"ended: {_result(found['why'])}")
        elif found := _GAVE_UP.search(line):
            yield RunEvent(_moment(line), found["name"], "was given up: it would not stay up")


@dataclass(frozen=True, slots=True)
class RunHistory:
    """The runs of one process since supervisord started. `result` is how the last one ended."""

    restarts: int = 0
    result: str = ""
    unexpected: bool = False
    awaits_restart: bool = False
    ends: tuple[float, ...] = ()  # epoch seconds of the newest unexpected ends

    @property
    def looping(self) -> bool:
        ends, now = self.ends[-_LOOP_COUNT:], time.time()
        if len(ends) < _LOOP_COUNT or now - ends[0] >= _LOOP_WINDOW:
            return False
        longest = max(after - before for before, after in pairwise(ends))
        return now - ends[-1] < max(_LOOP_OVER, 2 * longest)


class SupervisorLog:
    """Follows the log from where the last reading ended, through rotation."""

    def __init__(self) -> None:
        self._cursor = 0
        self._rest = ""
        self._histories: dict[str, RunHistory] = {}
        self._readable = False

    def history(self, name: str) -> RunHistory | None:
        """Return the runs of `name` (with or without its group), None where the log cannot be read."""
        if not self._readable:
            return None
        return self._histories.get(name.rpartition(":")[2], RunHistory())

    def follow(self, read: Read) -> None:
        """Take in what was added. `read` returns the text at an offset in bytes, None where there is no log."""
        if self._cursor and not read(self._cursor - 1, 1):
            self._cursor, self._rest = 0, ""  # rotated: what was counted stays counted
        for _ in range(_CHUNKS):
            text = read(self._cursor, _CHUNK)
            self._readable = text is not None
            if not text:
                return
            self._cursor += len(text.encode())
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._take(line)

    def _take(self, line: str) -> None:
        if _STARTED.search(line):
            self._histories.clear()
        elif found := _SPAWNED.search(line):
            history = self._histories.get(found["name"], RunHistory())
            again = history.restarts + 1 if history.awaits_restart else history.restarts
            self._histories[found["name"]] = replace(history, restarts=again, awaits_restart=False)
        elif found := _ENDED.search(line):
            self._end(found["name"], found["how"], found["why"], _moment(line))
        elif found := _GAVE_UP.search(line):
            history = self._histories.get(found["name"], RunHistory())
            self._histories[found["name"]] = replace(history, awaits_restart=False)

    def _end(self, name: str, how: str, why: str, at: float) -> None:
        history = self._histories.get(name, RunHistory())
        unexpected = how == "exited" and not why.endswith("; expected")
        self._histories[name] = replace(
            history,
            result=_result(why) if how == "exited" else "stopped",
            unexpected=unexpected,
            awaits_restart=how == "exited",
            ends=(*history.ends, at)[-8:] if unexpected else history.ends,
        )


def _moment(line: str) -> float:
    """Return the local time that a log line begins with as epoch seconds, 0 where it has none."""
    found = _TIME.match(line)
    if not found:
        return 0.0
    return time.mktime(time.strptime(found[1], "%Y-%m-%d %H:%M:%S")) + int(found[2]) / 1000


def _result(why: str) -> str:
    """Return `exit 1`, `SIGABRT` or `SIGSEGV, core dumped` for supervisord's own words."""
    words = why.removesuffix("; expected").removesuffix("; not expected")
    if words.startswith("exit status "):
        return f"exit {words.removeprefix('exit status ')}"
    ended = words.removeprefix("terminated by ")
    return f"{ended.removesuffix(' (core dumped)')}, core dumped" if ended.endswith(" (core dumped)") else ended

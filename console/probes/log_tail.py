"""The newest lines of one service's log, held in bounded memory, filtered, and the place that is being read. Pure."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

_KEPT = 5_000
_ERROR = 3  # syslog's priority: this and what is below it is an error or worse
# The words that logs use for it, the signals, and the levels E and C (critical) as QuestDB writes them.
_TROUBLE = re.compile(
    r"(?i:\w*error\b|\w*exception\b|\b(?:fatal|critical|panic|traceback)\b)|\bSIG[A-Z]{3,}|Z [EC] i\.q\."
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a service. `at` is epoch seconds and `priority` syslog's (3: error), None where not reported."""

    text: str
    at: float | None = None
    priority: int | None = None


class LogTail:
    """Lines as they come; at most _KEPT of them. `following` keeps the newest in sight, else nothing moves."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, LogLine]] = deque(maxlen=_KEPT)
        self._count = 0
        self._bottom = 0  # number of the lowest line in sight, where nothing is followed
        self._wanted = ""
        self._only_trouble = False
        self.following = True

    @property
    def wanted(self) -> str:
        return self._wanted

    @property
    def only_trouble(self) -> bool:
        return self._only_trouble

    def add(self, line: LogLine) -> None:
        self._count += 1
        self._lines.append((self._count, line))

    def forget(self) -> None:
        """Drop all lines: the log is read anew."""
        self._lines.clear()

    def narrow(self, wanted: str, *, only_trouble: bool) -> None:
        """Show only lines that hold `wanted`, in whatever case, and only trouble where that is asked for."""
        self._wanted, self._only_trouble = wanted, only_trouble

    def follow(self, following: bool) -> None:
        self.following = following
        self._bottom = self._count

    def move(self, steps: int, height: int) -> None:
        """Move what is in sight by `steps` lines that are shown; reaching the end follows again."""
        numbers = [number for number, _ in self._shown()]
        if not numbers:
            return
        at = len(numbers) - 1
        if not self.following:
            at = next((i for i in reversed(range(len(numbers))) if numbers[i] <= self._bottom), 0)
        at = max(at + steps, min(height, len(numbers)) - 1)
        self.following = at >= len(numbers) - 1
        self._bottom = numbers[min(at, len(numbers) - 1)]

    def in_sight(self, height: int) -> list[LogLine]:
        """Return the lines in sight, oldest first, at most `height`."""
        below = (line for number, line in self._shown(newest_first=True) if self.following or number <= self._bottom)
        return list(islice(below, height))[::-1]

    def counts(self) -> tuple[int, int, int]:
        """Return how many lines are shown in all, how many of them lie below what is in sight, how many are held."""
        numbers = [number for number, _ in self._shown()]
        below = 0 if self.following else sum(number > self._bottom for number in numbers)
        return len(numbers), below, len(self._lines)

    def _shown(self, *, newest_first: bool = False) -> Iterator[tuple[int, LogLine]]:
        wanted = self._wanted.casefold()
        for number, line in reversed(self._lines) if newest_first else self._lines:
            if wanted and wanted not in line.text.casefold():
                continue
            if not self._only_trouble or is_trouble(line):
                yield number, line


def is_trouble(line: LogLine) -> bool:
    """Return whether a line tells of trouble: by its priority, or by the words that logs use for it."""
    return (line.priority is not None and line.priority <= _ERROR) or _TROUBLE.search(line.text) is not None

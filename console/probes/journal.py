"""The journal probe: what was done here, newest first, and whether the record of it is whole."""

import os
from collections.abc import Sequence

from console.probes.contents import JournalLine, JournalSample
from console.probes.sample import Sample, Status
from console.probes.worker import ThreadProbe
from console.recovery.gate.unfinished import is_running
from console.recovery.guard.state import read_state
from console.recovery.store.journal import Entry, Journal
from console.recovery.store.state import StateDir
from console.settings import Settings
from console.text import clean_line

_SHOWN = 50


class JournalProbe(ThreadProbe[JournalSample]):
    """Reads the journal again only when it has changed."""

    name = "journal"
    interval = 2.0
    deadline = 10.0

    def __init__(self, settings: Settings) -> None:
        self._journal = Journal(StateDir(settings.state_path))
        self._guard = settings.guard_path
        super().__init__()
        self._stamp: tuple[int, int, int] | None = None
        self._entries: Sequence[Entry] = ()
        self._problem = ""

    def _sample(self) -> Sample[JournalSample]:
        stamp = self._stamped()
        if stamp != self._stamp:
            self._entries = self._journal.entries()
            broken = self._journal.verify()
            self._problem = f"line {broken[0].line} of the journal: {broken[0].what}" if broken else ""
            self._stamp = stamp
        undone = {str(entry.intent.get("undoes")) for entry in self._entries if _ended(entry) == "done"}
        newest = list(reversed(self._entries))[:_SHOWN]
        guard = read_state(self._guard)
        lines = tuple(_line(entry, undone) for entry in newest)
        sample = JournalSample(lines, not self._problem, guard.at if guard is not None else None)
        return Sample(self.name, Status.OK if sample.chain_ok else Status.DEGRADED, sample, self._problem)

    def _stamped(self) -> tuple[int, int, int] | None:
        try:
            status = os.lstat(self._journal.path)
        except FileNotFoundError:
            return None
        except OSError:
            return 0, 0, 0  # reading it says what stands in the way
        return status.st_ino, status.st_size, status.st_mtime_ns


def _line(entry: Entry, undone: set[str]) -> JournalLine:
    ended = _ended(entry)
    if ended is None:
        outcome = "running" if is_running(entry) else "unfinished"
    else:
        outcome = "undone" if entry.id in undone else ended
    message = entry.outcome.get("message", "") if entry.outcome else entry.intent.get("confirmation", "")
    target = entry.table or str(entry.intent.get("station", ""))
    return JournalLine(
        entry=clean_line(entry.id),
        at=entry.events[0].seconds,
        action=clean_line(entry.action),
        target=clean_line(target),
        outcome=outcome,
        operator=clean_line(str(entry.worker.data.get("operator", ""))),
        summary=clean_line(str(message)),
        terminal=clean_line(str(entry.worker.data.get("terminal", ""))),
        host=clean_line(str(entry.worker.data.get("host", ""))),
        command=clean_line(str(entry.worker.data.get("command", "")), 2000),
    )


def _ended(entry: Entry) -> str | None:
    return None if entry.outcome is None else clean_line(str(entry.outcome.get("outcome", "")).replace("-", " "))

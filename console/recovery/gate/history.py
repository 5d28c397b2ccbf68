"""What the journal says of each table, for the diagnosis: its evidence, its last resume, its last repair."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from console.diagnosis.model import NO_HISTORY, SegmentRun, TableHistory
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.questdb.table_name import SEQUENCER
from console.recovery.evidence.index import EvidenceIndex, table_stamp
from console.recovery.model import Outcome
from console.recovery.store.entries import notes_of, read_entry_plan
from console.recovery.store.journal import Entry, Journal
from console.recovery.store.places import MANIFEST, root_key, salvage_folder
from console.recovery.store.state import StateDir

STOPPED_AT: Final = "stopped at"
"""Under which a resume-wal notes the seqTxn at which the server stopped again."""
_RESUMES: Final = "resume-wal"
_RESUMES_ALL: Final = "resume-all"
EXPECTED: Final = "expected"
"""Under which a resume notes what a table must hold: it has told the server to go on with that table."""
_SALVAGES: Final = "salvage-wal"
SKIPPED: Final = "skipped"
"""Under which the stage of a resume says which transactions it skips, whose loss its plan announces."""
_GIVES_UP: Final = "repair-partition"
_CLOCK_TICK: Final = 0.02
"""Seconds by which the time of a file can lie before that of the clock: the kernel's own ticks."""
_REPAIRS: Final = ("repair-log", "rebuild-sequencer", "restore-sequencer")


class Histories:
    """Reads journal and evidence of one database; what is read is read once."""

    def __init__(self, database: DatabaseRoot, state: StateDir, journal: Journal) -> None:
        self._database, self._state, self._journal = database, state, journal
        self._root = root_key(database.db)
        self._evidence = EvidenceIndex(state, self._root, journal)
        self._known: dict[str, TableHistory] = {}

    def of_table(self, directory: str) -> TableHistory:
        """Return what is known of the table in `directory`; nothing if the journal cannot be read."""
        if directory not in self._known:
            with contextlib.suppress(WalmedicError):
                self._known[directory] = self._read(directory)
        return self._known.setdefault(directory, NO_HISTORY)

    def _read(self, directory: str) -> TableHistory:
        ours = [entry for entry in reversed(self._journal.entries()) if entry.root == self._root]
        entries = [entry for entry in ours if entry.intent.get("directory") == directory]
        repair = next(self._standing(entries, _REPAIRS), None)
        if repair is not None and not self._in_place(repair, directory):
            repair = None
        gave_up = (each for each in self._standing(entries, (_GIVES_UP,)) if self._announced_loss(each))
        return TableHistory(
            evidence=self._captured(directory),
            stopped_at=stopped_at(self._state, ours, directory),
            repaired_at=None if repair is None else repair.events[-1].seconds,
            left_out=repair is not None and self._announced_loss(repair),
            gave_up_at=next((each.events[-1].seconds for each in gave_up), None),
            settled=lambda: tuple(self._settled(ours, directory)),
        )

    def _settled(self, entries: list[Entry], directory: str) -> Iterator[SegmentRun]:
        """Yield what was salvaged as files that are whole, and what a resume skipped as its plan announced."""
        for entry in self._standing(entries, (_SALVAGES, _RESUMES)):
            with contextlib.suppress(WalmedicError, OSError, ValueError, KeyError, TypeError):
                for stage in read_entry_plan(self._state, entry.id).stages:
                    given = stage.parameters
                    if given.get("directory") != directory:
                        continue
                    if entry.action == _RESUMES:
                        yield from (SegmentRun(*each) for each in given.get(SKIPPED, ()))
                    elif not given["source"]:  # else it is of a copy
                        yield from _salvaged(salvage_folder(given, entry.id), entry.events[-1].seconds)

    def _captured(self, directory: str) -> bool:
        if self._evidence.of_table(directory) is None:
            return False
        return self._evidence.fresh(directory, table_stamp(self._database.db / directory)) is not None

    def _in_place(self, repair: Entry, directory: str) -> bool:
        """Return whether the log was written by `repair` or since: an older one was put back, of before it."""
        try:
            status = (self._database.db / directory / SEQUENCER / "_txnlog").lstat()
        except OSError:
            return False
        return min(status.st_mtime, status.st_ctime) >= repair.events[0].seconds - _CLOCK_TICK

    def _announced_loss(self, repair: Entry) -> bool:
        """Return whether the plan said that rows may be lost; an unreadable plan tells nothing, and settles nothing."""
        with contextlib.suppress(WalmedicError):
            return read_entry_plan(self._state, repair.id).rows_lost.phrase != "0"
        return False

    def _standing(self, entries: list[Entry], actions: Sequence[str]) -> Iterator[Entry]:
        undone = self._journal.undone()
        yield from (each for each in entries if each.action in actions and each.id not in undone and _done(each))


def stopped_at(state: StateDir, entries: list[Entry], directory: str) -> int | None:
    """Return the seqTxn at which the server stopped after the last resume of a table among `entries`, newest first."""
    for entry in entries:
        if entry.action == _RESUMES and entry.intent.get("directory") == directory:
            key = STOPPED_AT
        elif entry.action == _RESUMES_ALL and among(EXPECTED, directory) in notes_of(state, entry.id):
            key = among(STOPPED_AT, directory)
        else:
            continue
        value = None if entry.outcome is None or _done(entry) else notes_of(state, entry.id).get(key)
        return value if isinstance(value, int) else None
    return None


def among(note: str, directory: str) -> str:
    return f"{note} {directory}"


def _salvaged(folder: Path, at: float) -> Iterator[SegmentRun]:
    """Yield the transactions of which a salvage has written every row, into files that were proven whole `at` its end.

    A file whose inode has changed since then proves nothing.
    """
    for each in json.loads((folder / MANIFEST).read_bytes())["files"]:
        status = (folder / str(each["file"])).lstat()
        if not each["rows_left_out"] and status.st_size == each["bytes"] and status.st_ctime <= at:
            for run in each["transactions"]:
                yield SegmentRun(each["wal"], each["segment"], run["first"], run["last"], run["rows"])


def _done(entry: Entry) -> bool:
    return entry.outcome is not None and entry.outcome.get("outcome") == Outcome.DONE.value

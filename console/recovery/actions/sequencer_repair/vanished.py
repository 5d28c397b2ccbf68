"""WAL that evidence of the table has and the table has no more, though nothing was applied since: it was moved away."""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from console.questdb.reading import read_small
from console.recovery.gate.registry import PlanContext
from console.recovery.model import Outcome
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.store.places import root_key
from console.table.ledger import Entry, Evidence, Fate, RowsLost

_START: Final = "start-server"
_EVENTS: Final = re.compile(r"wal([1-9]\d*)/(\d+)/_event")


def vanished_wal(context: PlanContext, table: TableOnDisk) -> Iterator[Entry]:
    """Yield an entry for each capture with WAL that has gone since; what a server of ours ran since is no proof."""
    directory = table.directory
    state = hashlib.sha256(read_small(directory.path / "_txn").data).hexdigest()
    there = {(wal.id, segment) for wal in directory.wals() for segment in wal.segments}
    started = [
        entry.id
        for entry in context.journal.entries()
        if entry.action == _START and entry.root == root_key(context.database.db) and entry.result is Outcome.DONE
    ]
    for capture in context.evidence.captures():
        if directory.directory not in capture.stamps or capture.id < max(started, default=""):
            continue
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # evidence that cannot be read says nothing
            files = capture.manifest["files"]
            gone = sorted(set(_segments(files, directory.directory, state)) - there)
            if gone:
                names = ", ".join(f"wal{wal}/{segment}" for wal, segment in gone[:3])
                why = f"evidence {capture.id} has {names}, and the table has it no more, with nothing applied since: "
                why += "put it back, or its rows may be lost"
                yield Entry(Fate.UNKNOWN, Evidence.NOT_READ, None, RowsLost.unknown(), why)
                return


def _segments(files: list[Mapping[str, Any]], directory: str, state: str) -> Iterator[tuple[int, int]]:
    """Yield WAL and segment of the event files of a capture, if the table's `_txn` was the same as now."""
    prefix = f"db/{directory}/"
    if any(each["path"] == f"{prefix}_txn" and each["sha256"] == state for each in files):
        found = (_EVENTS.fullmatch(str(each["path"]).removeprefix(prefix)) for each in files)
        yield from ((int(match[1]), int(match[2])) for match in found if match)

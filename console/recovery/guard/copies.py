"""Copies of a table's own small files, as the guard took them: found, and proven to be what was taken.

Each lies in a directory of its own below the guard's directory of the table, with `copy.json`: a line of a chain like
the journal's, with the SHA-256 of each file, and of the log's mirror as it was then.
"""

import datetime
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console.digests import canonical
from console.questdb.layout import TableDirectory
from console.questdb.partition_spans import spans_of
from console.questdb.reading import Problem, read_small
from console.questdb.sequencer_metadata import read_sequencer_metadata
from console.questdb.table_metadata import read_table_identity, read_table_metadata
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import read_log
from console.recovery.store.chain import FIRST, hash_of, parsed_line
from console.table.belonging import judge_logs
from console.table.log_life import fork_of
from console.table.wal_origin import LogHead

PREFIX: Final = "copy-"
NOTE: Final = "copy.json"
_SLACK: Final = 2.0  # seconds between a write and the time that its file shows


@dataclass(frozen=True, slots=True)
class GuardCopy:
    """One copy: `folder` holds `_txn`, `_meta`, `_cv` and small symbol maps; `event` is its line of the chain."""

    folder: Path
    event: dict[str, Any]

    @property
    def number(self) -> int:
        """Its place in the chain, from 1."""
        return int(self.event["number"])

    @property
    def at(self) -> str:
        """When it was taken (UTC, ISO 8601)."""
        return str(self.event["at"])

    @property
    def seconds(self) -> float:
        """When it was taken, in seconds since the epoch."""
        return datetime.datetime.fromisoformat(self.at).timestamp()

    @property
    def mirror(self) -> str:
        """The name of the mirror of the table's log at that time, empty for a table without WAL."""
        return str(self.event["data"].get("log", {}).get("mirror", ""))

    @property
    def whole(self) -> bool:
        """Whether `_txn`, `_meta`, `_cv` are those that were taken."""
        return self._as_taken(self.event["data"]["files"])

    @property
    def symbols_whole(self) -> bool:
        """Whether the files of its symbol maps are those that were taken; there may be none."""
        return self._as_taken(self.event["data"].get("symbols", {}))

    def _as_taken(self, digests: Mapping[str, str]) -> bool:
        return digests_of({name: read_small(self.folder / name).data for name in digests}) == digests

    @property
    def told(self) -> str:
        return f"the guard's copy of {self.at[:19]}Z"


def digests_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each file, by name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def line_of(folder: Path) -> dict[str, Any] | None:
    """Return what a copy notes of itself, None where it was not written to its end or was changed."""
    event = parsed_line(read_small(folder / NOTE).data)
    return event if event is not None and event["hash"] == hash_of(event) else None


def all_copies(folder: Path) -> list[GuardCopy]:
    """Return the copies in the guard's directory of a table that note themselves rightly, oldest first."""
    found = [GuardCopy(path, event) for path in folder.glob(f"{PREFIX}*") if (event := line_of(path)) is not None]
    return sorted(found, key=lambda copy: copy.number)


def chained(copies: list[GuardCopy]) -> Iterator[GuardCopy]:
    """Yield the copies, newest first, but for those that their successor does not know."""
    after: GuardCopy | None = None
    for copy in reversed(copies):
        follows = after is not None and after.number == copy.number + 1
        if not follows or after is None or after.event["previous"] == copy.event["hash"]:
            yield copy
        after = copy


def copies_of(table: TableDirectory) -> Iterator[GuardCopy]:
    """Yield the guard's copies of this life of a table, newest first, each whole.

    Of a WAL table those that were taken with a log that is proven to be its own, up to where it forked: a table that
    was put back goes on with other transactions. A table without WAL has no log: only a copy of its very state is used.
    """
    if table.guard is None or not table.guard.is_dir():
        return
    found = all_copies(table.guard)
    own = own_mirrors(table) if any(copy.mirror for copy in found) else frozenset()
    live, newest = read_log(table.sequencer), None
    forks: dict[str, list[int]] = {}
    for copy in chained(found):
        identity = read_table_identity(copy.folder)
        mine = identity.table_id is not None and table.table_id in (None, identity.table_id)
        ours = copy.mirror in own if copy.mirror else not identity.wal and _as_it_is(table, copy)
        if not mine or not ours or not copy.whole:
            continue
        if copy.mirror and copy.mirror not in forks:
            mirror = read_log(table.guard / copy.mirror)
            newest = newest or mirror
            forks[copy.mirror] = [at for log in (live, newest) if (at := fork_of(mirror, log)) is not None]
        state = read_table_txn(copy.folder).current if forks.get(copy.mirror) else None
        if not forks.get(copy.mirror) or (state is not None and state.applied_txn < min(forks[copy.mirror])):
            yield copy


def _as_it_is(table: TableDirectory, copy: GuardCopy) -> bool:
    """Return whether a table without WAL is in the state of the copy: by `_txn`, and by when its files were written.

    A backup that was put back can have gone on to as many rows and transactions, with other files.
    """
    now, then = read_table_txn(table.path), read_table_txn(copy.folder)
    metadata = read_table_metadata(copy.folder)
    if now.current is None or then.current is None or now.problems or isinstance(metadata, Problem):
        return False
    counts = [(area.txn, area.max_ts, area.partitions.tobytes()) for area in (now.current, then.current)]
    folders = [table.path / span.directory for span in spans_of(then.current, metadata)]
    try:
        written = max((entry.stat().st_mtime for each in folders for entry in os.scandir(each)), default=0.0)
    except OSError:
        return False
    return counts[0] == counts[1] and written <= copy.seconds + _SLACK


def own_mirrors(table: TableDirectory) -> frozenset[str]:
    """Return the names of the guard's mirrors that are proven to be of this life of the table."""
    live = [table.sequencer] if table.sequencer.is_dir() else []
    heads = [LogHead(p.name, p, read_log(p), read_sequencer_metadata(p)) for p in (*live, *table.guard_mirrors())]
    ids = {head.name: getattr(head.metadata, "table_id", None) for head in heads}
    known = table.table_id if table.table_id is not None else next((i for i in ids.values() if i is not None), None)
    if known is None:
        return frozenset()
    verdicts = judge_logs(table, known, heads)
    return frozenset(head.name for head in heads if head.path != table.sequencer and verdicts[head.name].own)


def next_line(before: GuardCopy | None, name: str, at: str, data: dict[str, Any]) -> bytes:
    """Return what a new copy notes of itself, behind `before`."""
    event = {
        "number": before.number + 1 if before else 1,
        "entry": name,
        "kind": "copy",
        "at": at,
        "data": data,
        "previous": before.event["hash"] if before else FIRST,
    }
    return canonical({**event, "hash": hash_of(event)})

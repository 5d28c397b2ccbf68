"""Whether the WAL directories in a table's directory are its own, and of this life of it (see belonging.py)."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

from console.questdb.layout import TableDirectory, WalDirectory
from console.questdb.reading import Entry, Problem
from console.questdb.sequencer_metadata import SequencerMetadata, read_sequencer_metadata
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea
from console.questdb.txn_log import TxnLog, read_log
from console.table.belonging import OWN, Kinship, LogTimes, Verdict, judge_logs, life_began_us, table_named
from console.table.log_life import agrees, laid_down_us, lived_once, segment_created_us
from console.table.segment_times import Address, misplaced
from console.table.wal_content import columns_differ, symbols_differ, symbols_linked

_SECOND_NS: Final = 1_000_000_000
_COPIES: Final = "its symbol files are copies, not links to the table's"
_MINUTE_NS: Final = 60 * _SECOND_NS
_CLOCK_NS: Final = 10_000_000
"""A write gives both times of a file the same clock tick, a few milliseconds long."""
"""A copy without times can take this long between a segment's directory and its lock file."""


@dataclass(frozen=True, slots=True)
class LogHead:
    """What of a sequencer directory, live or a copy, is read to tell whose it is."""

    name: str
    path: Path
    log: TxnLog
    metadata: SequencerMetadata | Problem


@dataclass(frozen=True, slots=True)
class Origins:
    """Verdicts on each log of a table by the directory's name, and on each WAL that is not its own by id.

    `doubts` says of WALs what speaks for their being put in by hand, where no log in place tells whose they are, and
    nothing else speaks against them: file times and links convict nothing, and do not acquit either. `misplaced` says
    so of segments, by (wal, segment), by their times against the log in place (segment_times.py).
    """

    logs: Mapping[str, Verdict]
    wals: Mapping[int, Verdict]
    doubts: Mapping[int, str] = field(default_factory=dict)
    misplaced: Mapping[Address, str] = field(default_factory=dict)

    def unproven(self, named: Iterable[int]) -> dict[int, str]:
        """Return the doubts but for the WALs that are `named` by a log of the table."""
        return {wal: why for wal, why in self.doubts.items() if wal not in set(named)}

    def log(self, name: str) -> Verdict:
        """Return the verdict on a log; one that was not there when the table was read is walmedic's own."""
        return self.logs.get(name, OWN)

    @property
    def left_out(self) -> frozenset[int]:
        """The WALs that are known to be another's: their transactions are not this table's."""
        return frozenset(wal for wal, verdict in self.wals.items() if verdict.kinship is not Kinship.UNPROVEN)


NO_ORIGINS: Final = Origins({}, {})


def never_own(origins: Origins, own: int, handed_out: int | None) -> frozenset[int]:
    """Return the WALs of others whose id the table's sequencer never gave out, so that they replaced none of its own.

    `handed_out` is what `_wal_index.d` of the sequencer in place says, None if it is not the table's or cannot be read;
    below the highest `own` WAL it is wrong, and 0 is what a lost page says: they prove nothing.
    """
    if not handed_out or handed_out < own:
        return frozenset()
    return frozenset(wal for wal in origins.left_out if wal > handed_out)


def structure_version(metadata: TableMetadata | Problem, area: TxnArea | None) -> int | None:
    """Return the structure version that `_meta` is of; None where `area` of `_txn` is of another `_meta`."""
    if area is None or isinstance(metadata, Problem):
        return 0
    return area.structure_version if area.metadata_version == metadata.metadata_version else None


def read_origins(
    table: TableDirectory,
    metadata: TableMetadata | Problem,
    structure: int | None,
    entries: Sequence[Entry],
    times_of: LogTimes | None = None,
    *,
    mirrors: bool = False,
) -> Origins:
    """Return what the logs and WAL directories in a table's directory are to it. Raises nothing but MemoryError.

    A table whose own `_meta` cannot be read, or is zeros, has no id to compare with. With `mirrors` those that the
    guard has of the table's log are judged as well.
    """
    if isinstance(metadata, Problem) or not metadata.columns:
        return NO_ORIGINS
    present = table.sequencer.is_dir() and not table.sequencer.is_symlink()
    paths = [*([table.sequencer] if present else []), *table.sequencer_backups(entries)]
    paths += table.guard_mirrors() if mirrors else ()
    heads = [LogHead(path.name, path, read_log(path), read_sequencer_metadata(path)) for path in paths]
    logs = judge_logs(table, metadata.table_id, heads, times_of)
    live = next((each.log for each in heads if each.path == table.sequencer and logs[each.name].own), None)
    present_wals = table.wals(entries)
    wals = judge_wals(table, metadata, structure, present_wals, life_began_us(heads, logs), live)
    own = [each.log for each in heads if logs[each.name].own]
    found = {at: why for log in own for at, why in misplaced(table, log).items() if at[0] not in wals}
    rest = [wal for wal in present_wals if wal.id not in wals]
    known = live is not None and live.readable
    return Origins(logs, wals, dict((_not_linked if known else _put_in_by_hand)(table, rest)), found)


def _put_in_by_hand(table: TableDirectory, wals: Sequence[WalDirectory]) -> Iterator[tuple[int, str]]:
    times = {wal.id: _times(table.path, wal) for wal in wals}
    for wal in wals:
        if why := _put_in(table, wal, wals, times):
            yield wal.id, why


def _not_linked(table: TableDirectory, wals: Sequence[WalDirectory]) -> Iterator[tuple[int, str]]:
    linked = {wal.id: symbols_linked(table.path, wal) for wal in wals}
    if any(linked.values()):
        for wal in wals:
            if linked[wal.id] is False:
                yield wal.id, _COPIES


@dataclass(frozen=True, slots=True)
class _Times:
    """File times of one WAL (ns): the newest of its segments' files, its lock's; how long after it was written each
    was changed at least, as by a copy that sets the times. 0 if nothing was."""

    newest: int
    lock: int | None
    set_after: int


def judge_wals(
    table: TableDirectory,
    metadata: TableMetadata,
    structure: int | None,
    wals: Sequence[WalDirectory],
    life_us: int,
    live: TxnLog | None = None,
) -> dict[int, Verdict]:
    """Return a verdict on each WAL directory that is not the table's own, by id.

    `structure` is the version of `metadata`; where it is not known (None), no columns are compared.
    `life_us` is when this life began, 0 if nothing tells. What was put in by hand is named only if the table can have
    had an earlier life: the registry was never compacted before a table's first conversion. File times convict no WAL
    if `live`, the table's own log in place, agrees with all that is on disk.
    """
    foreign = {wal.id: verdict for wal in wals if (verdict := _by_metadata(table, metadata, structure, wal))}
    rest = [wal for wal in wals if wal.id not in foreign]
    found = _judged_by_times(table, rest, life_us)
    return foreign if found and live is not None and agrees(table, live) else foreign | found


def _judged_by_times(table: TableDirectory, wals: Sequence[WalDirectory], life_us: int) -> dict[int, Verdict]:
    times = {wal.id: _times(table.path, wal) for wal in wals}
    found = {wal.id: verdict for wal in wals if (verdict := _by_life(times[wal.id], life_us))}
    rest = [wal for wal in wals if wal.id not in found]
    if rest and not lived_once(table):
        for wal in rest:
            if why := _put_in(table, wal, rest, times):
                found[wal.id] = Verdict(Kinship.UNPROVEN, f"may be of an earlier life: {why}")
    return found


def _by_metadata(table: TableDirectory, own: TableMetadata, structure: int | None, wal: WalDirectory) -> Verdict | None:
    last: SequencerMetadata | None = None
    for segment in wal.segments:
        found = read_sequencer_metadata(wal.segment(segment))
        if isinstance(found, Problem):
            continue
        last = found
        if found.table_id != own.table_id:
            return Verdict(Kinship.FOREIGN, f"is of {table_named(table.path.parent, found.table_id)}")
        if structure is None:
            continue
        if found.structure_version == structure and _live_columns(found) != _live_columns(own):
            return Verdict(Kinship.UNPROVEN, f"has other columns than the table at structure version {structure}")
        if differs := columns_differ(found, own, structure):
            return Verdict(Kinship.UNPROVEN, differs)
    differs = symbols_differ(table.path, own, wal, last) if last is not None else ""
    return Verdict(Kinship.UNPROVEN, differs) if differs else None


def _live_columns(metadata: SequencerMetadata | TableMetadata) -> list[tuple[str, int]]:
    return [(column.raw_name, column.type_code) for column in metadata.columns if not column.dropped]


def _by_life(times: _Times, life_us: int) -> Verdict | None:
    # tar keeps whole seconds of a time: such a one can be up to a second too early.
    newest = times.newest + (_SECOND_NS if times.newest % _SECOND_NS == 0 else 0)
    if life_us and times.newest and newest < life_us * 1000:
        why = "is of an earlier life of the table: it was last written before the log was created"
        return Verdict(Kinship.EARLIER, why)
    return None


def _put_in(table: TableDirectory, wal: WalDirectory, wals: Sequence[WalDirectory], times: Mapping[int, _Times]) -> str:
    """Return what shows that a WAL was put here by hand, later than it was written; empty if nothing does."""
    others = [each for each in wals if each.id != wal.id]
    signs = (
        _by_locks(table, wal, {each.id: times[each.id] for each in others}, times[wal.id]),
        _by_links(table, wal, others),
        _by_creation(table, wal, times[wal.id].lock),
    )
    return next(chain.from_iterable(signs), "")


def _by_locks(table: TableDirectory, wal: WalDirectory, others: Mapping[int, _Times], mine: _Times) -> Iterator[str]:
    """Yield what times of files and locks say: a WAL's lock is created first, and a WAL after those of lower ids."""
    if _after(mine.lock, mine.newest):
        yield f"its files are older than wal{wal.id}.lock"
    for other, theirs in others.items():
        if other < wal.id and _after(theirs.lock, mine.newest):
            yield f"it was last written before wal{other} was created"
        if other > wal.id and _after(mine.lock, theirs.lock) and _in_place(table.path):
            yield f"it was created after wal{other}, so that one of the two was put here by hand"
    if mine.lock is None and any(theirs.lock is not None for theirs in others.values()):
        yield "it was put here by hand, without its lock file"
    copied = all(theirs.set_after > _CLOCK_NS for theirs in others.values())  # perhaps right after it was written
    if mine.set_after > _SECOND_NS and not copied:
        yield "it was put here by hand, after it was written"


def _after(later: int | None, earlier: int | None) -> bool:
    """Return whether two known times (ns) are more than a second apart in this order."""
    return later is not None and bool(earlier) and later - (earlier or 0) > _SECOND_NS


def _by_links(table: TableDirectory, wal: WalDirectory, others: Sequence[WalDirectory]) -> Iterator[str]:
    if symbols_linked(table.path, wal) is False and (
        any(symbols_linked(table.path, other) for other in others) or _in_place(table.path)
    ):
        yield _COPIES


def _by_creation(table: TableDirectory, wal: WalDirectory, lock: int | None) -> Iterator[str]:
    """Yield what the times say at which segments were created, against their lock files and that of the WAL."""
    for segment in wal.segments:
        path = wal.segment(segment)
        made, locked = laid_down_us(path), _moment(path.with_name(f"{segment}.lock"))
        if made is not None and locked is not None and abs(1000 * made - locked) > _MINUTE_NS:
            yield f"wal{wal.id}/{segment} was not created with its lock file"
    apart = _apart(wal, lock) if not symbols_linked(table.path, wal) and _in_place(table.path) else 0
    if abs(apart) > _SECOND_NS:
        yield f"its files are {'younger' if apart > 0 else 'older'} than wal{wal.id}.lock"


def _moment(path: Path) -> int | None:
    """Return the time of a file (ns), None if there is none."""
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return None


def _apart(wal: WalDirectory, lock: int | None) -> int:
    """Return how long after the lock of a WAL its first segment was created (ns), 0 if that is not known.

    The server creates the first one with the lock, and later ones whenever.
    """
    made = [segment_created_us(wal.segment(segment)) * 1000 for segment in wal.segments]
    if lock is None or not made:
        return 0
    return made[0] - lock if wal.segments[0] == 0 else min(0, min(made) - lock)


def _in_place(table: Path) -> bool:
    """Return whether the table's files have the times that the server gave them: `_name` first, and not since.

    A copy has changed it later than it was written, or has written all of them at once. False if that is open.
    """
    try:
        name, metadata = (table / "_name").lstat(), (table / "_meta").lstat()
    except OSError:
        return False
    untouched = abs(name.st_ctime_ns - name.st_mtime_ns) <= _SECOND_NS
    return untouched and metadata.st_mtime_ns - name.st_mtime_ns > _SECOND_NS


def _times(table: Path, wal: WalDirectory) -> _Times:
    found = list(_statuses(wal))
    newest = max((each.st_mtime_ns for each in found), default=0)
    set_after = min((each.st_ctime_ns - each.st_mtime_ns for each in found), default=0)
    try:
        lock: int | None = (table / f"wal{wal.id}.lock").lstat().st_mtime_ns
    except OSError:
        lock = None
    return _Times(newest, lock, set_after)


def _statuses(wal: WalDirectory) -> Iterator[os.stat_result]:
    for segment in wal.segments:
        for name in ("_event", "_event.i", "_meta"):
            try:
                yield (wal.segment(segment) / name).lstat()
            except OSError:
                continue

"""What `_txn` must say: an area of the damaged file that the disk agrees with, or all of it made from the disk."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_versions import read_column_versions
from console.questdb.layout import TableDirectory
from console.questdb.parquet_symbols import unknown_names
from console.questdb.partition_spans import UNPARTITIONED, contradiction
from console.questdb.reading import DamageError, Problem, said_of
from console.questdb.symbol_counts import agreed_symbols
from console.questdb.symbol_keys import highest_keys
from console.questdb.table_metadata import read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.questdb.txn_log import read_log
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.recovery.sequencer.disk import TableUnreadableError
from console.recovery.table_repair.applied import decide
from console.recovery.table_repair.disk import (
    Disk,
    area_of,
    even,
    holds_older,
    older_tops,
    torn_timestamps,
    without_newest,
)
from console.recovery.table_repair.guarded import guarded_states
from console.recovery.table_repair.missing_partitions import (
    added_later,
    gaps,
    lost_partitions,
    refusal_of_lost,
    wait_in_wal,
)
from console.recovery.table_repair.partitions import FoundPartitions, cut_last, read_partitions, take_off_uncommitted
from console.recovery.table_repair.removed_partitions import removed_and_there
from console.recovery.table_repair.symbol_counts import raise_to_held, raise_to_used
from console.table.txn_state import other_seq_txn
from console.text import clean_line, plural

_SHOWN: Final = 3
_EDGES: Final = (
    "nothing left of _txn names the partitions: a first or last one whose directory is gone would not be seen"
)


@dataclass(slots=True)
class TableState:
    """The state to be written; None with `refusals`.

    `rows_waiting` are those of the WAL that is not applied in that state, `doubted` those that count as applied and may
    not be, as `updates`. `gone` says what may be lost besides: nothing shows how many rows.
    """

    area: TxnArea | None = None
    rows_waiting: int = 0
    evidence: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    gone: tuple[str, ...] = ()
    doubted: int = 0
    updates: tuple[str, ...] = ()

    def refuse(self, code: RefusalCode, reason: str, instead: str, action: str | None = None) -> "TableState":
        self.refusals.append(Refusal(code, reason, instead, action=action))
        return self


def table_state(directory: TableDirectory) -> TableState:
    """Return what the `_txn` of a table must say. What cannot be told is a refusal of the result."""
    state = TableState()
    metadata, versions = read_table_metadata(directory.path), read_column_versions(directory.path)
    if isinstance(metadata, Problem) or metadata.unusable:
        what = metadata.what if isinstance(metadata, Problem) else metadata.unusable
        return state.refuse(
            RefusalCode.TABLE_METADATA_INVALID, f"_meta cannot be used ({what}), and it names the columns",
            "repair-metadata", "repair-metadata",
        )  # fmt: skip
    if versions.version is None:
        what = versions.problems[0].what if versions.problems else "it cannot be read"
        return state.refuse(
            RefusalCode.COLUMN_VERSIONS_INVALID, f"_cv cannot be used ({what}), and it names the columns' files",
            "repair-metadata", "repair-metadata",
        )  # fmt: skip
    damaged = read_table_txn(directory.path)
    found = read_partitions(directory.path, metadata, versions)
    disk = Disk(directory, metadata, versions, found, damaged, guarded_states(directory))
    try:
        if any(other := [wait_in_wal(each.area, disk) for each in disk.guarded]):
            kept = tuple(each for each, out in zip(disk.guarded, other, strict=True) if not out)
            disk = replace(disk, guarded=kept)
            state.evidence.append("copies of the guard are not used: rows that they count are in WAL and not applied")
        return _of_areas(state, disk, older=False) or _made(state, disk)
    except (DamageError, OSError) as error:
        why = said_of(error, directory.path)
        return state.refuse(RefusalCode.TABLE_UNREADABLE, why, "salvage-table exports the rows")
    except TableUnreadableError as error:
        return state.refuse(RefusalCode.TABLE_UNREADABLE, str(error), "salvage-table exports the rows")


def _areas(disk: Disk) -> Iterator[tuple[TxnArea, bool]]:
    """Yield the areas that are whole, the newest first, and whether seqTxn is what its checksum was made for.

    Those of the guard's copies are among them. Counts of symbols are lowered to what the maps hold.
    """
    last = read_log(disk.directory.sequencer).max_txn or 0
    found = [area for area in (disk.damaged.current, disk.damaged.other) if area is not None]
    found += [each.area for each in disk.guarded]
    for area in sorted(found, key=lambda area: -area.txn):
        fitting = other_seq_txn(area, last) or ()
        seq_txn = fitting[0] if len(fitting) == 1 else area.seq_txn
        fits = len(fitting) == 1 or area.lag_checksum == area.lag_checksum_expected()
        yield replace(area, seq_txn=seq_txn, symbols=_as_held(area, disk)), fits


def _as_held(area: TxnArea, disk: Disk) -> NDArray[Any]:
    """Return the counts of symbols, lowered to what values and index of a map agree on if no row uses more."""
    held = area.symbols.copy()
    for at, column in enumerate(disk.metadata.symbols[: len(held)]):
        name_txn = disk.versions.symbol_name_txn(column.index)
        agreed = agreed_symbols(disk.directory.path, column.raw_name, name_txn)
        if agreed is None or agreed >= int(held["count"][at]):
            continue
        files = disk.files(area)
        unused = highest_keys(files, column).get(column.index, -1) < agreed
        if unused and unknown_names(files, column, agreed) == 0:
            held[at] = (agreed, agreed)
    return held


def _of_areas(state: TableState, disk: Disk, *, older: bool) -> TableState | None:
    """Return the state of an area that the disk agrees with, None if there is none.

    One with other rows than the disk has is `older` than the files: then the server must apply all that came after.
    """
    for each in disk.guarded:
        if each.final and not (why := _disagrees(each.area, disk, {}, final=True)):
            symbols = _as_held(each.area, disk)
            told = f"{each.copy.told} has transaction {each.area.applied_txn:,} applied, and none was committed since"
            return TableState(replace(each.area, txn=even(each.area.txn), symbols=symbols), 0, [*state.evidence, told])
    for area, proven in _areas(disk):
        lost = {} if older else lost_partitions(area, disk)
        other = area.rows + area.lag_rows != disk.found.rows + sum(lost.values())
        if other is not older or area.applied_txn < disk.least:
            continue
        why, symbols = _disagrees(area, disk, lost), area.symbols.copy()
        raised = () if why else raise_to_held(disk.directory.path, symbols, disk.metadata, disk.files(area))
        taken = replace(area, txn=even(area.txn), symbols=symbols)
        why = why or _not_followed(taken, disk, proven=proven)
        if why:
            state.evidence.append(f"an area of _txn of version {area.txn:,} is not used: {why}")
            continue
        told = f"an area of _txn of version {area.txn:,} agrees with _meta, _cv, the directories and the rows"
        waiting = decide(disk.with_area(taken), area.applied_txn).rows_waiting
        told += f", but for {plural(len(lost), 'partition')} whose directories are gone" if lost else ""
        later = [f"{plural(rows, 'row')} of {clean_line(name)}, which is gone: repair-partition shows that loss"
                 for name, rows in lost.items()][:3]  # fmt: skip
        more = [f"rows use symbols that it does not count: the maps hold more, {', '.join(raised)}"] if raised else []
        return TableState(taken, waiting, [*state.evidence, told, *more], later)
    return None


def _not_followed(area: TxnArea, disk: Disk, *, proven: bool) -> str:
    """Return why an area cannot be what is applied, by log and rows; empty where they agree.

    Without a log its checksum tells, if seqTxn is `proven` by that.
    """
    applied = decide(disk.with_area(area), area.applied_txn, disk.least)
    if proven and [each.code for each in applied.refusals] == [RefusalCode.NO_LOG]:
        return ""
    if applied.refusals:
        return applied.refusals[0].reason
    if disk.metadata.wal and (applied.seq_txn != area.applied_txn or applied.partial):
        return f"by log and rows transaction {applied.seq_txn:,} is the last that is applied"
    if disk.metadata.wal and applied.gone_above:
        return f"WAL of {plural(applied.gone_above, 'later transaction')} is not on disk"
    return ""


def _disagrees(area: TxnArea, disk: Disk, lost: Mapping[str, int], *, final: bool = False) -> str:
    """Return what the disk says against an area, empty where it agrees; of a `final` one the rows are not in doubt.

    `lost` are partitions that are known to be gone.
    """
    metadata = disk.metadata
    if area.metadata_version != metadata.metadata_version:
        return f"it is of metadata version {area.metadata_version:,}, and _meta of {metadata.metadata_version:,}"
    if area.column_version != disk.versions.version:
        return f"it is of column version {area.column_version:,}, and _cv of {disk.versions.version:,}"
    if len(area.symbols) != len(metadata.symbols):
        return f"it counts {len(area.symbols)} symbol columns, and _meta has {len(metadata.symbols)}"
    wrong = contradiction(area, metadata)
    if wrong:
        return wrong
    if disk.found.refusals and not final:
        return disk.found.refusals[0].reason
    newest = max(disk.found.partitions, key=lambda each: each.name_txn, default=None)
    if newest is not None and newest.name_txn > area.txn:
        return f"{clean_line(newest.directory)} was made after it"
    return _other_rows(area, disk, lost)


def _other_rows(area: TxnArea, disk: Disk, lost: Mapping[str, int]) -> str:
    naming = disk.found.partitioning
    if naming.unit == UNPARTITIONED:
        return "" if disk.found.rows >= area.rows else f"it counts {area.rows:,} rows, and the disk has fewer"
    on_disk = {each.directory: each for each in disk.found.partitions}
    lag = np.zeros(len(area.partitions), np.int64)
    if len(lag):
        lag[-1] = area.lag_rows
    for each, more in zip(area.partitions, lag.tolist(), strict=True):
        directory, rows = naming.directory(int(each["timestamp"]), int(each["name_txn"])), int(each["rows"])
        there = on_disk.get(directory)
        if rows and there is None and directory not in lost:
            return f"the directory {clean_line(directory)} that it names is not there"
        if there is not None and there.rows + (more if there.directory in disk.found.unproven else 0) < rows:
            return f"{clean_line(directory)} has {there.rows:,} rows, and it counts {rows:,}"
    return _other_ends(area, disk)


def _other_ends(area: TxnArea, disk: Disk) -> str:
    """Return that the oldest or the newest row is another one than the area says, where the same partition has it."""
    held, found = area.partitions[area.partitions["rows"] > 0], disk.found.partitions
    if not len(held) or not found:
        return ""
    if found[0].start == held["timestamp"][0] and found[0].first != area.min_ts:
        return f"its oldest row is of {area.min_ts}, and the disk's of {found[0].first}"
    same = (found[-1].start, found[-1].rows) == (held["timestamp"][-1], held["rows"][-1]) and not area.lag_rows
    if same and found[-1].last != area.max_ts:
        return f"its newest row is of {area.max_ts}, and the disk's of {found[-1].last}"
    return ""


def _made(state: TableState, disk: Disk) -> TableState:
    """Return the state made from the disk; where it cannot be told, an area that is older than the files.

    A directory newer than another of the same partition is either what counts, or was never committed. So each is
    tried, the newest first. One that leaves rows in doubt is taken if there is no other.
    """
    found: FoundPartitions | None = disk.found
    first: TableState | None = None
    while found is not None:
        tries = (_made_again(TableState(evidence=[*state.evidence]), disk, found, trusted=t) for t in (True, False))
        made = next(each for each in tries if each is not None)
        if not (made.refusals or made.doubted or made.updates):
            return made
        first = first if first is not None and (made.refusals or not first.refusals) else made
        found = without_newest(disk, found)
    return _of_areas(state, disk, older=True) or first or state


def _made_again(state: TableState, disk: Disk, partitions: FoundPartitions, *, trusted: bool) -> TableState | None:
    """Return the state made from `partitions`; None if the record is `trusted`, and is older than the disk or wrong.

    Then WAL behind it was purged, and so was applied, or has not the rows that it does not count.
    """
    found = replace(partitions, partitions=[*partitions.partitions], refusals=[*partitions.refusals])
    disk = replace(disk, found=found)
    record = _record(disk)
    rows, other = found.rows, record is not None and record.rows != found.rows
    whole: list[TxnArea] = [record] if record is not None else []
    if record is None or record.rows != found.rows:
        whole = [each for each, _ in _areas(disk) if not contradiction(each, disk.metadata)]
        refusal = refusal_of_lost(disk, whole[0] if whole else None)
        state.refusals += [refusal] if refusal is not None else []
        if (
            record is None or not trusted or all(each.txn != record.txn for each in whole)
        ):  # its partitions say which are gone
            state.gone = tuple(islice(gaps(disk, record.rows if record is not None else 0), _SHOWN))
    _settle(state, disk, record if trusted else None)
    state.refusals += found.refusals
    if state.refusals:
        return state
    if (behind := older_tops(disk) or added_later(disk)) is not None:
        return state.refuse(
            RefusalCode.COLUMN_VERSIONS_INVALID, f"_cv is not of the state of the files: {behind}",
            "put _cv back from a copy of the crash; salvage-table exports the rows",
        )  # fmt: skip
    if not found.uncommitted and not holds_older(disk):
        reason = "a newer directory of a partition lacks rows of an older one: which of them counts is not known"
        return state.refuse(RefusalCode.PARTITIONS_AMBIGUOUS, reason, "a copy of _txn from before would settle it")
    hint = None
    whole_record = record is not None and record.lag_checksum == record.lag_checksum_expected()
    if record is not None and trusted and (record.rows == found.rows or whole_record):
        hint = record.seq_txn  # rows or the checksum, which covers seqTxn, show that the server wrote it
    area = area_of(disk)
    short = raise_to_used(area.symbols, disk.metadata, disk.files(area))
    applied = decide(disk.with_area(area), hint, disk.least)
    missing = rows - found.rows > applied.rows_waiting and not applied.refusals
    if trusted and disk.metadata.wal and other and (applied.gone_above or missing):
        return None
    if applied.partial and not applied.refusals:
        cut_last(found, applied.partial)
        area = replace(area_of(disk), symbols=area.symbols)
        cut = plural(applied.partial, "row")
        state.evidence.append(f"{cut} at the end belong to a transaction that was cut off: they are not counted")
        applied = decide(disk.with_area(area), hint, disk.least)
    if found.uncommitted and applied.gone_above and not applied.refusals:
        reason = "a newer directory of a partition may be the table's, and WAL of what is in it is gone"
        applied.refuse(RefusalCode.PARTITIONS_AMBIGUOUS, reason)
    if applied.partial and not applied.refusals:
        applied.refuse(RefusalCode.ROWS_CONTRADICT, "rows of a transaction that is not applied lie among the table's")
    state.refusals += applied.refusals
    if state.refusals:
        return state
    state.rows_waiting, state.doubted = applied.rows_waiting, applied.doubted
    state.updates = tuple(applied.updates)
    if applied.rows_logged == found.rows:
        state.gone = ()  # no row of any transaction is missing
    elif not whole and found.partitioning.unit != UNPARTITIONED:
        state.warnings.append(_EDGES)
    state.warnings += [*applied.warnings, *removed_and_there(disk, disk.with_area(area), applied.seq_txn)]
    state.warnings += [f"the symbol map of {name} holds fewer symbols than the rows use" for name in short]
    if not disk.metadata.wal:
        state.warnings.append(
            "rows that were not committed at the crash, or dropped and still read, cannot be distinguished, and count"
        )
    version = even(max(area.txn, applied.seq_txn) + 1)
    state.area = replace(area, txn=version, seq_txn=applied.seq_txn, structure_version=applied.structure)
    state.evidence += [
        f"{plural(len(found.partitions), 'partition')} with {plural(found.rows, 'row')} on disk, counted by timestamps",
        *applied.evidence,
    ]
    return state


def _record(disk: Disk) -> TxnArea | None:
    """Return the current record if it belongs to `_meta` and `_cv`, and no partition is of a later transaction."""
    area, header = disk.damaged.current, disk.damaged.header
    if area is None or header is None or area.txn != header.version or area.lag_rows:
        return None
    if any(each.name_txn > area.txn for each in disk.found.partitions):
        return None
    versions = (area.metadata_version, area.column_version)
    return area if versions == (disk.metadata.metadata_version, disk.versions.version) else None


def _settle(state: TableState, disk: Disk, record: TxnArea | None) -> None:
    """Refuse what the timestamps leave open and no row count of `_txn` settles; cut the last partition to it."""
    found = disk.found
    if not found.partitions:
        return
    if record is not None and not disk.metadata.wal:
        take_off_uncommitted(found, record.fixed_rows, record.transient_rows)
    last = found.partitions[-1]
    others = found.rows - last.rows
    if record is not None and record.fixed_rows == others and 0 < record.transient_rows < last.rows:
        cut_last(found, last.rows - record.transient_rows)
    if record is None or record.rows != found.rows:
        for each in torn_timestamps(disk):
            reason = (
                f"{clean_line(each.directory)} has timestamps of {plural(each.rows, 'row')}, and other columns have "
                "values behind them: a page of timestamps may be lost"
            )
            instead = "put the partition's timestamps back from a copy first; salvage-table exports what is left"
            found.refuse(RefusalCode.ROWS_NOT_PROVEN, reason, instead)
    if record is not None and record.rows != found.rows and not disk.metadata.wal:
        reason = (
            f"_txn counts {plural(record.rows, 'row')}, and the disk has {found.rows:,}: some were written and not "
            "committed, or are lost, and no WAL shows which"
        )
        found.refuse(RefusalCode.ROWS_NOT_PROVEN, reason, "a copy of _txn from before; salvage-table exports all rows")
    if record is not None and record.rows == found.rows:
        found.unproven = []
        state.evidence.append(f"_txn still counts {plural(record.rows, 'row')}, as the disk")
    for directory in found.unproven[:3]:
        reason = (
            f"behind the rows of {clean_line(directory)} lie timestamps that may be rows as well: how many it has is "
            "not proven"
        )
        found.refuse(RefusalCode.ROWS_NOT_PROVEN, reason)

"""The damaged partitions of a table, and what can be done with each: its choices, and what each costs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from typing import Final

import numpy as np

from console.questdb.column_types import ColumnTag
from console.questdb.layout import TableDirectory
from console.questdb.partition_columns import STATE_FAULTS, FaultKind, PartitionFault, StoredColumn
from console.questdb.partition_files import PartitionFiles, rows_in_order
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, problem_of
from console.recovery.model import Lost, LostValues
from console.recovery.store.deep_damage import Places
from console.recovery.table_repair.dropped_rows import rows_with_times, without_rows
from console.recovery.table_repair.new_files import NewFile
from console.recovery.table_repair.null_files import Mended, mended, whole_rows
from console.recovery.table_repair.partition_copies import Copy, Sources, copies_of
from console.recovery.table_repair.value_faults import value_faults
from console.table.inventory import Mask
from console.text import clean_line, plural


class Choice(StrEnum):
    """What is done with a damaged partition."""

    COPY = "copy"  # a copy of it is put in its place
    NULL = "null"  # the values that are gone become NULL; only rows without a timestamp go
    WHOLE_ROWS = (
        "whole-rows"  # it ends with the last row whose torn columns are whole; columns gone as a whole are NULL
    )
    DROP_ROWS = "drop-rows"  # the rows whose timestamp is lost are taken out of it, the others stay
    SET_ASIDE = "set-aside"  # its directory is moved out of the table, and the table has it no more


OURS: Final = (
    FaultKind.PARTITION_MISSING, FaultKind.FILE_MISSING, FaultKind.FILE_SHORT, FaultKind.FILE_INVALID,
    FaultKind.PARQUET_INVALID, FaultKind.TIMES_INVALID,
)  # fmt: skip
"""Faults that this repairs; the others are for other actions."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a choice loses, and the files of columns that it writes.

    `doubted` rows are there afterwards, and nothing proves that they are the partition's: `doubt` says why.
    """

    rows_lost: int
    values_lost: tuple[LostValues, ...] = ()
    files: tuple[NewFile, ...] = ()
    doubted: int = 0
    doubt: str = ""
    kept: Mask | None = field(default=None, repr=False, compare=False)

    def old_row(self, row: int) -> int:
        """Return where the row was that is at `row` afterwards; `kept` are those that stay, None: all before."""
        return row if self.kept is None else int(np.flatnonzero(self.kept)[row])

    @property
    def cost(self) -> str:
        rows, values = plural(self.rows_lost, "row"), sum(lost.count or 0 for lost in self.values_lost)
        if self.doubted:
            return f"up to {plural(self.doubted, 'row')} ({self.doubt})"
        return f"{rows}, {plural(values, 'value')}" if values else rows


@dataclass(slots=True)
class DamagedPartition:
    """A partition, its faults, and the choices that there are; `cannot` says why one is not.

    With `counted` its timestamps are whole: without, nothing else proves how many rows the last partition has, since
    its files are longer than their rows, and only `_txn` counts them.
    """

    span: PartitionSpan
    faults: list[PartitionFault]
    ways: dict[Choice, Way] = field(default_factory=dict)
    counted: bool = False
    copy: Copy | None = None
    cannot: dict[Choice, str] = field(default_factory=dict)

    @property
    def best(self) -> Choice:
        """The choice that loses the fewest rows; of two the one that is first in `Choice`."""
        order = list(Choice)
        costs = {choice: way.rows_lost + way.doubted for choice, way in self.ways.items()}
        return min(costs, key=lambda choice: (costs[choice], order.index(choice)), default=Choice.SET_ASIDE)

    @property
    def disputed(self) -> bool:
        """Whether it may be `_txn` that counts wrong: then fewer rows are lost than it says."""
        return any(fault.kind is FaultKind.ROWS_DIFFER for fault in self.faults)

    @property
    def there(self) -> bool:
        return all(fault.kind is not FaultKind.PARTITION_MISSING for fault in self.faults)


@dataclass(frozen=True, slots=True)
class _Column:
    """A damaged column. The first `whole` rows of the partition have all of their values, or get them back.

    `made` are its files with NULL for the others; None for a designated timestamp, and with `why`.
    """

    stored: StoredColumn
    whole: int
    times: bool
    gone: bool
    made: Mended | None = None
    why: str = ""


def damaged_partitions(
    table: TableDirectory, files: PartitionFiles, only: str, sources: Sources, known: Places = frozenset()
) -> tuple[list[DamagedPartition], list[PartitionFault]]:
    """Return the damaged partitions (of that name, if there is one), and faults that stand in the way of a repair.

    `known` are places where values were found damaged. Raises OSError.
    """
    by_span: dict[str, DamagedPartition] = {}
    others: list[PartitionFault] = []
    for fault in chain(files.faults(), value_faults(table, files, known, only)):
        name = fault.partition.name
        if only and only not in (name, fault.partition.directory):
            continue
        if fault.kind in OURS or _ends_early(fault):
            by_span.setdefault(name, DamagedPartition(fault.partition, [])).faults.append(fault)
        elif fault.kind in (FaultKind.UNREADABLE, *STATE_FAULTS):
            others.append(fault)
    for each in by_span.values():
        _weigh(table, files, each, sources)
    return list(by_span.values()), others


def _ends_early(fault: PartitionFault) -> bool:
    """Return whether the timestamps of a partition end before the rows that `_txn` counts: it may be `_txn` instead."""
    return fault.kind is FaultKind.ROWS_DIFFER and 0 < rows_in_order(fault.file, fault.partition) < fault.partition.rows


def _weigh(table: TableDirectory, files: PartitionFiles, each: DamagedPartition, sources: Sources) -> None:
    later, column = _later_version(each), _later_column(files, each)
    if not later and not column:
        each.ways[Choice.SET_ASIDE] = Way(each.span.rows)
    each.copy, why = copies_of(table, files, each.span, sources, frozenset(fault.file for fault in each.faults))
    if each.copy is not None:
        doubt = each.copy.doubt
        each.ways[Choice.COPY] = Way(0, doubted=each.span.rows if doubt else 0, doubt=doubt)
    else:
        each.cannot[Choice.COPY] = why
    if later or column:
        named = f"{later or column} is there, a later version: {'_txn' if later else '_cv'} may be older than the files"
        each.cannot |= {choice: named for choice in Choice if choice not in each.ways}
        return
    if not each.there or each.span.parquet_size is not None:
        why = "its directory is gone" if not each.there else "it is in Parquet"
        each.cannot |= {Choice.NULL: why, Choice.WHOLE_ROWS: why}
        return
    try:
        _weigh_columns(table, files, each)
    except (DamageError, OSError) as error:
        said = _said(error, table)
        each.cannot |= {choice: said for choice in (Choice.NULL, Choice.WHOLE_ROWS) if choice not in each.ways}


def _later_version(each: DamagedPartition) -> str:
    """Return a directory that is a later version of a partition whose own is gone, empty if there is none."""
    txn = each.span.name_txn()
    found = [name for fault in each.faults for name in fault.others if each.span.name_txn(name) > txn]
    return clean_line(found[0]) if found else ""


def _later_column(files: PartitionFiles, each: DamagedPartition) -> str:
    """Return a file that is a later version of a column whose own is gone, empty if there is none. Raises OSError."""
    gone = {fault.file for fault in each.faults if fault.kind is FaultKind.FILE_MISSING}
    for column in files.columns_of(each.span) if gone else ():
        if not isinstance(column, StoredColumn) or column.data not in gone:
            continue
        begin = f"{column.column.raw_name}.d."
        for path in sorted(column.data.parent.iterdir()):
            suffix = path.name.removeprefix(begin)
            if path.name.startswith(begin) and suffix.isdecimal() and int(suffix) > column.name_txn:
                return clean_line(f"{each.span.directory}/{path.name}")
    return ""


def _weigh_columns(table: TableDirectory, files: PartitionFiles, each: DamagedPartition) -> None:
    stored = [column for column in files.columns_of(each.span) if isinstance(column, StoredColumn)]
    damaged = [column for column in stored if _is_damaged(each, column)]
    each.counted = any(files.is_timestamp(column.column) for column in stored if column not in damaged)
    columns = [_examined(table, files, column, each.faults) for column in damaged]
    rows = each.span.rows
    kept = min((column.whole for column in columns if column.times or not column.gone), default=0)
    if 0 < kept < rows:
        each.ways[Choice.WHOLE_ROWS] = _way(table, files, each.span, columns, kept)
    else:
        each.cannot[Choice.WHOLE_ROWS] = "each row of it is whole" if kept else "no row of it is whole"
    if [column.times for column in columns] == [True]:
        try:
            stay = rows_with_times(files, each.span)
            if 0 < (left := int(stay.sum())) < rows:
                new = without_rows(table.path, files, each.span, stay)
                each.ways[Choice.DROP_ROWS] = Way(rows - left, files=new, kept=stay)
        except (DamageError, OSError) as error:
            each.cannot[Choice.DROP_ROWS] = _said(error, table)
    why = next((column.why for column in columns if column.why), "")
    timed = min((column.whole for column in columns if column.times), default=rows)
    if why:
        each.cannot[Choice.NULL] = why
    elif timed == rows or timed > kept:
        each.ways[Choice.NULL] = _way(table, files, each.span, columns, timed)
    else:
        each.cannot[Choice.NULL] = "its timestamps are damaged, and a designated timestamp cannot be NULL"


def _examined(
    table: TableDirectory, files: PartitionFiles, column: StoredColumn, faults: Sequence[PartitionFault]
) -> _Column:
    top = column.span.rows - column.rows
    if files.is_timestamp(column.column):
        # a timestamp out of order is the first of a page that is lost
        mine = [fault for fault in faults if fault.file == column.data and fault.offset is not None]
        wrong = [
            rows_in_order(f.file, f.partition) if f.kind is FaultKind.ROWS_DIFFER else (f.offset or 0) // 8
            for f in mine
        ]
        found = min(whole_rows(column), *wrong) if wrong else whole_rows(column)
        return _Column(column, top + found, True, not found)
    made = _mended(table, files, column)
    gone = not made.whole and bool(made.lost)
    return _Column(column, top + made.whole if made.lost else column.span.rows, False, gone, made, made.why)


def _mended(table: TableDirectory, files: PartitionFiles, column: StoredColumn) -> Mended:
    return mended(table.path, column, files.symbols(column.column) if column.column.tag is ColumnTag.SYMBOL else 0)


def _way(
    table: TableDirectory, files: PartitionFiles, span: PartitionSpan, columns: Sequence[_Column], kept: int
) -> Way:
    """Return the way that keeps the first `kept` rows, with NULL for what of them is gone. Raises DamageError, OSError.

    The other columns keep their files: what lies behind the rows of a partition is not read.
    """
    new: list[NewFile] = []
    lost: list[LostValues] = []
    for each in columns:
        rows = each.stored.rows - (span.rows - kept)
        if each.times or rows <= 0:
            continue
        if each.made is not None and (not each.made.lost or kept == span.rows):
            made = each.made
        else:
            made = _mended(table, files, replace(each.stored, rows=rows, span=replace(span, rows=kept)))
        new += made.files
        if made.lost:
            name = clean_line(each.stored.column.name)
            lost.append(LostValues(Lost.VALUES, name, clean_line(span.name), made.lost))
    return Way(span.rows - kept, tuple(lost), tuple(new))


def _is_damaged(each: DamagedPartition, column: StoredColumn) -> bool:
    return any(fault.file in (column.data, column.aux) for fault in each.faults)


def _said(error: DamageError | OSError, table: TableDirectory) -> str:
    return error.what if isinstance(error, DamageError) else problem_of(error, table.path).what

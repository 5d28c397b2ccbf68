"""The damaged partitions of a table, and what can be done with each: its choices, and what each costs."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from console.questdb.layout import TableDirectory
from console.questdb.partition_columns import FaultKind, PartitionFault, StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, problem_of
from console.recovery.model import Lost, LostValues
from console.recovery.table_repair.new_files import NewFile
from console.recovery.table_repair.null_files import Mended, kept_offsets, mended, whole_rows
from console.recovery.table_repair.partition_copies import Copy, Sources, copies_of
from console.text import clean_line, plural


class Choice(StrEnum):
    """What is done with a damaged partition."""

    COPY = "copy"  # a copy of it is put in its place
    NULL = "null"  # the values that are gone become NULL
    WHOLE_ROWS = "whole-rows"  # it ends with its last whole row
    SET_ASIDE = "set-aside"  # its directory is moved out of the table, and the table has it no more


OURS: Final = (
    FaultKind.PARTITION_MISSING, FaultKind.FILE_MISSING, FaultKind.FILE_SHORT, FaultKind.FILE_INVALID,
    FaultKind.PARQUET_INVALID,
)  # fmt: skip
"""Faults that this repairs; the others are for other actions."""


@dataclass(slots=True)
class DamagedPartition:
    """A partition, its faults, and the choices: rows and values lost by each; `cannot` says why one is not there.

    `offsets` are the files that whole rows need besides. With `counted` some column still has all rows that `_txn`
    counts: without, its count itself may be too high.
    """

    span: PartitionSpan
    faults: list[PartitionFault]
    rows_lost: dict[Choice, int] = field(default_factory=dict)
    values_lost: tuple[LostValues, ...] = ()
    columns: tuple[Mended, ...] = ()
    offsets: tuple[NewFile, ...] = ()
    counted: bool = True
    copy: Copy | None = None
    cannot: dict[Choice, str] = field(default_factory=dict)

    @property
    def best(self) -> Choice:
        """The choice that loses the fewest rows; of two the one that is first in `Choice`."""
        return min(self.rows_lost, key=lambda choice: (self.rows_lost[choice], list(Choice).index(choice)))

    @property
    def there(self) -> bool:
        """Whether its directory is there."""
        return all(fault.kind is not FaultKind.PARTITION_MISSING for fault in self.faults)

    def cost(self, choice: Choice) -> str:
        """Return what a choice costs in a few words."""
        rows = plural(self.rows_lost[choice], "row")
        if choice is Choice.NULL:
            return f"{rows}, {plural(sum(lost.count or 0 for lost in self.values_lost), 'value')}"
        return rows


def damaged_partitions(
    table: TableDirectory, files: PartitionFiles, only: str, sources: Sources
) -> tuple[list[DamagedPartition], list[PartitionFault]]:
    """Return the damaged partitions (of that name, if there is one), and faults that stand in the way of a repair.

    Raises OSError.
    """
    by_span: dict[str, DamagedPartition] = {}
    others: list[PartitionFault] = []
    for fault in files.faults():
        name = fault.partition.name
        if only and only not in (name, fault.partition.directory):
            continue
        if fault.kind in OURS:
            by_span.setdefault(name, DamagedPartition(fault.partition, [])).faults.append(fault)
        elif fault.kind in (FaultKind.UNREADABLE, FaultKind.ROWS_DIFFER):
            others.append(fault)
    for each in by_span.values():
        _weigh(table, files, each, sources)
    return list(by_span.values()), others


def _weigh(table: TableDirectory, files: PartitionFiles, each: DamagedPartition, sources: Sources) -> None:
    each.rows_lost[Choice.SET_ASIDE] = each.span.rows
    each.copy, why = copies_of(table, files, each.span, sources, frozenset(fault.file for fault in each.faults))
    if each.copy is not None:
        each.rows_lost[Choice.COPY] = 0
    else:
        each.cannot[Choice.COPY] = why
    if not each.there or each.span.parquet_size is not None:
        why = "its directory is gone" if not each.there else "it is in Parquet"
        each.cannot |= {Choice.NULL: why, Choice.WHOLE_ROWS: why}
        return
    try:
        _weigh_columns(table, files, each)
    except (DamageError, OSError) as error:
        said = error.what if isinstance(error, DamageError) else problem_of(error, table.path).what
        each.cannot |= {Choice.NULL: said, Choice.WHOLE_ROWS: said}


def _weigh_columns(table: TableDirectory, files: PartitionFiles, each: DamagedPartition) -> None:
    damaged = [column for column in _columns(files, each) if _is_damaged(each, column)]
    each.counted = len(damaged) < len(_columns(files, each))
    kept = min((each.span.rows - column.rows + whole_rows(column) for column in damaged), default=0)
    if 0 < kept < each.span.rows:
        each.rows_lost[Choice.WHOLE_ROWS] = each.span.rows - kept
        shorter = ((column, column.rows - (each.span.rows - kept)) for column in damaged)
        made = (kept_offsets(table.path, column, rows) for column, rows in shorter)
        each.offsets = tuple(file for file in made if file is not None)
    else:
        each.cannot[Choice.WHOLE_ROWS] = "no row of it is whole" if not kept else "each row of it is whole"
    if any(files.is_timestamp(column.column) for column in damaged):
        each.cannot[Choice.NULL] = "its timestamps are damaged, and a designated timestamp cannot be NULL"
        return
    each.columns = tuple(mended(table.path, column) for column in damaged)
    each.rows_lost[Choice.NULL] = 0
    each.values_lost = tuple(
        LostValues(Lost.VALUES, clean_line(made.column.column.name), clean_line(each.span.name), made.lost)
        for made in each.columns
        if made.lost
    )


def _columns(files: PartitionFiles, each: DamagedPartition) -> list[StoredColumn]:
    return [column for column in files.columns_of(each.span) if isinstance(column, StoredColumn)]


def _is_damaged(each: DamagedPartition, column: StoredColumn) -> bool:
    return any(fault.file in (column.data, column.aux) for fault in each.faults)

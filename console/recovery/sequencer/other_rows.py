"""Rows of the table that have the timestamps of a segment's rows: damaged ones of these, or other rows altogether.

Feeds repeat a timestamp, also from one transaction to the next, so that the same time alone says little. Damage to
some columns leaves the others as they were; rows of another transaction differ in all that tell rows apart:

    WAL     (22:00, id 8, 1.5, BTC)
    table   (22:00, id 8, 9.9, ETH)    the id is the same: it may be the same row, damaged
    table   (22:00, id 3, 9.9, BTC)    another row: the symbol has few values, and says nothing

Only columns that the table was created with decide, and that nothing rewrote since: one that was added has its values
where `_cv` says, and that may be wrong. A zero shows no other row: a page may be lost.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from console.questdb.column_types import ColumnTag, is_variable, value_dtype
from console.questdb.column_versions import DEFAULT_PARTITION
from console.questdb.fields import I64_MAX
from console.questdb.partition_rows import TableRows
from console.questdb.row_hashes import Hashes
from console.questdb.row_values import Values, fixed_values, nulls
from console.questdb.table_metadata import TableColumn
from console.recovery.sequencer.compared_columns import ComparedColumns
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.event_rows import read_event_rows
from console.recovery.sequencer.table_content import TableContent, read_content
from console.table.inventory import Index, Mask

_LEAST: Final = 2
"""Columns that must differ."""
_MOST_COLUMNS: Final = 16
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


def others(table: TableOnDisk, rows: TableRows, compared: ComparedColumns, events: Index) -> Mask:
    """Return for which `events` the table's rows of the same times are other rows: no column that tells is alike.

    Two columns of a fixed width must differ in most rows. A column tells if it has many values in the rows of an event.
    Raises DamageError or OSError where the table's own files cannot be read.
    """
    apart, alike = np.zeros(len(events), np.int64), np.zeros(len(events), np.bool_)
    for one, column in _columns(rows, compared):
        theirs = read_event_rows(table, one, events, np.ones(len(events), np.bool_))
        content = read_content(rows, one, np.unique(theirs.stamps))
        missing = ~np.isin(_timed(theirs.values, theirs.stamps), _timed(content.values, content.stamps))
        many = np.bincount(theirs.event, minlength=len(events))
        null = _hash_of(one, column, nulls(column.type_code, 1))
        kinds = np.unique(np.stack((theirs.event.astype(np.uint64), theirs.values)), axis=1)
        kinds = kinds[0][kinds[1] != null].astype(np.int64)
        telling = 2 * np.bincount(kinds, minlength=len(events)) >= many
        alike |= ~theirs.read | (telling & (np.bincount(theirs.event, ~missing, len(events)) > 0))
        if _zero_is_known(column):
            missing &= np.isin(theirs.stamps, content.stamps[content.values != _zero_of(one, column)])
            apart += 2 * np.bincount(theirs.event, missing, len(events)) > many
    return np.asarray((apart >= _LEAST) & ~alike)


def unlike(
    table: TableOnDisk, rows: TableRows, compared: ComparedColumns, events: Index, content: TableContent
) -> Mask:
    """Return which of the table's rows in `content` no write of `events` can have left.

    One that was cut off leaves in each column the value that waits at that time, or zero: two columns with neither show
    another row. At the end of the table it may also leave the value of any row that waits, since it writes there over
    what arrived in another order. Raises DamageError or OSError where the table's own files cannot be read.
    """
    stamps, apart = np.unique(content.stamps), np.zeros(len(content.stamps), np.int64)
    end = _first_of_end(rows, stamps)
    for one, column in _columns(rows, compared):
        if not _zero_is_known(column):
            continue
        theirs = read_event_rows(table, one, events, np.ones(len(events), np.bool_))
        here = read_content(rows, one, stamps)
        # One column can be read where another of its partition cannot; `content` has no row of such a partition.
        both = ~np.isin(compared.partitioning.floors(here.stamps), content.unreadable)
        at, values = here.stamps[both], here.values[both]
        if theirs.read.all() and np.array_equal(at, content.stamps):
            waits = np.isin(_timed(values, at), _timed(theirs.values, theirs.stamps))
            waits |= (at >= end) & np.isin(values, theirs.values)
            apart += ~waits & (values != _zero_of(one, column))
    return np.asarray(apart >= _LEAST)


def _first_of_end(rows: TableRows, stamps: Index) -> int:
    """Return the first time of the table's last rows that all have one of `stamps`; the largest i64 without such."""
    last = rows.partitions[-1]
    theirs = rows.timestamps(last, 0, last.rows)
    other = np.flatnonzero(~np.isin(theirs, stamps))
    end = theirs[int(other[-1]) + 1 if len(other) else 0 :]
    return int(end.min()) if len(end) else I64_MAX


def _columns(rows: TableRows, compared: ComparedColumns) -> Iterator[tuple[ComparedColumns, TableColumn]]:
    """Yield what compares nothing but a column that can decide, and that column."""
    entries = rows.versions.entries
    unsure = {rows.timestamp.index, *entries["column"][entries["partition"] == DEFAULT_PARTITION].tolist()}
    unsure |= compared.rewritten.keys()
    first = [each for each in compared.columns if each.index not in unsure]
    for column in first[:_MOST_COLUMNS]:
        yield replace(compared, columns=(column,), keys=frozenset(), rewritten={}), column


def _zero_is_known(column: TableColumn) -> bool:
    """Return whether zeros in a column's file are one value: of a symbol they are a name."""
    return not is_variable(column.type_code) and column.tag is not ColumnTag.SYMBOL


def _timed(values: Hashes, stamps: Index) -> Hashes:
    """Return hashes of rows that are those of a column's `values`, and of the times."""
    return np.asarray(values + stamps.astype(np.uint64) * _ODD)


def _zero_of(one: ComparedColumns, column: TableColumn) -> Hashes:
    return _hash_of(one, column, fixed_values(column.type_code, np.zeros(1, value_dtype(column.type_code))))


def _hash_of(one: ComparedColumns, column: TableColumn, value: Values) -> Hashes:
    """Return the hash of a single value of the column, as an array of one."""
    hashed = one.begin(1)
    one.add(hashed, 0, column, value, np.zeros(1, np.int64))
    return hashed.values

"""Rows of the table that have the timestamps of a segment's rows: damaged ones of these, or other rows altogether.

Feeds repeat a timestamp, also from one transaction to the next, so that the same time alone says little. Damage to one
column leaves the others as they were; rows of another transaction differ in most of them:

    WAL     (22:00, id 8, 1.5, BTC)
    table   (22:00, id 8, 9.9, BTC)    one column differs: it may be the same row, damaged
    table   (22:00, id 3, 9.9, BTC)    two differ, one does not: another row

Only columns that the table was created with decide: one that was added has its values where `_cv` says, and that may
be wrong.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from console.questdb.column_types import ColumnTag, is_variable, value_dtype
from console.questdb.column_versions import DEFAULT_PARTITION
from console.questdb.partition_rows import TableRows
from console.questdb.row_hashes import Hashes
from console.questdb.row_values import fixed_values
from console.questdb.table_metadata import TableColumn
from console.recovery.sequencer.compared_columns import ComparedColumns
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.event_rows import read_event_rows
from console.recovery.sequencer.table_content import read_content
from console.table.inventory import Index, Mask

_LEAST: Final = 2
"""Columns that must differ: damage to a single one is what a lost page is."""
_MOST_COLUMNS: Final = 64
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


def others(table: TableOnDisk, rows: TableRows, compared: ComparedColumns, events: Index) -> Mask:
    """Return for which `events` the table's rows of the same times are other rows: most columns differ in most rows.

    A column with one value in all rows of an event says nothing, unless that is a single row. Raises DamageError or
    OSError where the table's own files cannot be read.
    """
    apart, alike = np.zeros(len(events), np.int64), np.zeros(len(events), np.int64)
    for one, _ in _columns(rows, compared):
        theirs = read_event_rows(table, one, events, np.ones(len(events), np.bool_))
        content = read_content(rows, one, np.unique(theirs.stamps))
        missing = ~np.isin(_timed(theirs.values, theirs.stamps), _timed(content.values, content.stamps))
        many = np.bincount(theirs.event, minlength=len(events))
        differs = theirs.read & (2 * np.bincount(theirs.event, missing, len(events)) > many)
        kinds = np.unique(np.stack((theirs.event.astype(np.uint64), theirs.values)), axis=1)[0]
        telling = (np.bincount(kinds.astype(np.int64), minlength=len(events)) > 1) | (many == 1)
        apart += differs
        alike += ~differs & (telling | ~theirs.read)
    return np.asarray((apart >= _LEAST) & (apart >= alike))


def unlike(table: TableOnDisk, rows: TableRows, compared: ComparedColumns, events: Index, stamps: Index) -> Mask:
    """Return which of the table's rows at `stamps`, as `read_content` orders them, no write of `events` left.

    One that was cut off leaves in each column the value that waits, or zero: two columns with neither show another
    row. Raises DamageError or OSError where the table's own files cannot be read.
    """
    apart = np.zeros(len(read_content(rows, compared, stamps).stamps), np.int64)
    for one, column in _columns(rows, compared):
        if is_variable(column.type_code) or column.tag is ColumnTag.SYMBOL:
            continue
        theirs = read_event_rows(table, one, events, np.ones(len(events), np.bool_))
        here = read_content(rows, one, stamps)
        if theirs.read.all():
            waits = np.isin(_timed(here.values, here.stamps), _timed(theirs.values, theirs.stamps))
            apart += ~waits & (here.values != _zero(one, column))
    return np.asarray(apart >= _LEAST)


def _columns(rows: TableRows, compared: ComparedColumns) -> Iterator[tuple[ComparedColumns, TableColumn]]:
    """Yield what compares nothing but a column that the table was created with, and that column."""
    entries = rows.versions.entries
    added = set(entries["column"][entries["partition"] == DEFAULT_PARTITION].tolist())
    first = [each for each in compared.columns if each.index not in added and each.index != rows.timestamp.index]
    for column in first[:_MOST_COLUMNS]:
        yield replace(compared, columns=(column,), keys=frozenset(), rewritten={}), column


def _timed(values: Hashes, stamps: Index) -> Hashes:
    """Return hashes of rows that are those of a column's `values`, and of the times."""
    return np.asarray(values + stamps.astype(np.uint64) * _ODD)


def _zero(one: ComparedColumns, column: TableColumn) -> Hashes:
    """Return the hash of zero in the column, as an array of one."""
    hashed = one.begin(1)
    zero = fixed_values(column.type_code, np.zeros(1, value_dtype(column.type_code)))
    one.add(hashed, 0, column, zero, np.zeros(1, np.int64))
    return hashed.values

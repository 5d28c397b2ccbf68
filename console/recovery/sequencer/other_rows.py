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


def others(table: TableOnDisk, rows: TableRows, compared: ComparedColumns, events: Index) -> Mask:
    """Return for which `events` the table's rows of the same times are other rows: most columns differ in most rows.

    Raises DamageError or OSError where the table's own files cannot be read.
    """
    apart, alike = np.zeros(len(events), np.int64), np.zeros(len(events), np.int64)
    for one, _ in _columns(rows, compared):
        theirs = read_event_rows(table, one, events, np.ones(len(events), np.bool_))
        content = read_content(rows, one, np.unique(theirs.stamps))
        missing = ~np.isin(theirs.values, content.values)
        many = np.bincount(theirs.event, minlength=len(events))
        differs = theirs.read & (2 * np.bincount(theirs.event, missing, len(events)) > many)
        apart += differs
        alike += ~differs
    return np.asarray((apart >= _LEAST) & (apart > alike))


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
            apart += ~np.isin(here.values, theirs.values) & (here.values != _zeros(one, column, here.stamps))
    return np.asarray(apart >= _LEAST)


def _columns(rows: TableRows, compared: ComparedColumns) -> Iterator[tuple[ComparedColumns, TableColumn]]:
    """Yield each column that the table was created with, and what compares the timestamp and that column alone."""
    entries = rows.versions.entries
    added = set(entries["column"][entries["partition"] == DEFAULT_PARTITION].tolist())
    first = [each for each in compared.columns if each.index not in added and each.index != rows.timestamp.index]
    for column in first[:_MOST_COLUMNS]:
        yield replace(compared, columns=(rows.timestamp, column), keys=frozenset(), rewritten={}), column


def _zeros(one: ComparedColumns, column: TableColumn, stamps: Index) -> Hashes:
    """Return the hashes of rows at `stamps` with zero in the column."""
    hashed, floors = one.begin(len(stamps)), one.partitioning.floors(stamps)
    nothing = np.zeros(len(stamps), value_dtype(column.type_code))
    for each, values in zip(one.columns, (stamps, nothing), strict=True):
        one.add(hashed, 0, each, fixed_values(each.type_code, values), floors)
    return hashed.values

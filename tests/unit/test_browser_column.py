"""A byte of a column's file belongs to a row, and the value of that row is what a SELECT gives."""

import random
from pathlib import Path

import numpy as np
import pytest

from console.diagnosis.inspection import FileKind
from console.errors import WalmedicError
from console.questdb.column_versions import COLUMN_VERSION
from console.questdb.formats.table import CV_HEADER
from console.questdb.partition_rows import TableRows
from console.questdb.segment import read_segment
from console.questdb.segment_rows import SegmentRows
from console.questdb.table_metadata import TableColumn
from console.recovery.salvage.cells import cells_of
from console.text import clean_line
from screens.browser_column import ColumnFile
from screens.browser_times import place_of_time
from tests.data.samples import sample_database

_PARTITIONS = {"kinds~6": "2024-01-02.1", "altered~5": "2024-01-01"}
_FILES = [
    *(("kinds~6", name) for name in ("ts.d", "price.d", "st.d", "st.i", "vc.i", "bin.d", "bin.i", "ar.d", "ar.i")),
    ("altered~5", "sym.d"),
    ("altered~5", "v.d.4"),
]


def _column(root: Path, table: str, name: str) -> ColumnFile:
    found = ColumnFile.of(root / "db" / table / _PARTITIONS[table] / name)
    assert found is not None
    return found


def _named(rows: TableRows, name: str) -> TableColumn:
    return next(column for column in rows.columns if column.raw_name == name)


@pytest.mark.parametrize(("table", "name"), _FILES)
def test_each_row_has_the_value_that_the_table_has(tmp_path: Path, table: str, name: str) -> None:
    sample_database("v1", tmp_path)
    rows = TableRows(tmp_path / "db" / table)
    column, file = _named(rows, name.split(".")[0]), _column(tmp_path, table, name)
    partition = rows.partitions[0]
    values = rows.values(partition, column, 0, partition.rows)
    cells = cells_of(values)
    for row in range(partition.rows):
        view = file.record_at(file.offset_of(row))
        assert view is not None
        assert view.title == f"row {row} of {column.name}"
        shown = view.fields[-1]
        text = cells.data[int(cells.offsets[row]) : int(cells.offsets[row + 1])].tobytes().decode()
        assert shown.is_normal
        assert shown.value == "null" if values.null[row] else clean_line(text, 200)[:20] in shown.value
        assert file.record_at(view.offset + view.size - 1) == view
    file.close()


def test_rows_before_the_column_have_no_place_in_its_file(tmp_path: Path) -> None:
    sample_database("v1", tmp_path)
    rows = TableRows(tmp_path / "db" / "kinds~6")
    column = _named(rows, "price")
    entry = np.zeros(1, COLUMN_VERSION)
    entry["partition"], entry["column"] = rows.txn.partitions["timestamp"][-1], column.index
    entry["name_txn"], entry["top"] = -1, 8
    data = bytearray(CV_HEADER.size)
    for name, value in (("a_offset", CV_HEADER.size), ("a_size", entry.nbytes)):
        data[CV_HEADER.at(name) : CV_HEADER.at(name) + 8] = value.to_bytes(8, "little")
    (tmp_path / "db" / "kinds~6" / "_cv").write_bytes(bytes(data) + entry.tobytes())
    file = _column(tmp_path, "kinds~6", "price.d")
    assert file.offset_of(8) == 0
    assert (file.offset_of(39), file.top) == (31 * 8, 8)
    view = file.record_at(0)
    assert view is not None
    assert view.title == "row 8 of price"
    assert file.record_at(32 * 8) is None
    for row in (7, 40, -1):
        with pytest.raises(WalmedicError):
            file.offset_of(row)
    file.close()


def test_a_time_leads_to_the_first_row_that_is_not_before_it(tmp_path: Path) -> None:
    """In the file of the same column, whatever that is; in that of the timestamp from any other file."""
    sample_database("v1", tmp_path)
    table = tmp_path / "db" / "kinds~6"
    folder, rows = table / _PARTITIONS["kinds~6"], TableRows(table)
    times = rows.timestamps(rows.partitions[0], 0, 40)
    for time in times.tolist():
        text = str(np.datetime64(time, "us"))
        row = int(np.searchsorted(times, time))
        for asked in (text, f"{text}Z"):
            assert place_of_time(table, folder / "ts.d", asked) == (folder / "ts.d", 8 * row, row)
        assert place_of_time(table, folder / "price.d", text) == (folder / "price.d", 8 * row, row)
        assert place_of_time(table, table / "_txn", text) == (folder / "ts.d", 8 * row, row)
        assert place_of_time(table, folder / "st.i", text)[0] == folder / "st.i"
    assert place_of_time(table, folder / "ts.d", "1999-01-01") == (folder / "ts.d", 0, 0)
    for asked in ("2099-01-01", "2024-13-01"):
        with pytest.raises(WalmedicError):
            place_of_time(table, folder / "ts.d", asked)


@pytest.mark.parametrize("name", ["st", "vc", "bin", "ar"])
def test_damaged_offsets_end_in_a_sentence(tmp_path: Path, name: str) -> None:
    """Random bytes over the auxiliary file: each byte of both files still has a record or none."""
    sample_database("v1", tmp_path)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
    chance = random.Random(seed)
    path = tmp_path / "db" / "kinds~6" / _PARTITIONS["kinds~6"] / f"{name}.i"
    whole = path.read_bytes()
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 20)):
            data[chance.randrange(660)] = chance.choice((0, 0xFF, 0x80, chance.randrange(256)))
        path.write_bytes(data[: chance.choice((len(data), chance.randrange(660)))])
        for suffix in "id":
            file = _column(tmp_path, "kinds~6", f"{name}.{suffix}")
            for offset in range(0, 700, 7):
                view = file.record_at(offset)
                assert view is None or view.offset <= offset < view.offset + view.size
            file.close()


def test_each_row_of_a_segment_has_the_value_that_its_salvage_has(tmp_path: Path) -> None:
    """Every byte of every column of every segment: its row, and the value that a salvage would write."""
    sample_database("v1", tmp_path)
    seen, compared = set(), 0
    for events in sorted((tmp_path / "db").glob("*/wal*/*/_event")):
        segment = read_segment(events.parent)
        data = segment.events[segment.data]
        if not len(data):
            continue
        count = int(data["end_row"].max())
        with SegmentRows(segment, events.parents[2]) as rows:
            columns, (chunk,) = rows.columns, rows.chunks([(0, count)])
        for column, values in zip(columns, chunk.values, strict=True):
            cells = cells_of(values)
            for path in events.parent.glob(f"{column.raw_name}.[di]"):
                file = ColumnFile.of(path)
                assert file is not None, path
                seen.add(column.type_name)
                for row in range(count):
                    view = file.record_at(file.offset_of(row))
                    if file.kind is FileKind.COLUMN_VALUES and (view is None or str(row) not in view.title.split()):
                        assert path.with_suffix(".i").exists(), (path, row)  # a value with no bytes of its own there
                        continue
                    assert view is not None, (path, row)
                    compared += 1
                    text = cells.data[int(cells.offsets[row]) : int(cells.offsets[row + 1])].tobytes().decode()
                    shown = view.fields[-1]
                    assert shown.is_normal, (path, row)
                    wanted = "null" if values.null[row] else clean_line(text, 200)[:20]
                    assert wanted in shown.value, (path, row, shown.value)
                    assert file.record_at(view.offset + view.size - 1) == view
                with pytest.raises(WalmedicError, match="the segment has no row"):
                    file.offset_of(count)
                file.close()
    assert {"TIMESTAMP", "SYMBOL", "STRING", "VARCHAR", "DOUBLE"} <= seen, seen
    assert compared > 1000

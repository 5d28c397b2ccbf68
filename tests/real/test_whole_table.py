"""Each kind of damage to each kind of file, on tables with every column type: right code, file, rows; and the server.

A column's files are struck in one partition after another, so that the first, a rewritten, a middle and the last one
all take part; in a table with WAL, in one without, in one without partitions, and in one with a day in Parquet.
"""

import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code, Finding, Part, Severity, Verdict
from console.questdb.layout import DatabaseRoot
from console.questdb.sequencer_metadata import (
    SequencerMetadata,
    encode_sequencer_metadata,
    read_sequencer_metadata,
)
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import PartitionSettings, QuestDBSettings, Settings
from tests.real.whole_tables import COLUMNS, DAYS, FIXED, PARQUET, ROWS, SETTINGS, SYMBOLS, VARIABLE, make

KEPT = 100
"""Rows that a cut leaves."""
_WIDTHS = {
    "BOOLEAN": 1, "BYTE": 1, "SHORT": 2, "CHAR": 2, "INT": 4, "LONG": 8, "DATE": 8, "TIMESTAMP": 8, "TIMESTAMP_NS": 8,
    "FLOAT": 4, "DOUBLE": 8, "LONG256": 32, "GEOHASH(5b)": 1, "GEOHASH(12b)": 2, "GEOHASH(4c)": 4, "GEOHASH(8c)": 8,
    "UUID": 16, "IPV4": 4, "SYMBOL": 4, "SYMBOL INDEX": 4,
}  # fmt: skip
Strike = Callable[[Path], object]
_VALUES_ONLY = (Part.COLUMN_VALUES, Part.SYMBOL_VALUES, Part.INDEX_ENTRIES)


def gone(path: Path) -> None:
    """Remove the file."""
    path.unlink()


def zeroed(path: Path) -> None:
    """Put zeros in place of all bytes."""
    path.write_bytes(bytes(path.stat().st_size))


def cut(size: int) -> Strike:
    """Return what cuts a file to `size` bytes."""
    return lambda path: os.truncate(path, size)


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the tables, whole."""
    root = tmp_path_factory.mktemp("whole").resolve() / "root"
    days = "PARTITION BY DAY"
    make(root, questdb, {"wal": f"{days} WAL", "plain": f"{days} BYPASS WAL", "flat": "", PARQUET: f"{days} WAL"})
    return root


def grave(root: Path, table: str) -> list[Finding]:
    """Return the findings about a table that are more than a note."""
    (report,) = diagnose(DatabaseRoot.locate(root), [table]).tables
    found = [finding for finding in report.findings if finding.severity is not Severity.NOTE]
    assert (report.verdict is Verdict.HEALTHY) == (not found)
    return found


@contextmanager
def struck(path: Path, strike: Strike) -> Iterator[None]:
    """Damage a file, and put it back."""
    data, mode = path.read_bytes(), path.stat().st_mode
    strike(path)
    yield
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def file_of(root: Path, table: str, day: int, name: str) -> Path:
    """Return a file of a partition by the beginning of its name, or one in the table's directory (day 0)."""
    folder = next(path for path in (root / "db").iterdir() if path.name.split("~")[0] == table and path.is_dir())
    if day:
        start = DAYS[day - 1] if table != "flat" else "default"
        folder = next(path for path in folder.iterdir() if path.name.startswith(start))
    return next(path for path in sorted(folder.iterdir()) if path.name.startswith(name))


def rows_of(table: str, day: int) -> int:
    """Return the rows of a day's partition: ten were written into the second one later."""
    return 5 * ROWS if table == "flat" else ROWS + 10 * (day == 2)


def said(root: Path, table: str, path: Path, strike: Strike) -> Finding:
    """Return the only finding about a damage."""
    with struck(path, strike):
        found = grave(root, table)
    assert len(found) == 1, (path.name, [finding.message for finding in found])
    assert found[0].file == str(path.relative_to(root / "db"))
    return found[0]


_PLACES = [("wal", 1), ("wal", 2), ("plain", 3), ("wal", 5), ("plain", 5), ("flat", 1), (PARQUET, 4)]


def test_a_fixed_column_that_is_gone_or_short_is_named_with_its_rows(world: Path) -> None:
    for number, (name, (kind, _)) in enumerate({**FIXED, **SYMBOLS}.items()):
        table, day = _PLACES[number % len(_PLACES)]
        path, rows = file_of(world, table, day, f"{name}.d"), rows_of(table, day)
        finding = said(world, table, path, gone)
        assert (finding.code, finding.column, finding.rows) == (Code.COLUMN_FILE_MISSING, name, rows)
        size = KEPT * _WIDTHS[kind] + _WIDTHS[kind] // 2
        finding = said(world, table, path, cut(size))
        assert (finding.code, finding.offset, finding.rows) == (Code.COLUMN_FILE_SHORT, size, rows - KEPT)
        assert finding.partition == ("default" if table == "flat" else DAYS[day - 1])


def test_a_variable_column_that_is_gone_short_or_zeroed_is_named_with_its_rows(world: Path) -> None:
    late = {"late_v": "VARCHAR", "late_s": "STRING"}
    columns = {**{name: kind for name, (kind, _) in VARIABLE.items()}, **late}
    for number, (name, kind) in enumerate(columns.items()):
        table, day = ("wal", 5) if name in late else _PLACES[number % len(_PLACES)]
        rows = rows_of(table, day)
        aux, data = file_of(world, table, day, f"{name}.i"), file_of(world, table, day, f"{name}.d")
        prefixed = kind in ("STRING", "BINARY")
        for path in (aux, data):
            assert said(world, table, path, gone).code is Code.COLUMN_FILE_MISSING
        finding = said(world, table, aux, cut(8 * (KEPT + 1) if prefixed else 16 * KEPT))
        assert (finding.code, finding.rows) == (Code.COLUMN_FILE_SHORT, rows - KEPT)
        end = _end(aux, kind, KEPT)
        finding = said(world, table, data, cut(end))
        assert (finding.code, finding.offset) == (Code.COLUMN_FILE_SHORT, end)
        assert finding.rows is not None
        # values that need no byte of the data file are whole though they stand behind the cut
        assert rows - KEPT - ROWS // 4 < finding.rows <= rows - KEPT
        if kind != "DOUBLE[]":  # arrays that are null are all zeros: for the deep check
            assert said(world, table, aux, zeroed).code is Code.COLUMN_FILE_INVALID


def _end(aux: Path, kind: str, rows: int) -> int:
    """Return where the value of row `rows` - 1 ends in the data file. A reader of its own."""
    data = aux.read_bytes()
    if kind in ("STRING", "BINARY"):
        return int(struct.unpack_from("<q", data, 8 * rows)[0])
    if kind == "DOUBLE[]":
        offset, size = struct.unpack_from("<qi", data, 16 * (rows - 1))
        return int(offset) + int(size)
    return int.from_bytes(data[16 * rows + 10 : 16 * rows + 16], "little")


def test_the_timestamps_an_index_and_a_parquet_file(world: Path) -> None:
    for table, day in _PLACES:
        path = file_of(world, table, day, "ts.d")
        assert said(world, table, path, gone).code is Code.COLUMN_FILE_MISSING
        known = Code.PARTITION_ROWS_DIFFER if table == "flat" else Code.TIMESTAMPS_INVALID  # any time may be in one
        assert said(world, table, path, zeroed).code is known
    for name in ("sx.k", "sx.v"):
        for table, day in (("wal", 1), ("plain", 5), (PARQUET, 3)):
            path = file_of(world, table, day, name)
            assert said(world, table, path, gone).code is Code.INDEX_FILE_MISSING
            short = said(world, table, path, cut(70))
            assert short.code is Code.INDEX_FILE_INVALID
    assert said(world, "wal", file_of(world, "wal", 2, "sx.k"), zeroed).code is Code.INDEX_FILE_INVALID
    parquet = file_of(world, PARQUET, 3, "data.parquet")
    assert said(world, PARQUET, parquet, gone).code is Code.COLUMN_FILE_MISSING
    assert said(world, PARQUET, parquet, cut(1000)).code is Code.COLUMN_FILE_SHORT
    assert said(world, PARQUET, parquet, zeroed).code is Code.PARQUET_FILE_INVALID
    assert grave(world, PARQUET) == []


def zeroed_behind_the_header(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:64] + bytes(len(data) - 64))


def test_the_symbol_maps(world: Path) -> None:
    for table, column in (("wal", "sy"), ("plain", "sx"), ("flat", "sy"), (PARQUET, "late_x")):
        for suffix in "ockv":
            path = file_of(world, table, 0, f"{column}.{suffix}")
            finding = said(world, table, path, gone)
            assert (finding.code, finding.column) == (Code.SYMBOL_MAP_MISSING, column)
            assert said(world, table, path, cut(5)).code is Code.SYMBOL_MAP_SHORT
            assert said(world, table, path, zeroed).code is Code.SYMBOL_MAP_INVALID
        with struck(file_of(world, table, 0, f"{column}.k"), zeroed_behind_the_header):
            assert {finding.code for finding in grave(world, table)} == {Code.SYMBOL_MAP_INVALID}


def test_the_capacity_of_a_symbol_map_and_a_todo_file(world: Path) -> None:
    """Its index tells the capacity by the hashes of many symbols; of few, only `_meta` says another."""

    def capacity(value: int) -> Strike:
        return lambda path: path.write_bytes(struct.pack("<i", value) + path.read_bytes()[4:])

    for table in ("wal", "plain", "flat"):
        for column, values in (("sx", (0, 16, 100, 1024)), ("sy", (100, 16, 1024))):
            path = file_of(world, table, 0, f"{column}.o")
            for value in values:
                finding = said(world, table, path, capacity(value))
                sure = column == "sx" or value in (16, 100)
                assert (finding.code, finding.severity, finding.offset) == (
                    Code.SYMBOL_MAP_INVALID, Severity.DAMAGE if sure else Severity.RISK, 0,
                ), value  # fmt: skip
        with struck(path, capacity(200)):  # what server.conf may have, for the same hashes as 256
            assert [each.severity for each in grave(world, table)] == [Severity.RISK]
        todo = file_of(world, table, 0, "_todo_")
        for strike in (cut(0), cut(16)):
            assert said(world, table, todo, strike).code is Code.TODO_INVALID
        for strike in (gone, zeroed):
            with struck(todo, strike):
                assert grave(world, table) == []


def test_a_partition_by_soft_link_is_read_and_named(world: Path, tmp_path: Path) -> None:
    """Only in the place of a partition or a table, and of the same owner; one that leads to nothing is missing."""
    folder = file_of(world, "wal", 3, "i8.d").parent
    outside = tmp_path.resolve() / "volume"
    folder.rename(outside)
    try:
        folder.symlink_to(outside)
        (report,) = diagnose(DatabaseRoot.locate(world), ["wal"]).tables
        assert (report.verdict, report.not_checked) == (Verdict.HEALTHY, _VALUES_ONLY)
        assert [(finding.code, finding.severity) for finding in report.findings] == [(Code.SOFT_LINK, Severity.NOTE)]
        assert str(outside) in report.findings[0].message
        with struck(outside / "i8.d", cut(800)):
            (finding,) = grave(world, "wal")
        assert (finding.code, finding.rows) == (Code.COLUMN_FILE_SHORT, rows_of("wal", 3) - 100)
        (outside / "i8.d").rename(outside / "aside")
        (outside / "i8.d").symlink_to(outside / "aside")
        assert {finding.code for finding in grave(world, "wal")} == {Code.COLUMN_FILE_MISSING}
        (outside / "aside").rename(outside / "i8.d")
        folder.unlink()
        folder.symlink_to(tmp_path / "unmounted")
        (report,) = diagnose(DatabaseRoot.locate(world), ["wal"]).tables
        assert {Code.PARTITION_MISSING, Code.SOFT_LINK_BROKEN} <= {finding.code for finding in report.findings}
        assert (report.next_step.action, "mount the disk" in report.next_step.reason) == (None, True)
        settings = Settings(questdb=QuestDBSettings(db_root=str(world)), bare=True, state_dir=str(tmp_path / "state"))
        for action in ("repair-partition", "repair-table-state"):
            refused = Engine(settings).plan(action, "wal").refused
            assert RefusalCode.SOFT_LINK_BROKEN in {each.code for each in refused}
        lost = replace(settings, partition=PartitionSettings(partition=folder.name))
        assert RefusalCode.SOFT_LINK_BROKEN not in {
            each.code for each in Engine(lost).plan("repair-partition", "wal").refused
        }
    finally:
        folder.unlink()
        outside.rename(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_that_the_owner_of_txn_cannot_write(world: Path) -> None:
    for table, day, name in (("wal", 1, "f8.d"), ("plain", 5, "st.i"), ("wal", 0, "sy.c"), ("flat", 0, "_cv")):
        path = file_of(world, table, day, name)
        for strike in (lambda file: os.chown(file, 1234, 1234), lambda file: file.chmod(0o400)):
            finding = said(world, table, path, strike)
            assert (finding.code, finding.severity) == (Code.OWNERSHIP_DIFFERS, Severity.RISK)
    for folder in (file_of(world, "wal", 3, "ts.d").parent, file_of(world, "plain", 3, "ts.d").parent):
        os.chown(folder, 1234, 1234)
        (finding,) = grave(world, folder.parent.name.split("~")[0])
        os.chown(folder, 0, 0)
        assert (finding.code, finding.file) == (Code.OWNERSHIP_DIFFERS, str(folder.relative_to(world / "db")))


def test_a_partition_that_is_gone_has_all_its_rows_named(world: Path) -> None:
    for table, day in (("wal", 1), ("plain", 3), ("wal", 5), (PARQUET, 3)):
        folder = file_of(world, table, day, "").parent
        aside = world / "aside"
        folder.rename(aside)
        (finding,) = grave(world, table)
        aside.rename(folder)
        assert (finding.code, finding.rows) == (Code.PARTITION_MISSING, rows_of(table, day))


def renamed(column: str, other: str) -> Strike:
    """Return what gives a column of a sequencer's `_meta` another name, its checksum too."""

    def strike(path: Path) -> None:
        found = read_sequencer_metadata(path.parent)
        assert isinstance(found, SequencerMetadata)
        columns = [replace(each, raw_name=other if each.raw_name == column else each.raw_name)
                   for each in found.columns]  # fmt: skip
        data = encode_sequencer_metadata(
            columns, structure_version=found.structure_version, timestamp_index=found.timestamp_index,
            table_id=found.table_id, read_order=found.read_order,
        )  # fmt: skip
        path.write_bytes(data + bytes(max(0, path.stat().st_size - len(data))))

    return strike


def test_the_columns_of_the_sequencer_and_the_names_of_the_registry_are_compared(world: Path) -> None:
    def swapped(old: bytes, new: bytes) -> Strike:
        return lambda path: path.write_bytes(path.read_bytes().replace(old, new, 1))

    meta = file_of(world, "wal", 0, "_meta").parent / "txn_seq" / "_meta"
    for column, other in (("i4", "i5"), ("late_v", "late_w"), ("sx", "sz")):
        finding = said(world, "wal", meta, swapped(column.encode("utf-16-le"), other.encode("utf-16-le")))
        assert (finding.code, finding.severity) == (Code.SEQUENCER_METADATA_INVALID, Severity.RISK)
        assert other in finding.message
        assert column in finding.message
        finding = said(world, "wal", meta, renamed(column, other))
        assert (finding.code, finding.severity) == (Code.TABLE_FILES_DISAGREE, Severity.RISK)
    (report,) = diagnose(DatabaseRoot.locate(world), ["wal"]).tables
    assert (report.verdict, report.not_checked) == (Verdict.HEALTHY, _VALUES_ONLY)
    with struck(meta, renamed("i4", "i5")):
        (report,) = diagnose(DatabaseRoot.locate(world), ["wal"]).tables
        assert (report.next_step.action, report.not_checked) == (None, _VALUES_ONLY)
    with struck(meta, swapped("i4".encode("utf-16-le"), "i5".encode("utf-16-le"))):
        (report,) = diagnose(DatabaseRoot.locate(world), ["wal"]).tables
        assert report.next_step.action == "rebuild-sequencer"
    registry = next((world / "db").glob("tables.d.*[0-9]"))
    table_id = int(meta.parents[1].name.split("~")[1])
    entry = f"wal~{table_id}".encode("utf-16-le") + struct.pack("<i", table_id)
    with struck(registry, swapped(entry, entry[:-4] + struct.pack("<i", table_id + 70))):
        assert Code.REGISTRY_INVALID in {finding.code for finding in grave(world, "wal")}
    with struck(meta.parents[1] / "_name", swapped("wal".encode("utf-16-le"), "law".encode("utf-16-le"))):
        (report,) = diagnose(DatabaseRoot.locate(world), ["wal"]).tables
        assert (report.verdict, [finding.code for finding in report.findings]) == (
            Verdict.HEALTHY, [Code.REGISTRY_INVALID],
        )  # fmt: skip


def test_the_server_fails_where_the_check_says_so(world: Path, tmp_path: Path, questdb: ServerBinary) -> None:
    """Each column is gone in the third day and cut in the first: no column of them can be read there any more."""
    root = tmp_path.resolve() / "root"
    shutil.copytree(world, root)
    linked = file_of(root, "wal", 2, "").parent
    linked.rename(tmp_path / "linked")
    linked.symlink_to(tmp_path.resolve() / "linked")  # the server reads it, as the check does
    before = _answers(root, questdb, f"ALTER TABLE {PARQUET} ADD COLUMN unapplied INT")
    assert not grave(root, PARQUET)  # the sequencer has a column that is not applied yet
    for name in COLUMNS:
        gone(file_of(root, "wal", 3, f"{name}.d"))
        os.truncate(file_of(root, "wal", 1, f"{name}.d"), 1)
    found = grave(root, "wal")
    assert {(finding.partition, finding.column) for finding in found} == {
        (day, column) for day in (DAYS[0], DAYS[2]) for column in COLUMNS
    }
    after = _answers(root, questdb)
    whole = {(day, column) for (day, column), answer in after.items() if answer == before[day, column]}
    assert {day for day, _ in whole} == {DAYS[1], DAYS[3], DAYS[4]}
    assert len(whole) == 3 * len(COLUMNS)


def _answers(root: Path, binary: ServerBinary, alter: str = "") -> dict[tuple[str, str], str]:
    """Return what the server shows of each column in each day, or its error. `alter` is not applied."""
    found: dict[tuple[str, str], str] = {}
    with PrivateServer(root, binary, settings={**SETTINGS, "cairo.wal.apply.enabled": "false"}) as server:
        for day in DAYS:
            for column in COLUMNS:
                try:
                    values = server.query(f"SELECT {column} FROM wal WHERE ts IN '{day}'")
                    found[day, column] = str(hash(str(values)))
                except psycopg.Error as error:
                    found[day, column] = str(error)
        if alter:
            server.query(alter)
        server.kill()
    return found

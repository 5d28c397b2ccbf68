"""What `_txn`, `_meta` and `_cv` are made from, on captured tables and on files made here: no server."""

import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Code, Harm, Severity, Verdict
from console.diagnosis.table_facts import read_facts
from console.questdb.column_versions import COLUMN_VERSION, parse_column_versions, read_column_versions
from console.questdb.formats.table import CV_HEADER, META_COLUMN, META_HEADER
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.partition_names import partition_of
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DbFile
from console.questdb.table_encoding import encode_column_versions, encode_table_txn
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.questdb.timestamps import timestamp_run
from console.recovery.codes import RefusalCode
from console.recovery.model import Outcome
from console.recovery.table_repair.column_versions import found_versions
from console.recovery.table_repair.disk import Disk
from console.recovery.table_repair.metadata import found_metadata
from console.recovery.table_repair.missing_partitions import gaps
from console.recovery.table_repair.partitions import FoundPartition, FoundPartitions, take_off_uncommitted
from console.recovery.table_repair.state import table_state
from console.table.later_traces import later_trace
from tests.data.samples import KINDS, Kind, sample_database
from tests.faults.broken_database import captured
from tests.txn_file import area_of

_TABLES = ("altered", "kinds")
_NAMES = {
    "HOUR": ("2024-01-01T05", "2024-01-01T05.7", "2024-01-01T051000-000001"),
    "DAY": ("2024-01-01", "2024-02-29.12", "2024-01-01T120000-000001.5", "2024-01-01T12"),
    "WEEK": ("2024-W01", "2024-W01-3T12.4", "2020-W53"),
    "MONTH": ("2024-01", "2024-12.3", "2024-01-15T000001"),
    "YEAR": ("2024", "2024.9"),
    "NONE": ("default", "default.2"),
}


@pytest.fixture(params=[(kind, name) for kind in KINDS for name in _TABLES], ids=lambda each: "-".join(each))
def table(request: pytest.FixtureRequest, tmp_path: Path) -> TableDirectory:
    """A table that a real server wrote."""
    kind: Kind
    kind, name = request.param
    return sample_database(kind, tmp_path).table(name)


def _told(area: TxnArea) -> dict[str, object]:
    """What decides of a state: all but counters, the place in the file, and the checksum that follows from the rest."""
    left = ("base", "txn", "lag_checksum", "data_version", "partition_table_version", "truncate_version")
    return {name: repr(getattr(area, name)) for name in TxnArea.__dataclass_fields__ if name not in left}


@pytest.mark.parametrize("nanos", [False, True])
@pytest.mark.parametrize("unit", _NAMES)
def test_the_name_of_a_directory_is_read_as_it_is_written(unit: str, nanos: bool) -> None:
    naming = Partitioning(unit, nanos)
    for name in _NAMES[unit]:
        directory = name.replace("-000001", "-000000001") if nanos else name
        found = partition_of(naming, directory)
        assert found is not None, directory
        assert naming.directory(*found) == directory
    for name in ("wal1", "txn_seq", "2024-13", "2024-01-01.attachable", "2024-01-01.0.old", "2024-1-1", "2024-01-01.x"):
        assert partition_of(naming, name) is None


def test_a_state_is_read_as_it_is_written(table: TableDirectory, tmp_path: Path) -> None:
    area = replace(area_of(table.path), txn=8)
    (tmp_path / "_txn").write_bytes(encode_table_txn(area))
    found = read_table_txn(tmp_path)
    assert (found.problems, found.current is not None) == ((), True)
    assert _told(area_of(tmp_path)) == _told(area)
    with pytest.raises(ValueError, match="even"):
        encode_table_txn(replace(area, txn=7))


@pytest.mark.parametrize("left", [None, 0, 40, 96])
def test_a_lost_state_is_made_again(table: TableDirectory, left: int | None) -> None:
    before = _told(area_of(table.path))
    if left is None:
        (table.path / "_txn").unlink()
    else:
        (table.path / "_txn").write_bytes((table.path / "_txn").read_bytes()[:left])
    state = table_state(table)
    assert (state.refusals, state.area is not None) == ([], True)
    assert state.area is not None
    assert _told(state.area) == before


@pytest.mark.parametrize(
    ("fixed", "transient", "left"),
    [(40, 7, 3), (40, 9, 3), (0, 25, 1), (49, 3, 4), (41, 7, 4), (40, 10, 4), (40, 0, 4)],
)
def test_partitions_behind_the_last_counted_one_are_taken_off(fixed: int, transient: int, left: int) -> None:
    each = FoundPartition("2024-01-01", 0, -1, 0, 0, 0, None, timestamps=Path("ts.d"))
    found = FoundPartitions(Partitioning("DAY", False), [replace(each, rows=rows) for rows in (25, 15, 9, 3)])
    take_off_uncommitted(found, fixed, transient)
    assert len(found.partitions) == left
    assert len(found.empty) == 4 - left


def test_what_a_killed_transaction_began_to_write_does_not_count(table: TableDirectory) -> None:
    """It began to write the partition anew, and had split another: a part whose timestamps are written, and no more."""
    expected = _told(area_of(table.path))
    metadata = read_table_metadata(table.path)
    assert isinstance(metadata, TableMetadata)
    (partition,) = table.path.glob("2024-*")
    day, rows = partition.name[:10], sum(area_of(table.path).partitions["rows"].tolist())
    times = np.fromfile(partition / "ts.d", "<i8", rows)
    begun = shutil.copytree(partition, table.path / f"{day}.9")
    for path in begun.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    middle = int(times[rows // 2])
    part = table.path / Partitioning.of(metadata).directory(middle, 9)
    part.mkdir()
    times[rows // 2 :].tofile(part / "ts.d")
    (table.path / "_txn").unlink()
    state = table_state(table)
    assert state.refusals == []
    assert state.area is not None
    assert _told(state.area) == expected


@pytest.mark.parametrize("lost", [False, True])
def test_a_lost_page_of_timestamps_is_not_taken_for_the_end_of_the_rows(table: TableDirectory, lost: bool) -> None:
    """The other columns have values behind the last timestamp: no row is given up in silence."""
    area = area_of(table.path)
    (partition,) = [path for path in table.path.iterdir() if path.is_dir() and path.name.startswith("2024")]
    content = (partition / "ts.d").read_bytes()
    (partition / "ts.d").write_bytes(content[: 8 * (area.rows // 2)] + bytes(len(content) - 8 * (area.rows // 2)))
    if lost:
        (table.path / "_txn").unlink()
    state = table_state(table)
    if state.area is not None:  # the WAL still holds all of them, and an older area is from before
        assert (lost, state.area.rows + state.rows_waiting) == (False, area.rows)
    else:
        assert state.refusals[0].code is RefusalCode.ROWS_NOT_PROVEN


@pytest.mark.parametrize("state_too", [False, True])
def test_lost_metadata_is_made_again_byte_for_byte(table: TableDirectory, state_too: bool) -> None:
    before = (table.path / "_meta").read_bytes()
    (table.path / "_meta").write_bytes(bytes(len(before)))
    if state_too:
        (table.path / "_txn").unlink()
    found = found_metadata(table)
    assert found.refusals == []
    assert found.content is not None
    assert found.content == before.rstrip(b"\0").ljust(len(found.content), b"\0")
    assert bool(found.untold) == state_too  # without _txn nothing says whether a setting was changed


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_no_column_of_its_type_can_have_is_damage(kind: Kind, tmp_path: Path) -> None:
    """One bit of `_meta`: QuestDB then lists no table at all."""
    database = sample_database(kind, tmp_path)
    table = database.table("kinds")
    content = bytearray((table.path / "_meta").read_bytes())
    before = bytes(content)
    metadata = read_table_metadata(table.path)
    assert isinstance(metadata, TableMetadata)
    price = next(column for column in metadata.columns if column.name == "price")
    content[META_HEADER.size + META_COLUMN.size * price.index + META_COLUMN.at("flags")] |= 1
    (table.path / "_meta").write_bytes(content)
    report = diagnose_table(database, table)
    assert [each.code for each in report.findings if each.column == "price"] == ["table-metadata-invalid"]
    assert report.next_step.action == "repair-metadata"
    found = found_metadata(table)
    assert found.content is not None
    assert found.content.rstrip(b"\0") == before.rstrip(b"\0")


def test_rows_are_the_leading_timestamps_of_the_partition(tmp_path: Path) -> None:
    def run(*values: int, end: int = 200) -> tuple[int, bool, int]:
        (tmp_path / "ts.d").write_bytes(struct.pack(f"<{len(values)}q", *values))
        with DbFile(tmp_path / "ts.d") as file:
            found = timestamp_run(file, 100, end, 200)
        return found.rows, found.proven, found.continued

    assert run(100, 120, 120, 150, 0, 0, 0) == (4, True, 0)
    assert run(100, 120, 150, 110, 250, 0) == (3, True, 0)  # what a lag left behind
    assert run(100, 120, 120, 110, 0) == (3, False, 0)  # its last row may be left behind too
    assert run(100, 120, 0, 0, 150, 160) == (2, False, 0)  # a torn page
    assert run(100, 120, 150, 160, 0, end=140) == (2, True, 2)  # split, the rest is in another directory
    assert run(0, 0, 0) == (0, True, 0)


@pytest.mark.parametrize("version", [6, 7])
def test_column_versions_are_read_as_they_are_written(version: int) -> None:
    entries = np.array([(5, 2, -1, 7), (-(1 << 63), 1, 3, 5), (5, 1, 3, 0)], COLUMN_VERSION)
    found, read = parse_column_versions(encode_column_versions(version, entries))
    assert found == version
    assert read.tolist() == sorted(entries.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_count_of_symbols_that_rows_exceed_is_raised_to_what_the_map_holds(kind: Kind, tmp_path: Path) -> None:
    table = sample_database(kind, tmp_path).table("altered")
    area = area_of(table.path)
    lower = area.symbols.copy()
    lower[0] = (1, 1)
    (table.path / "_txn").write_bytes(encode_table_txn(replace(area, txn=area.txn + area.txn % 2, symbols=lower)))
    state = table_state(table)
    assert state.area is not None, state.refusals
    assert state.area.symbols.tolist() == area.symbols.tolist()
    assert int(area.symbols["count"][0]) > 1


@pytest.mark.parametrize("content", [None, b"", bytes(40), b"\x03\0\0\0a\0b\0"])
def test_a_name_that_is_lost_comes_from_the_registry(content: bytes | None, tmp_path: Path) -> None:
    database = sample_database("v1", tmp_path.resolve() / "root")
    (database.db / "tables.d.lock").touch()
    table = database.table("altered")
    whole = (table.path / "_name").read_bytes()
    engine = captured(database.root, tmp_path.resolve() / "state")
    assert engine.plan("repair-metadata", "altered").stages == ()
    (table.path / "_name").unlink()
    if content is not None:
        (table.path / "_name").write_bytes(content)
    engine = captured(database.root, tmp_path.resolve() / "state")
    plan = engine.plan("repair-metadata", "altered")
    assert plan.refused == ()
    assert plan.confirmation == "altered lose 0"
    done = engine.run(plan, plan.confirmation)
    assert done.outcome is Outcome.DONE, done
    assert (table.path / "_name").read_bytes() == whole
    assert engine.undo(done.entry, engine.plan_undo(done.entry).confirmation).outcome is Outcome.DONE
    left = (table.path / "_name").read_bytes() if (table.path / "_name").exists() else None
    assert left == content


@pytest.mark.parametrize("content", [None, b"", bytes(16)])
def test_column_versions_of_a_table_never_altered_are_made_again(content: bytes | None, tmp_path: Path) -> None:
    """Without them the server reads nothing, and takes no row either, unless it has some to apply (9.1.0)."""
    database = sample_database("v1", tmp_path.resolve() / "root")
    (database.db / "tables.d.lock").touch()
    table = database.table("kinds")
    assert area_of(table.path).column_version == 0
    (table.path / "_cv").unlink()
    if content is not None:
        (table.path / "_cv").write_bytes(content)
    report = diagnose_table(database, table)
    assert (report.verdict, report.next_step.action) == (Verdict.BROKEN, "repair-metadata")
    engine = captured(database.root, tmp_path.resolve() / "state")
    plan = engine.plan("repair-metadata", "kinds")
    assert (plan.refused, plan.confirmation) == ((), "kinds lose 0")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    version, entries = parse_column_versions((table.path / "_cv").read_bytes())
    assert (version, len(entries)) == (0, 0)
    assert diagnose_table(database, table).verdict is Verdict.HEALTHY


def _altered(root: Path, kind: Kind = "v1") -> tuple[DatabaseRoot, TableDirectory]:
    database = sample_database(kind, root)
    (database.db / "tables.d.lock").touch()
    return database, database.table("altered")


def test_a_column_in_whole_pages_begins_where_the_column_that_it_replaced_did(tmp_path: Path) -> None:
    database, table = _altered(tmp_path.resolve() / "root")
    os.truncate(table.path / "2024-01-01" / "v.d.4", 4096)
    (table.path / "_cv").unlink()
    engine = captured(database.root, tmp_path.resolve() / "state", "altered")
    plan = engine.plan("repair-metadata", "altered")
    assert (plan.refused, plan.confirmation) == ((), "altered lose 0")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    made, start = read_column_versions(table.path), int(area_of(table.path).partitions["timestamp"][0])
    assert (made.top(start, 4), made.name_txn(start, 4)) == (0, 4)


def test_a_file_without_suffix_is_of_a_column_of_the_first_day(tmp_path: Path) -> None:
    _, table = _altered(tmp_path.resolve() / "root")
    (table.sequencer / "_meta.0").unlink()
    os.truncate(table.path / "2024-01-01" / "sym.d", 4096)
    own = read_column_versions(table.path)
    (table.path / "_cv").unlink()
    metadata = read_table_metadata(table.path)
    assert isinstance(metadata, TableMetadata)
    found = found_versions(table, metadata, 0)
    assert (found.refusals, found.lost, found.doubted) == ([], [], [])
    (table.path / "_cv").write_bytes(found.content or b"")
    made, start = read_column_versions(table.path), int(area_of(table.path).partitions["timestamp"][0])
    live = [column.index for column in metadata.columns if not column.dropped]
    for each in live:
        assert (made.top(start, each), made.name_txn(start, each)) == (own.top(start, each), own.name_txn(start, each))


def test_a_partition_table_of_zeros_does_not_tell_which_directory_is_later(tmp_path: Path) -> None:
    _, table = _altered(tmp_path.resolve() / "root")
    area, facts = area_of(table.path), read_facts(table)
    zeros = np.zeros(2, area.partitions.dtype)
    zeros["rows"][1] = area.transient_rows
    (table.path / f"2024-01-01.{area.txn}").mkdir()
    assert facts.sequencer.scan is not None
    damaged = replace(area, partitions=zeros)
    assert later_trace(table.path, facts.metadata, damaged, facts.inventory, [facts.sequencer.scan]) is None


def test_column_versions_ahead_of_the_state_are_put_back(tmp_path: Path) -> None:
    """A server that dies between `_cv` and `_txn` leaves this; each read of the table then waits for ever (9.1.0)."""
    database, table = _altered(tmp_path.resolve() / "root")
    content = bytearray((table.path / "_cv").read_bytes())
    version, entries = parse_column_versions(bytes(content))
    area = "a" if version % 2 else "b"
    CV_HEADER.put(content, 0, **{"version": version + 1, f"{area}_offset": len(content), f"{area}_size": 0})
    (table.path / "_cv").write_bytes(content)
    report = diagnose_table(database, table)
    found = next(each for each in report.findings if each.code is Code.COLUMN_VERSIONS_INVALID)
    assert (found.severity, found.start, report.next_step.action) == (Severity.DAMAGE, Harm.HANGS, "repair-metadata")
    engine = captured(database.root, tmp_path.resolve() / "state", "altered")
    plan = engine.plan("repair-metadata", "altered")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    again = parse_column_versions((table.path / "_cv").read_bytes())
    assert (again[0], again[1].tolist()) == (version, entries.tolist())


def test_a_later_file_of_a_column_shows_that_the_state_is_older(tmp_path: Path) -> None:
    """A writer removes the file of before only when `_txn` and `_cv` are in force: a NULL would give its values up."""
    database, table = _altered(tmp_path.resolve() / "root")
    (table.path / "2024-01-01" / "v.d.4").rename(table.path / "2024-01-01" / "v.d.9")
    report = diagnose_table(database, table)
    found = next(each for each in report.findings if each.code is Code.TABLE_TXN_BEHIND)
    assert (found.column, found.start, report.next_step.action) == ("v", Harm.LOSES_COLUMNS, "repair-table-state")
    engine = captured(database.root, tmp_path.resolve() / "state", "altered")
    plan = engine.plan("repair-table-state", "altered")
    assert [each.code for each in plan.refused][:1] == [RefusalCode.TXN_SET_BACK]
    assert "in place of v.d.4" in plan.refused[0].reason
    assert Code.TABLE_TXN_BEHIND.value in {each.code.value for each in engine.plan("start-server").refused}


def test_a_partition_that_was_renamed_with_the_state_gone_is_not_given_up(tmp_path: Path) -> None:
    table = sample_database("v1", tmp_path).table("kinds")
    (table.path / "_txn").unlink()
    (table.path / "2024-01-02.1").rename(table.path / "2024-01-02.1.detached")
    assert [each.code for each in table_state(table).refusals] == [RefusalCode.ROWS_NOT_PROVEN]
    (table.path / "2024-01-02.1.detached" / "_meta").touch()  # as a DETACH leaves it
    assert RefusalCode.ROWS_NOT_PROVEN not in {each.code for each in table_state(table).refusals}


@pytest.mark.parametrize(
    ("unit", "starts", "tops", "wanted"),
    [
        ("DAY", (0, 86_400, 2 * 86_400), (86_400,), 0),
        ("DAY", (0, 86_400, 3 * 86_400), (), 1),
        ("DAY", (0, 86_400), (2 * 86_400,), 1),
        ("DAY", (0, 3600, 90_000), (), 1),  # what the last one was split off is not there
        ("HOUR", (0, 7200, 4 * 3600), (), 2),
        ("YEAR", (0, 365 * 86_400), (), 0),
        ("NONE", (0,), (), 0),
    ],
)
def test_a_partition_that_may_be_gone_is_seen_by_what_is_around_it(
    table: TableDirectory, unit: str, starts: tuple[int, ...], tops: tuple[int, ...], wanted: int
) -> None:
    naming = Partitioning(unit, False)
    found = FoundPartitions(naming, [FoundPartition(f"p{at}", at * 10**6, -1, 1, 0, 0, None) for at in starts])
    metadata = read_table_metadata(table.path)
    assert isinstance(metadata, TableMetadata)
    entries = np.array([(-(1 << 63), 1, 3, 5), *((at * 10**6, 2, -1, 7) for at in tops)], COLUMN_VERSION)
    versions = replace(read_column_versions(table.path), entries=entries)
    disk = Disk(table, metadata, versions, found, read_table_txn(table.path), ())
    assert len(list(gaps(disk))) == wanted
    assert len(list(gaps(disk, found.rows + 1))) == wanted + 1


@pytest.mark.parametrize("kind", KINDS)
def test_symbols_that_no_row_uses_may_be_of_rows_that_are_gone(kind: Kind, tmp_path: Path) -> None:
    """As where the first or the last partition is gone with its directory, which leaves no gap."""
    table = sample_database(kind, tmp_path).table("altered")
    symbols = area_of(table.path).symbols["count"]
    (table.path / "_txn").unlink()
    assert table_state(table).gone == ()
    for path in (table.path / "2024-01-01").glob("s*.d*"):
        path.write_bytes(bytes(path.stat().st_size))  # each row has the first symbol
    state = table_state(table)
    assert int(symbols[0]) > 1
    assert any(f"{int(symbols[0]) - 1} symbol" in each for each in state.gone), (state.gone, state.refusals)

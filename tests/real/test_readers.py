"""What the readers decode from disk equals what a real server says by SQL, for both formats of the log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from console.questdb.column_files import column_path, partition_path, partition_values, segment_timestamps
from console.questdb.column_types import is_variable
from console.questdb.column_versions import read_column_versions
from console.questdb.fields import I64_MAX
from console.questdb.layout import TableDirectory
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DbFile, Problem
from console.questdb.segment import DedupMode, EventType, Segment, read_segment
from console.questdb.segment_data import Tear, check_segment_data
from console.questdb.segment_details import read_statement, read_symbols
from console.questdb.sequencer_metadata import (
    SequencerMetadata,
    encode_sequencer_metadata,
    read_sequencer_metadata,
)
from console.questdb.structure_log import StructureChange, read_structure_log
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.questdb.txn_log import HEADER_SIZE, LogState, TxnLog, read_log
from console.questdb.view_state import read_view
from console.questdb.wal_index import read_wal_index
from console.recovery.server.jvm import ServerBinary
from tests.data.logs import CHECKED, check_log, odd_records
from tests.real.readers_world import PART, TABLES, World, grown


@pytest.fixture(scope="module", params=["v1", "v2"])
def world(request: pytest.FixtureRequest, questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same statements on a server with logs of format V1, and of V2 with small parts."""
    settings = {"cairo.default.sequencer.part.txn.count": str(PART)} if request.param == "v2" else {}
    return grown(tmp_path_factory.mktemp(request.param), questdb, settings)


def _log(world: World, name: str) -> TxnLog:
    log = read_log(world.table(name).sequencer)
    assert log.state is LogState.PRESENT
    assert not log.problems
    return log


def _area(table: TableDirectory) -> TxnArea:
    snapshot = read_table_txn(table.path)
    assert not snapshot.problems
    assert snapshot.current is not None
    return snapshot.current


def _metadata(table: TableDirectory) -> TableMetadata:
    metadata = read_table_metadata(table.path)
    assert isinstance(metadata, TableMetadata)
    assert not metadata.problems
    return metadata


def _segments(table: TableDirectory) -> list[Segment]:
    return [read_segment(wal.segment(each)) for wal in table.wals() for each in wal.segments]


def _micros(moment: datetime) -> int:
    return (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_tables_are_those_of_the_server(world: World) -> None:
    """Names, directories, ids, WAL flag, dedup, partition unit; renamed, dropped, view and non-WAL tables included."""
    ours = {table.raw_name: table for table in world.root.tables() if not table.system}
    assert set(ours) == {name for name in world.tables if not name.startswith(("sys.", "telemetry", "_"))}
    assert "gone" not in ours
    for name, table in ours.items():
        _, table_id, directory, wal, dedup, unit = world.tables[name]
        metadata = _metadata(table)
        assert (table.table_id, table.directory, table.wal) == (table_id, directory, wal)
        assert (metadata.has_dedup, metadata.partition_unit) == (dedup, unit)
        assert table.is_view == (name == "hourly")
        assert not table.problems
        assert not table.listing_problems()
    assert not world.root.listing_problems()


@pytest.mark.parametrize("name", TABLES)
def test_log_records_are_those_of_wal_transactions(world: World, name: str) -> None:
    """Every field of every record; sizes as the format promises; nothing to complain about."""
    log, said = _log(world, name), world.logs[name]
    assert log.header is not None
    assert log.header.max_txn == len(said)
    assert log.file_size == log.expected_size()
    assert log.header.reserved_zero
    records = log.records(1, len(said))
    for record, (txn, at, wal, segment, segment_txn, version, low, high, rows) in zip(records, said, strict=True):
        assert txn == 1 + int(np.flatnonzero(records == record)[0])
        assert (record["wal_id"], record["segment_id"], record["segment_txn"]) == (wal, segment, segment_txn)
        assert record["structure_version"] == version
        if name != "nano":  # the server shows its microseconds as nanoseconds there
            assert record["commit_us"] == _micros(at)
        if log.v2 and wal > 0 and rows and name != "nano":
            assert (record["min_ts"], record["max_ts"]) == (_micros(low), _micros(high))
        if log.v2 and wal > 0:
            assert record["row_count"] == (rows or 0)
    assert odd_records(log) == {}
    check = check_log(log)
    assert not any(getattr(check, name) for name in CHECKED), check
    assert len(records) == len(said)
    if log.v2:
        assert log.file_size == HEADER_SIZE
        assert {part.size for part in log.parts} == {60 * PART}


@pytest.mark.parametrize("name", TABLES)
def test_segments_hold_what_the_log_names(world: World, name: str) -> None:
    """Every reference finds its event; events carry the rows and spans that V2 records have; nothing is torn."""
    table, log = world.table(name), _log(world, name)
    segments = {(each.wal_id, each.segment_id): each for each in _segments(table)}
    records = log.records(1, len(world.logs[name]))
    named = 0
    for record in records[records["wal_id"] > 0]:
        segment = segments[int(record["wal_id"]), int(record["segment_id"])]
        event = segment.events[int(record["segment_txn"])]
        named += 1
        if log.v2 and event["type"] in (EventType.DATA, EventType.MAT_VIEW_DATA):
            assert event["end_row"] - event["start_row"] == record["row_count"]
            assert (event["min_ts"], event["max_ts"]) == (record["min_ts"], record["max_ts"])
    assert named == sum(len(segment.events) for segment in segments.values())
    for segment in segments.values():
        assert not segment.problems
        assert segment.whole
        assert segment.closed
        assert segment.beyond == 0
        assert check_segment_data(segment) == ()
    index = read_wal_index(table.sequencer)
    assert index.highest == max(wal.id for wal in table.wals())


@pytest.mark.parametrize("name", [*TABLES, "flat"])
def test_applied_state_is_that_of_the_server(world: World, name: str) -> None:
    """Count, min, max, each partition's name and rows; the timestamps in the partitions' files agree with them."""
    table = world.table(name)
    area, metadata = _area(table), _metadata(table)
    partitioning = Partitioning.of(metadata)
    per_micro = 1000 if partitioning.nanos else 1
    assert area.rows == world.counts[name]
    low, high = (_micros(at) for at in world.spans[name])
    assert area.max_ts // per_micro == high
    assert area.min_ts // per_micro == (low if name != "flat" else I64_MAX)  # never stored without partitions
    assert area.applied_txn == len(world.logs.get(name, ()))
    assert area.lag_checksum == area.lag_checksum_expected()
    assert len(area.symbols) == len(metadata.symbols)
    if name == "flat":
        return
    said = world.partitions[name]
    ours = [(partitioning.directory(int(p["timestamp"]), -1), int(p["rows"])) for p in area.partitions]
    assert ours == [(row[0], row[3]) for row in said]
    versions = read_column_versions(table.path)
    assert not versions.problems
    assert metadata.timestamp is not None
    for partition in area.partitions:
        assert partition_path(table.path, partitioning, partition).is_dir()
        rows = int(partition["rows"])
        stamps = partition_values(table.path, partitioning, versions, partition, metadata.timestamp, 0, rows).values
        assert len(stamps) == rows
        assert (stamps[1:] >= stamps[:-1]).all()
        assert (partitioning.floors(stamps) == partitioning.floors(partition["timestamp"].reshape(1))).all()


def test_every_column_file_of_every_partition_is_found(world: World) -> None:
    """Names with suffixes, tops of columns that were added or retyped, files of all types."""
    seen = 0
    for name in TABLES:
        table = world.table(name)
        metadata, area, versions = _metadata(table), _area(table), read_column_versions(table.path)
        partitioning = Partitioning.of(metadata)
        for partition in area.partitions:
            at, rows = int(partition["timestamp"]), int(partition["rows"])
            for column in metadata.columns:
                top = versions.top(at, column.index)
                if column.dropped or top is None or top >= rows:
                    continue
                folder = partition_path(table.path, partitioning, partition)
                path = column_path(folder, column.raw_name, "d", versions.name_txn(at, column.index))
                with DbFile(path) as file:
                    assert file.size > 0 or is_variable(column.type_code)
                if not is_variable(column.type_code):
                    read = partition_values(table.path, partitioning, versions, partition, column, 0, rows)
                    assert read.first == top
                    assert len(read.values) == rows - top
                seen += 1
    assert seen > 100


def test_timestamps_in_segments_predict_the_partitions(world: World) -> None:
    """Rows out of order in several segments: per partition as many as the server has there (splits joined)."""
    table = world.table("shuffled")
    partitioning = Partitioning.of(_metadata(table))
    stamps = np.concatenate(
        [
            rows["timestamp"].copy()
            for segment in _segments(table)
            for _, rows in segment_timestamps(segment, 0, segment.rows)
        ]
    )
    floors, counts = np.unique(partitioning.floors(stamps), return_counts=True)
    area = _area(table)
    joined: dict[int, int] = {}
    for floor, rows in zip(partitioning.floors(area.partitions["timestamp"]), area.partitions["rows"], strict=True):
        joined[int(floor)] = joined.get(int(floor), 0) + int(rows)
    assert joined == dict(zip(floors.tolist(), counts.tolist(), strict=True))


def test_structure_changes_are_those_that_were_made(world: World) -> None:
    """Seven changes in order; both metadata files at the last of them; the encoder writes the server's very bytes."""
    table = world.table("altered")
    changes = read_structure_log(table.sequencer)
    assert not changes.problems
    decoded = [changes.change(version) for version in range(1, (changes.version or 0) + 1)]
    assert all(isinstance(change, StructureChange) for change in decoded)
    assert [change.summary for change in decoded if isinstance(change, StructureChange)] == [
        "add column extra SYMBOL",
        "change column v to LONG",
        "rename column extra to more",
        "drop column more",
        "disable deduplication",
        "enable deduplication",
    ]
    assert _area(table).structure_version == changes.version == check_log(_log(world, "altered")).structure_version
    for name in TABLES:
        folder = world.table(name)
        for directory in (folder.sequencer, *(segment.path for segment in _segments(folder))):
            metadata = read_sequencer_metadata(directory)
            assert isinstance(metadata, SequencerMetadata)
            assert metadata.table_id == folder.table_id
            assert metadata.tail_valid == (directory == folder.sequencer)
            encoded = encode_sequencer_metadata(
                metadata.columns,
                structure_version=metadata.structure_version,
                timestamp_index=metadata.timestamp_index,
                table_id=metadata.table_id,
                read_order=metadata.read_order,
            )
            assert (directory / "_meta").read_bytes()[: metadata.length] == encoded


def test_event_bodies_are_decoded(world: World) -> None:
    """Symbols with their values, statements, truncation, and the view's state."""
    values: set[str | None] = set()
    for each in _segments(world.table("plain")):
        symbols = read_symbols(each)
        assert isinstance(symbols, dict)
        values |= {value for diffs in symbols.values() for diff in diffs for value in diff.values}
    assert values == {"a", "b", "c", "d"}
    statements = [
        read_statement(each, txn)
        for name in TABLES
        for each in _segments(world.table(name))
        for txn in np.flatnonzero(each.events["type"] == EventType.SQL).tolist()
    ]
    assert not [statement for statement in statements if isinstance(statement, Problem)]
    assert "update altered set v = 7 where sym = 'k1'" in statements
    assert any((each.events["type"] == EventType.TRUNCATE).any() for each in _segments(world.table("emptied")))
    view = read_view(world.table("hourly").path)
    assert not view.problems
    assert view.definition is not None
    assert view.definition.base_table == "plain"
    assert view.state is not None
    assert view.state.refresh_base_txn == len(world.logs["plain"])
    replaced = np.concatenate([each.events[each.data] for each in _segments(world.table("hourly"))])
    assert set(replaced["dedup_mode"].tolist()) <= {DedupMode.REPLACE_RANGE, DedupMode.DEFAULT}
    assert replaced["base_txn"].max() == len(world.logs["plain"])


def test_torn_columns_are_reported_with_their_rows(world: World, tmp_path: Path) -> None:
    """A page of zeros in each column of a copy: which rows, and whether it is certain or suspect."""
    segment = _segments(world.table("shuffled"))[0]
    copy = tmp_path / "wal1" / "0"
    copy.mkdir(parents=True)
    for file in segment.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    for name in ("ts.d", "v.d"):
        with (copy / name).open("r+b") as column:
            column.seek(4096)
            column.write(bytes(4096))
    torn = check_segment_data(read_segment(copy))
    told = {(each.tear, each.column): each for each in torn}
    assert set(told) == {(Tear.TIMESTAMP, "ts"), (Tear.ROW_ID, "ts"), (Tear.ZERO_PAGES, "v")}
    assert (told[Tear.TIMESTAMP, "ts"].first_row, told[Tear.TIMESTAMP, "ts"].rows) == (256, 256)
    assert (told[Tear.ZERO_PAGES, "v"].first_row, told[Tear.ZERO_PAGES, "v"].rows) == (512, 512)
    assert told[Tear.ZERO_PAGES, "v"].suspect
    assert not told[Tear.TIMESTAMP, "ts"].suspect

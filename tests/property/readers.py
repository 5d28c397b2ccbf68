"""Every reader, called as its users call it, with all that its result offers; and the sample files that it reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Final

from console.diagnosis.crashes.groups import examine
from console.diagnosis.crashes.places import crash_logs_in
from console.diagnosis.database import diagnose
from console.diagnosis.deep_files import DeepFiles
from console.diagnosis.inspection import Inspector
from console.errors import WalmedicError
from console.questdb import hs_err
from console.questdb.column_files import partition_values, segment_timestamps
from console.questdb.column_versions import read_column_versions
from console.questdb.conversion import read_conversion
from console.questdb.layout import DatabaseRoot
from console.questdb.parquet_rows import read_layout, read_row, read_time
from console.questdb.partition_files import PARQUET
from console.questdb.partition_rows import TableRows
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, Problem
from console.questdb.registry import read_registry
from console.questdb.segment import read_segment
from console.questdb.segment_data import check_segment_data
from console.questdb.segment_details import read_statement, read_symbols
from console.questdb.segment_rows import SegmentRows
from console.questdb.sequencer_metadata import encode_sequencer_metadata, read_sequencer_metadata
from console.questdb.structure_log import read_structure_log
from console.questdb.table_metadata import read_table_metadata
from console.questdb.table_name import read_table_name
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import read_log
from console.questdb.view_state import read_view
from console.questdb.wal_index import read_wal_index
from console.recovery.salvage.cells import csv_cells, rows_of
from console.recovery.salvage.parquet_rows import ParquetRows
from console.recovery.salvage.part_rows import Found
from console.recovery.salvage.selection import rows_to_write, select_directory
from console.recovery.salvage.table_picture import read_picture
from tests.data.logs import check_log
from tests.data.samples import parquet_files
from tests.unit.crash_text import INDEX, INDEX_OPEN, LOG, Mapped, crash_text

ALTERED, KINDS, HOURLY = "altered~5", "kinds~6", "hourly~7"
CRASHES: Final = {
    "hs_err_pid1.log": crash_text((Mapped(LOG, 1 << 46, 4096),), fault=(1 << 46) + 28_076, rdx=28_076).encode(),
    "hs_err_pid2.log": crash_text(
        (Mapped(INDEX, 1 << 46, 4096),), fault=(1 << 46) + 80_000, rdx=80_000, stack=(INDEX_OPEN,)
    ).encode(),
}
"""Crash logs beside the sample's files."""
_SOME: Final = 50
_WHOLE: Final = 200
"""Inputs of what calls all readers for a whole table or database, ten times as long as one: the rest by `make fuzz`."""


@dataclass(frozen=True)
class Reader:
    """A name, what to call with the db directory, patterns of the files that it reads, and inputs in `make test`."""

    name: str
    read: Callable[[Path], None]
    patterns: tuple[str, ...]
    inputs: int = 1000  # for each format of the log: 2,000 in all
    more: Mapping[str, bytes] = field(default_factory=dict)  # files beside those of the sample

    def files(self, names: list[str]) -> list[str]:
        """Return those of `names` that the reader reads."""
        return [name for name in names if any(fnmatch(name, pattern) for pattern in self.patterns)]


def _log(db: Path) -> None:
    log = read_log(db / ALTERED / "txn_seq")
    if not log.readable:
        assert log.whole_records == 0
        return
    assert log.header is not None
    last = log.header.max_txn
    assert log.expected_size() >= 76
    for first in (1, last - 3, last, log.whole_records):
        assert len(log.records(first, first + _SOME)) <= _SOME + 1
        log.offset_of(first)
    check_log(log)
    missing = sum(high - low + 1 for low, high in log.missing_parts(1, last))
    assert sum(len(block) for _, block in log.chunks(last=last)) == max(0, last) - missing
    check_log(log, first=max(1, last + 1), last=log.whole_records)


def _segments(db: Path) -> None:
    for directory in (db / ALTERED / "wal1" / "0", db / ALTERED / "wal1" / "1", db / HOURLY / "wal1" / "0"):
        segment = read_segment(directory)
        counted = len(segment.events) - segment.beyond  # what follows is whole, and the header does not count it
        assert segment.max_txn is None or 0 <= counted <= segment.max_txn + 1
        assert not segment.beyond or segment.max_txn == counted - 1
        assert len(segment.opens) == len(segment.events)
        assert segment.whole == (segment.max_txn == counted - 1 and not (segment.events["type"] < 0).any())
        for txn in range(-1, min(len(segment.events) + 1, _SOME)):
            read_statement(segment, txn)
        read_symbols(segment)


def _segment_data(db: Path) -> None:
    for directory in (db / KINDS / "wal1" / "0", db / ALTERED / "wal1" / "0"):
        segment = read_segment(directory)
        for torn in check_segment_data(segment):
            assert torn.rows > 0
            assert torn.file.is_relative_to(db)
        try:
            list(segment_timestamps(segment, 0, 1 << 62))
        except (DamageError, OSError):
            continue


def _segment_rows(db: Path) -> None:
    for table in (KINDS, ALTERED):
        try:
            selection = select_directory(db / table)
        except WalmedicError:
            continue
        for choice in selection.choices[:2]:
            segment = read_segment(db / table / f"wal{choice.wal}" / str(choice.segment))
            try:
                spans, holes, _ = rows_to_write(segment, choice)
                with SegmentRows(segment, db / table, holes) as rows:
                    # Millions of rows where an event claims them and the file is grown: chunk after chunk of one kind.
                    for chunk in islice(rows.chunks(spans), 4):
                        lines = rows_of([csv_cells(values) for values in chunk.values])
                        assert lines.count(b"\n") >= len(chunk)
            except (DamageError, OSError):
                continue


def _table_rows(db: Path) -> None:
    for name in (KINDS, ALTERED):
        try:
            table = TableRows(db / name)
        except DamageError:
            continue
        for partition in table.partitions[:3]:
            for column in table.columns[:_SOME]:
                try:
                    for first, values in table.chunks(partition, column):
                        assert len(values) <= partition.rows - first
                except (DamageError, OSError):
                    continue


def _partitions(db: Path) -> None:
    table = db / ALTERED
    area, metadata = read_table_txn(table).current, read_table_metadata(table)
    versions = read_column_versions(table)
    if area is None or isinstance(metadata, Problem):
        return
    partitioning = Partitioning.of(metadata)
    partitioning.floors(area.partitions["timestamp"])
    for partition in area.partitions[:_SOME]:
        for column in metadata.columns[:_SOME]:
            try:
                partition_values(table, partitioning, versions, partition, column, 0, int(partition["rows"]))
            except (DamageError, OSError):
                continue


def _table_txn(db: Path) -> None:
    snapshot = read_table_txn(db / ALTERED)
    for area in (snapshot.current, snapshot.other):
        if area is not None:
            area.lag_checksum_expected()
            assert area.applied_txn == area.seq_txn + abs(area.lag_txn_raw)
    assert snapshot.current is not None or snapshot.problems


def _metadata(db: Path) -> None:
    table = read_table_metadata(db / ALTERED)
    if not isinstance(table, Problem):
        assert table.timestamp is None or table.timestamp.index == table.timestamp_index
        assert len(table.symbols) <= len(table.columns)
    for directory in (db / ALTERED / "txn_seq", db / ALTERED / "wal1" / "1"):
        metadata = read_sequencer_metadata(directory)
        if not isinstance(metadata, Problem):
            encode_sequencer_metadata(
                metadata.columns,
                structure_version=metadata.structure_version,
                timestamp_index=metadata.timestamp_index,
                table_id=metadata.table_id,
            )


def _structure(db: Path) -> None:
    changes = read_structure_log(db / ALTERED / "txn_seq")
    for version in range(-1, min(len(changes.ends) + 1, _SOME)):
        change = changes.change(version)
        assert isinstance(change, Problem) or change.summary


def _layout(db: Path) -> None:
    root = DatabaseRoot(db.parent, db)
    read_registry(db)
    root.listing_problems()
    for table in root.tables(dropped=True):
        table.listing_problems()
        table.sequencer_backups()
        read_table_name(table.path)
        read_wal_index(table.sequencer)
        read_conversion(table.path)


def _views(db: Path) -> None:
    view = read_view(db / HOURLY)
    assert view.state is None or view.state.needs_records_after >= view.state.refresh_base_txn


def _versions(db: Path) -> None:
    versions = read_column_versions(db / ALTERED)
    for partition in (0, 1_704_067_200_000_000):
        for column in range(6):
            versions.top(partition, column)
            versions.name_txn(partition, column)
            versions.symbol_name_txn(column)


def _crashes(db: Path) -> None:
    for path in crash_logs_in(db):
        log = hs_err.read(path, every_mapping=True)
        assert log.is_crash or log.problems
    report = examine(crash_logs_in(db), DatabaseRoot(db.parent, db))
    assert report.total + sum("no crash log" in finding.message for finding in report.findings) <= len(CRASHES)
    assert all(group.count == len(group.times) for group in report.groups)


def _diagnosis(db: Path) -> None:
    report = diagnose(DatabaseRoot(db.parent, db))
    for table in report.tables:
        assert table.next_step.reason
        assert table.rows_unapplied is None or table.rows_unapplied >= 0
        assert all(finding.message for finding in table.findings)
    assert report.to_json()["schema"] == 1


def _whole_tables(db: Path) -> None:
    for table in DatabaseRoot(db.parent, db).tables():
        check = DeepFiles(table)
        look = check.look()
        assert all(finding.message and finding.file for finding in look.findings)
        assert all(finding.rows is None or finding.rows > 0 for finding in look.findings)
        assert not (look.seen and look.left_out)


def _parquet(db: Path) -> None:
    (table,) = (each for each in DatabaseRoot(db.parent, db).tables() if each.path.name == PARTED)
    look = DeepFiles(table).look()
    assert all(finding.message and finding.file for finding in look.findings)
    try:
        picture = read_picture(table.path)
    except (DamageError, OSError):
        return
    for part in [each for each in picture.parts if each.span.parquet_size is not None][:1]:
        path = table.path / part.span.directory / PARQUET
        try:
            rows = sum(len(chunk) for chunk in islice(ParquetRows(picture, part).chunks(Found()), 4))
            assert rows <= part.span.rows
            for group in read_layout(path).groups[:3]:
                read_row(path, group, group.first + group.rows - 1)
            read_time(path, read_layout(path).groups[0], "ts", 0)
        except (DamageError, OSError, IndexError):
            continue


def _inspection(db: Path) -> None:
    for pattern in _INSPECTED:
        for path in sorted(db.glob(pattern)):
            try:
                inspector = Inspector(path)
            except WalmedicError:
                continue
            with inspector:
                assert inspector.describe().summary
                at = 0
                for _ in range(_SOME):
                    view = inspector.record_at(at)
                    if view is None:
                        break
                    assert view.offset <= at < view.offset + view.size, (path.name, at, view)
                    at = view.offset + view.size
                inspector.record_at(inspector.size - 1)


PARQUET_FILES: Final = parquet_files()
PARTED: Final = next(name.partition("/")[0] for name in PARQUET_FILES if name.startswith("parted"))
_INSPECTED: Final = (
    f"{ALTERED}/*.[ockv]*", f"{KINDS}/20*/*.[kv]*", f"{HOURLY}/_mv*", f"{ALTERED}/_[mtc]*",
    f"{ALTERED}/txn_seq/_*", f"{ALTERED}/wal1/1/_*",
)  # fmt: skip
READERS: Final = (
    Reader("log", _log, (f"{ALTERED}/txn_seq/_txnlog", f"{ALTERED}/txn_seq/_txn_parts/*")),
    Reader("segments", _segments, (f"{ALTERED}/wal1/[01]/_*", f"{HOURLY}/wal1/0/_*")),
    Reader("segment-data", _segment_data, (f"{KINDS}/wal1/0/*", f"{ALTERED}/wal1/0/*")),
    Reader("segment-rows", _segment_rows, (f"{KINDS}/wal1/*", f"{ALTERED}/wal1/*"), _WHOLE),
    Reader(
        "table-rows", _table_rows, (f"{KINDS}/*", f"{ALTERED}/_[mtc]*", f"{ALTERED}/2024-01-01/*", f"{ALTERED}/*.[co]*")
    ),
    Reader("partitions", _partitions, (f"{ALTERED}/_[mtc]*", f"{ALTERED}/2024-01-01/*.d*")),
    Reader("table-txn", _table_txn, (f"{ALTERED}/_txn",)),
    Reader("metadata", _metadata, (f"{ALTERED}/_meta", f"{ALTERED}/txn_seq/_meta", f"{ALTERED}/wal1/1/_meta")),
    Reader("structure", _structure, (f"{ALTERED}/txn_seq/_txnlog.meta.*",)),
    Reader("layout", _layout, ("tables.d.0", "*/_name", "*/_meta", "*/txn_seq/_wal_index.d")),
    Reader("views", _views, (f"{HOURLY}/_mv", f"{HOURLY}/_mv.s")),
    Reader("column-versions", _versions, (f"{ALTERED}/_cv",)),
    Reader("parquet", _parquet, (f"{PARTED}/2024-01-01*/data.parquet",), more=PARQUET_FILES),
    Reader("inspection", _inspection, _INSPECTED, _WHOLE),
    Reader("crashes", _crashes, ("hs_err_pid*.log",)),
    Reader(
        "whole-table",
        _whole_tables,
        (f"{KINDS}/*", f"{KINDS}/20*/*", f"{ALTERED}/_[mtc]*", f"{ALTERED}/20*/*", f"{ALTERED}/*.[ockv]*"),
        _WHOLE,
    ),
    Reader("diagnosis", _diagnosis, ("tables.d.0", "*/_*", "*/wal1/*/*"), _WHOLE),
)

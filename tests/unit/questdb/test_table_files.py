"""`_txn`, `_meta`, `_cv`, sequencer metadata, structure changes and views: whole, and where a part is damaged."""

import struct
from pathlib import Path

import numpy as np
import pytest

from console.questdb.column_types import ColumnTag, is_nanos, storage_size, tag_of, type_name, value_dtype
from console.questdb.column_versions import (
    COLUMN_VERSION,
    DEFAULT_PARTITION,
    SYMBOL_PARTITION,
    parse_column_versions,
    read_column_versions,
)
from console.questdb.layout import DatabaseRoot
from console.questdb.reading import DamageError, Problem, ProblemKind
from console.questdb.sequencer_metadata import (
    DROPPED,
    SequencerColumn,
    SequencerMetadata,
    encode_sequencer_metadata,
    parse_sequencer_metadata,
    read_sequencer_metadata,
)
from console.questdb.structure_log import StructureChange, read_structure_log
from console.questdb.table_metadata import TableMetadata, read_table_identity, read_table_metadata
from console.questdb.table_txn import parse_txn_area, read_table_txn
from console.questdb.view_state import read_view

COLUMNS = (
    SequencerColumn("ts", "ts", 8, False),
    SequencerColumn("gone", "gone", 12, True),
    SequencerColumn("naïve 𝄞", "naïve 𝄞", 27 | 10 << 8, False),
)


def _patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_both_areas_of_txn_are_read(v1: DatabaseRoot) -> None:
    """The current one is where the server stopped; the other is the commit before it."""
    snapshot = read_table_txn(v1.table("altered").path)
    assert snapshot.current is not None
    assert snapshot.other is not None
    assert snapshot.header is not None
    assert snapshot.current.txn == snapshot.header.version == snapshot.other.txn + 1
    assert snapshot.other.seq_txn == snapshot.current.seq_txn - 1
    assert snapshot.current.applied_txn == snapshot.current.seq_txn
    assert snapshot.current.rows == 12 == int(snapshot.current.partitions["rows"].sum())
    assert snapshot.current.structure_version == 3
    assert snapshot.current.lag_checksum == snapshot.current.lag_checksum_expected()
    assert snapshot.problems == ()


def test_a_damaged_current_area_leaves_the_other(v1: DatabaseRoot) -> None:
    """Zeroed, or of another transaction than the header says: told with its place."""
    table = v1.table("altered").path
    healthy = read_table_txn(table)
    assert healthy.current is not None
    base = healthy.current.base
    _patch(table / "_txn", base, struct.pack("<q", 1))
    snapshot = read_table_txn(table)
    assert [(problem.offset, problem.kind) for problem in snapshot.problems] == [(base, ProblemKind.INVALID)]
    _patch(table / "_txn", base + 128, struct.pack("<i", 1 << 30))
    snapshot = read_table_txn(table)
    assert snapshot.current is None
    assert snapshot.other is not None
    assert healthy.other is not None
    assert snapshot.other.seq_txn == healthy.other.seq_txn


def test_a_version_set_back_shows_the_newer_area_as_the_other(v1: DatabaseRoot) -> None:
    """What a power loss may leave: the header page is older than the record."""
    table = v1.table("altered").path
    healthy = read_table_txn(table)
    assert healthy.header is not None
    assert healthy.current is not None
    _patch(table / "_txn", 0, struct.pack("<q", healthy.header.version - 1))
    snapshot = read_table_txn(table)
    assert snapshot.current is not None
    assert snapshot.other is not None
    assert snapshot.problems == ()
    assert (snapshot.current.seq_txn, snapshot.other.seq_txn) == (
        healthy.current.seq_txn - 1,
        healthy.current.seq_txn,
    )


@pytest.mark.parametrize("size", [0, 5, 63, 64, 100])
def test_a_short_txn_is_a_problem(v1: DatabaseRoot, size: int) -> None:
    """Whatever is left of it."""
    path = v1.table("altered").path / "_txn"
    path.write_bytes(path.read_bytes()[:size])
    snapshot = read_table_txn(path.parent)
    assert snapshot.current is None
    assert snapshot.problems[0].kind is ProblemKind.SHORT


def test_lag_and_structure_version_are_decoded() -> None:
    """A negative lag count means unordered; the structure version has three encodings."""
    area = bytearray(136)
    struct.pack_into("<q", area, 80, 40)
    struct.pack_into("<iii", area, 88, 0, -3, 17)
    for stored, structure in ((0x0000000000000005, 5), (0x8000000000000007, 0), (0x0000000200000007, 2)):
        struct.pack_into("<Q", area, 40, stored)
        decoded = parse_txn_area(bytes(area), 64)
        assert (decoded.structure_version, decoded.metadata_version) == (structure, stored & 0xFFFF)
        assert (decoded.applied_txn, decoded.lag_txns, decoded.lag_rows) == (43, 3, 17)
        assert (decoded.offset_seq_txn, decoded.offset_lag_txns) == (144, 156)


def test_table_metadata_of_the_server(v1: DatabaseRoot) -> None:
    """Columns that were added, retyped and dropped; keys, index, unit."""
    metadata = read_table_metadata(v1.table("altered").path)
    assert isinstance(metadata, TableMetadata)
    assert [(c.name, c.type_name, c.dropped, c.dedup_key, c.indexed, c.replaces) for c in metadata.columns] == [
        ("ts", "TIMESTAMP", False, True, False, None),
        ("sym", "SYMBOL", False, True, True, None),
        ("v", "INT", True, False, False, None),
        ("extra", "SYMBOL", True, False, False, None),
        ("v", "LONG", False, False, False, 2),
    ]
    assert (metadata.wal, metadata.has_dedup, metadata.partition_unit, metadata.table_id) == (True, True, "DAY", 5)
    assert metadata.timestamp == metadata.columns[0]
    assert metadata.symbols == (metadata.columns[1],)
    assert metadata.problems == ()


def test_damaged_table_metadata_is_reported(v1: DatabaseRoot) -> None:
    """Missing, short, absurd counts; a wrong version or unit is a problem of a value that is there."""
    table = v1.table("kinds").path
    path = table / "_meta"
    whole = path.read_bytes()
    for offset, value in ((12, 427), (4, 9), (8, 77), (128, 99)):
        path.write_bytes(whole)
        _patch(path, offset, struct.pack("<i", value))
        metadata = read_table_metadata(table)
        assert isinstance(metadata, TableMetadata)
        assert [problem.offset for problem in metadata.problems] == [offset]
    for damaged in (b"", whole[:40], whole[:150], struct.pack("<i", 1 << 30) + whole[4:]):
        path.write_bytes(damaged)
        assert isinstance(read_table_metadata(table), Problem)
    path.write_bytes(whole[:40])
    assert read_table_identity(table).wal is None
    path.unlink()
    missing = read_table_metadata(table)
    assert isinstance(missing, Problem)
    assert missing.kind is ProblemKind.MISSING


@pytest.mark.parametrize("read_order", [None, (0, 1, 2), (2, 1, 0)])
def test_sequencer_metadata_comes_back_as_it_was_encoded(read_order: tuple[int, ...] | None) -> None:
    """With and without the checksum tail, padded to a page."""
    encoded = encode_sequencer_metadata(
        COLUMNS, structure_version=5, timestamp_index=0, table_id=8, read_order=read_order
    )
    metadata = parse_sequencer_metadata(encoded.ljust(4096, b"\0"), Path("_meta"))
    assert metadata.columns == COLUMNS
    assert (metadata.structure_version, metadata.timestamp_index, metadata.table_id) == (5, 0, 8)
    assert (metadata.read_order, metadata.tail_valid) == (read_order, read_order is not None)
    assert metadata.length == len(encoded)
    assert metadata.timestamp == COLUMNS[0]


def test_sequencer_metadata_that_the_server_refuses_is_refused(v1: DatabaseRoot) -> None:
    """The same conditions as its own; a tail that does not fit is only ignored."""
    sequencer = v1.table("altered").sequencer
    path = sequencer / "_meta"
    whole = path.read_bytes()
    healthy = parse_sequencer_metadata(whole, path)
    cases = ((0, 3), (0, 9999), (4, 1), (16, 1 << 30), (20, 5), (20, -2), (20, 1), (29, 99), (33, 5000))
    for offset, value in cases:
        path.write_bytes(whole)
        _patch(path, offset, struct.pack("<i", value))
        problem = read_sequencer_metadata(sequencer)
        assert isinstance(problem, Problem), (offset, value)
        assert problem.kind in (ProblemKind.INVALID, ProblemKind.SHORT)
    path.write_bytes(whole)
    _patch(path, healthy.length - 4 * len(healthy.columns) - 12, b"\x55")
    ignored = read_sequencer_metadata(sequencer)
    assert isinstance(ignored, SequencerMetadata)
    assert not ignored.tail_valid
    assert ignored.columns == healthy.columns
    _patch(path, 8, struct.pack("<q", DROPPED))
    dropped = read_sequencer_metadata(sequencer)
    assert isinstance(dropped, SequencerMetadata)
    assert dropped.dropped
    for empty in (b"", bytes(4096)):
        path.write_bytes(empty)
        assert isinstance(read_sequencer_metadata(sequencer), Problem)


def test_encoding_sequencer_metadata_refuses_what_does_not_fit() -> None:
    """A timestamp beyond the columns, a read order of another length."""
    with pytest.raises(ValueError, match="timestamp index 3"):
        encode_sequencer_metadata(COLUMNS, structure_version=0, timestamp_index=3, table_id=1)
    with pytest.raises(ValueError, match="read order of 1"):
        encode_sequencer_metadata(COLUMNS, structure_version=0, timestamp_index=0, table_id=1, read_order=(0,))


def test_structure_changes_are_read_by_version(v1: DatabaseRoot) -> None:
    """In words; beyond the last, and where the files disagree, a problem."""
    sequencer = v1.table("altered").sequencer
    changes = read_structure_log(sequencer)
    decoded = [changes.change(version) for version in (1, 2, 3)]
    assert [change.summary for change in decoded if isinstance(change, StructureChange)] == [
        "add column extra SYMBOL",
        "change column v to LONG",
        "drop column extra",
    ]
    assert isinstance(changes.change(4), Problem)
    assert isinstance(changes.change(0), Problem)
    _patch(sequencer / "_txnlog.meta.d", int(changes.ends[1]), struct.pack("<i", 5))
    assert isinstance(read_structure_log(sequencer).change(2), Problem)
    assert isinstance(read_structure_log(sequencer).change(1), StructureChange)
    _patch(sequencer / "_txnlog.meta.i", 32, struct.pack("<q", 7))
    assert [problem.offset for problem in read_structure_log(sequencer).problems] == [32]
    (sequencer / "_txnlog.meta.d").write_bytes(bytes(10))
    assert any(problem.kind is ProblemKind.SHORT for problem in read_structure_log(sequencer).problems)
    (sequencer / "_txnlog.meta.i").unlink()
    gone = read_structure_log(sequencer)
    assert (gone.version, gone.missing) == (None, True)


def test_column_versions_answer_as_the_server_does(v1: DatabaseRoot) -> None:
    """Own entry, default entry, symbol entry, none; a column added later has no file before its partition."""
    entries = np.array(
        [
            (DEFAULT_PARTITION, 3, 7, 2000),
            (SYMBOL_PARTITION, 3, 9, 0),
            (1000, 2, 5, 0),
            (2000, 3, 8, 40),
        ],
        COLUMN_VERSION,
    )
    data = struct.pack("<qqqqq", 4, 40, entries.nbytes, 0, 0) + entries.tobytes()
    path = v1.table("kinds").path / "_cv"
    path.write_bytes(data)
    versions = read_column_versions(path.parent)
    assert versions.version == 4
    assert [versions.name_txn(at, column) for at, column in ((1000, 2), (1000, 3), (2000, 3), (1000, 0))] == [
        5,
        7,
        8,
        -1,
    ]
    assert [versions.top(at, 3) for at in (1000, 2000, 3000)] == [None, 40, 0]
    assert versions.top(500, 0) == 0
    assert (versions.symbol_name_txn(3), versions.symbol_name_txn(2)) == (9, -1)
    assert len(parse_column_versions(struct.pack("<qqqqq", 5, 40, 128, 0, 0))[1]) == 0
    for bad in (data[:-1], struct.pack("<qqqqq", 4, 40, 33, 0, 0), struct.pack("<qqqqq", 4, 8, 32, 0, 0), data[:20]):
        with pytest.raises(DamageError):
            parse_column_versions(bad)


def test_a_view_tells_how_far_it_is(v1: DatabaseRoot) -> None:
    """Definition and state; a changed byte breaks the checksum, a missing state is no damage to the definition."""
    table = v1.table("hourly").path
    view = read_view(table)
    assert view.problems == ()
    assert view.definition is not None
    assert view.definition.base_table == "altered"
    assert "sample by 1h" in view.definition.sql
    assert view.state is not None
    assert (view.state.invalid, view.state.reason) == (False, "")
    assert view.state.needs_records_after == view.state.refresh_base_txn > 0
    state = (table / "_mv.s").read_bytes()
    current = 8 if int.from_bytes(state[:8], "little") & 1 else 24
    _patch(table / "_mv.s", 40 + int.from_bytes(state[current : current + 8], "little") + 20, b"\x77")
    damaged = read_view(table)
    assert damaged.state is None
    assert "checksum" in damaged.problems[0].what
    (table / "_mv.s").unlink()
    assert read_view(table).problems[0].kind is ProblemKind.MISSING
    assert read_view(table).definition == view.definition


def test_types_have_names_and_sizes() -> None:
    """With their parameters, as SQL names them."""
    named = {8: "TIMESTAMP", 1 << 18 | 8: "TIMESTAMP_NS", 12: "SYMBOL", 15 | 12 << 8: "GEOHASH(12b)"}
    named |= {
        27 | 10 << 8: "DOUBLE[]",
        27 | 10 << 8 | 1 << 14: "DOUBLE[][]",
        99: "type 99",
        -8: "type -8",
        20: "type 20",
    }
    assert {code: type_name(code) for code in named} == named
    assert [storage_size(code) for code in (1, 8, 13, 19, 26, 27 | 10 << 8, 99)] == [1, 8, 32, 16, 0, 0, None]
    assert all((dtype := value_dtype(tag)) is None or dtype.itemsize == storage_size(tag) for tag in ColumnTag)
    assert [tag_of(0), tag_of(-1), tag_of(12)] == [None, None, ColumnTag.SYMBOL]
    assert [is_nanos(8), is_nanos(1 << 18 | 8)] == [False, True]

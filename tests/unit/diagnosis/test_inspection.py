"""Every byte has a name: headers, records, tails and what lies past the end, and whether zero is normal there."""

import os
import random
from pathlib import Path

import pytest

from console.diagnosis.inspection import Field, FileDescription, FileKind, Inspector
from console.errors import WalmedicError
from console.questdb.formats.database import UPGRADE
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.log_encoding import encode_log_header
from tests.data.samples import sample_database
from tests.unit.diagnosis.conftest import put, record_place, set_applied, zero_record

OFFSET = 0x0CB261F4
TXN = 7_607_751


def describe(path: Path) -> FileDescription:
    with Inspector(path) as inspector:
        return inspector.describe()


def fields_at(path: Path, offset: int) -> tuple[Field, ...]:
    with Inspector(path) as inspector:
        view = inspector.record_at(offset)
        return view.fields if view else ()


@pytest.fixture
def v1(tmp_path: Path) -> TableDirectory:
    """The altered table with a V1 log."""
    return sample_database("v1", tmp_path.resolve() / "v1").table("altered")


def never_altered(folder: Path, size: int) -> Path:
    """Write a sparse V1 log of `size` bytes whose header counts 7,607,751 transactions."""
    log = folder / "_txnlog"
    with log.open("wb") as file:
        file.write(encode_log_header(TXN, 1_700_000_000_000_000))
        file.truncate(size)
    for txn in range(TXN - 30, TXN + 1):
        at = 76 + 28 * (txn - 1)
        if at + 28 <= size:
            put(log, at, "<qiiiq", 0, 3, 12, txn % 100, 1_762_741_571_402_817)
    return log


def test_the_report_s_eight_zero_bytes_are_normal(tmp_path: Path) -> None:
    log = never_altered(tmp_path, 213_020_672)
    with Inspector(log) as inspector:
        view = inspector.record_at(OFFSET)
        assert view is not None
        assert (view.seq_txn, view.offset, view.size) == (TXN, OFFSET, 28)
        field = view.field_at(OFFSET)
    assert field is not None
    assert (field.name, field.value, field.is_normal) == ("structure version", "0", True)
    assert "structure version of seqTxn 7,607,751, zero is its normal value" in field.meaning


def test_one_page_short_the_byte_is_past_the_end_and_the_header_wants_it(tmp_path: Path) -> None:
    log = never_altered(tmp_path, 213_016_576)
    assert "file holds 7,607,732" in describe(log).summary
    field = fields_at(log, OFFSET)[0]
    assert (field.missing, field.is_normal) == (True, False)
    assert "structure version of seqTxn 7,607,751, zero is its normal value" in field.meaning
    assert "the header counts 7,607,751 transactions" in field.meaning


def test_on_an_altered_table_a_zero_there_is_not_normal(v1: TableDirectory) -> None:
    log = v1.sequencer / "_txnlog"
    at = 76 + 28 * 8
    assert fields_at(log, at)[0].is_normal  # version 3, as of the record before it
    put(log, at, "<q", 0)
    field = fields_at(log, at)[0]
    assert (field.value, field.is_normal) == ("0", False)
    assert "zero is not normal here" in field.meaning
    put(log, at, "<q", 7)
    assert not fields_at(log, at)[0].is_normal
    first = fields_at(log, 76)[0]
    assert (first.value, first.is_normal) == ("0", True)


def test_a_zeroed_record_is_damage_only_where_it_waits(database: DatabaseRoot, altered: TableDirectory) -> None:
    path, at, _ = record_place(altered, 8)
    zero_record(altered, 8)
    applied = {field.name: field for field in fields_at(path, at)}
    assert applied["walId"].is_normal
    assert "never read again" in applied["walId"].meaning
    set_applied(altered, 7)
    waiting = {field.name: field for field in fields_at(path, at)}
    assert not waiting["walId"].is_normal


def test_the_tail_behind_the_last_record(v1: TableDirectory) -> None:
    log = v1.sequencer / "_txnlog"
    (tail,) = fields_at(log, 76 + 28 * 9)
    assert (tail.value, tail.is_normal) == ("zeros", True)
    put(log, 76 + 28 * 9 + 8, "<i", 1)
    assert not fields_at(log, 76 + 28 * 9)[0].is_normal


def test_header_of_a_log(v1: TableDirectory) -> None:
    log = v1.sequencer / "_txnlog"
    fields = {field.name: field for field in fields_at(log, 5)}
    assert (fields["maxTxn"].value, fields["maxTxn"].offset, fields["maxTxn"].size) == ("9", 4, 8)
    assert all(field.is_normal for field in fields.values())
    put(log, 4, "<q", 100_000)
    assert not next(field for field in fields_at(log, 5) if field.name == "maxTxn").is_normal


def test_what_each_file_is(database: DatabaseRoot, altered: TableDirectory) -> None:
    kinds = {
        "txn_seq/_txnlog.meta.i": FileKind.STRUCTURE_INDEX,
        "txn_seq/_txnlog.meta.d": FileKind.STRUCTURE_CHANGES,
        "txn_seq/_wal_index.d": FileKind.WAL_INDEX,
        "txn_seq/_meta": FileKind.SEQUENCER_METADATA,
        "_txn": FileKind.TABLE_TXN,
        "_meta": FileKind.TABLE_METADATA,
        "_cv": FileKind.COLUMN_VERSIONS,
        "wal1/0/_event": FileKind.SEGMENT_EVENTS,
        "wal1/0/_event.i": FileKind.SEGMENT_EVENT_INDEX,
        "wal1/0/_meta": FileKind.SEGMENT_METADATA,
        "../tables.d.0": FileKind.REGISTRY,
        "../_upgrade.d": FileKind.UPGRADE,
        "_todo_": FileKind.TODO,
        "sym.k": FileKind.INDEX_KEYS,
    }
    (database.db / "_upgrade.d").write_bytes(UPGRADE.pack(table_version=426, migration_version=427))
    found = {name: describe((altered.path / name).resolve()) for name in kinds}
    assert {name: each.kind for name, each in found.items()} == kinds
    assert found["txn_seq/_txnlog.meta.i"].summary == "3 structure changes"
    assert found["_txn"].summary == "seqTxn 9"
    assert found["../_upgrade.d"].summary == "table version 426"
    assert found["txn_seq/_wal_index.d"].summary == "highest wal id 1"


def test_a_log_s_records_are_known_by_base_size_and_count(database: DatabaseRoot, altered: TableDirectory) -> None:
    path, _, _ = record_place(altered, 9)
    about = describe(path)
    if about.kind is FileKind.LOG_V1:
        assert (about.record_base, about.record_size, about.record_count, about.seq_txn_base) == (76, 28, 9, 1)
    else:
        assert about.kind is FileKind.LOG_PART
        assert (about.record_base, about.record_size, about.record_count, about.seq_txn_base) == (0, 60, 3, 7)
        assert describe(altered.sequencer / "_txnlog").kind is FileKind.LOG_V2


def test_whole_files_have_no_field_that_is_not_normal(database: DatabaseRoot) -> None:
    """Every byte of every file of the sample: named, inside its file, and normal."""
    for path in sorted(database.db.rglob("*")):
        if not path.is_file():
            continue
        with Inspector(path) as inspector:
            at = 0
            while at < inspector.size:
                view = inspector.record_at(at)
                if view is None:
                    assert inspector.kind is FileKind.OTHER
                    break
                assert view.offset <= at < view.offset + view.size, (path, at, view)
                for field in view.fields:
                    assert field.is_normal, (path, field)
                    assert view.offset <= field.offset < field.end <= view.offset + view.size, (path, field)
                at = view.offset + view.size


def test_symbol_maps_indexes_and_views_are_named_field_by_field(
    database: DatabaseRoot, altered: TableDirectory
) -> None:
    """A symbol leads from its offset to its text and back; a view's state and statement are readable."""
    offsets, symbols = altered.path / "sym.o", altered.path / "sym.c"
    first, second = fields_at(offsets, 64)[0], fields_at(offsets, 72)[0]
    assert (first.name, first.value, first.is_normal) == ("offset of symbol 0", "0", True)
    text = fields_at(symbols, 5)[0]
    assert (text.name, text.offset, str(text.size)) == ("symbol 0", 0, second.value)
    assert f'"{text.value}"' in first.meaning
    put(offsets, 72, "<q", 1)
    assert not fields_at(offsets, 72)[0].is_normal
    assert not fields_at(symbols, 0)[0].is_normal
    put(offsets, 0, "<i", -1)
    assert not fields_at(offsets, 0)[0].is_normal
    keys = {field.name: field for field in fields_at(altered.path / "sym.k", 30)}
    assert (keys["signature"].value, keys["sequence check"].is_normal) == ("0xfa", True)
    assert fields_at(altered.path / "sym.v", 0)[0].name == "offset in .o"
    view = database.table("hourly").path
    with Inspector(view / "_mv.s") as inspector:
        named = {field.name: field.value for each in inspector.views() for field in each.fields}
    assert (named["invalid"], inspector.kind) == ("0", FileKind.VIEW_STATE)
    with Inspector(view / "_mv") as inspector:
        named = {field.name: field.value for each in inspector.views() for field in each.fields}
    assert named["base table"] == "altered"
    assert "sample by 1h" in named["statement"]


def test_damaged_files_never_raise(database: DatabaseRoot, altered: TableDirectory) -> None:
    rng = random.Random(7)
    paths = [path for name in ("_*", "*.[ockv]") for path in altered.path.rglob(name) if path.is_file()]
    for path in paths:
        whole = path.read_bytes()
        for _ in range(25):
            mutant = bytearray(whole[: rng.choice((len(whole), len(whole), rng.randrange(len(whole) + 1)))])
            for _ in range(rng.randint(0, 12) if mutant else 0):
                mutant[rng.randrange(len(mutant))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            path.write_bytes(mutant)
            with Inspector(path) as inspector:
                inspector.describe()
                inspector.record_of(3)
                for offset in (0, 4, 20, 76, 104, 130, rng.randrange(5000), len(mutant), 1 << 40):
                    inspector.record_at(offset)
        path.write_bytes(whole)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(WalmedicError, match="no such file"):
        describe(tmp_path / "none")
    (tmp_path / "_txn").symlink_to("/etc/passwd")
    with pytest.raises(WalmedicError, match="cannot be read"):
        describe(tmp_path / "_txn")
    os.mkfifo(tmp_path / "_event")
    with pytest.raises(WalmedicError):
        describe(tmp_path / "_event")

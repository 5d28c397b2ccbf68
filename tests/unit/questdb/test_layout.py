"""Tables, sequencers, copies of them, WALs and locks: what is found, what is left out, what is refused."""

import os
import shutil
import struct
from pathlib import Path

import pytest

from console.errors import WalmedicError
from console.questdb.conversion import read_conversion
from console.questdb.layout import DatabaseRoot
from console.questdb.registry import TableKind, parse_registry, read_registry
from console.questdb.table_name import is_system_name, parse_table_name
from console.questdb.wal_index import read_wal_index


def _string(text: str) -> bytes:
    return struct.pack("<i", len(text)) + text.encode("utf-16-le")


def _entry(name: str, directory: str, *, removed: bool = False, kind: int = 1) -> bytes:
    start = struct.pack("<i", -1 if removed else 0) + _string(name) + _string(directory) + struct.pack("<ii", 7, kind)
    return start if removed else start + bytes(64)


def _registry(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return (struct.pack("<q", 8 + len(body)) + body).ljust(4096, b"\0")


def test_a_root_is_found_from_either_directory(v1: DatabaseRoot, tmp_path: Path) -> None:
    """The data root, its db directory, or a link to it; the path that results is canonical."""
    assert DatabaseRoot.locate(v1.root) == DatabaseRoot.locate(v1.db) == v1
    link = tmp_path / "link"
    link.symlink_to(v1.root)
    assert DatabaseRoot.locate(link) == v1
    assert v1.lock == v1.db / "tables.d.lock"


def test_a_copy_of_the_db_directory_may_have_any_name(v1: DatabaseRoot) -> None:
    """On another machine it need not be called db."""
    copy = v1.root.with_name("evidence")
    v1.db.rename(copy)
    assert DatabaseRoot.locate(copy).db == copy


@pytest.mark.parametrize(("name", "words"), [("none", "No such file"), ("file", "not a directory"), ("", "neither")])
def test_what_is_no_root_is_refused_with_a_sentence(name: str, words: str, tmp_path: Path) -> None:
    """Missing, a file, a directory with neither db/ nor tables."""
    (tmp_path / "file").touch()
    with pytest.raises(WalmedicError, match=words) as caught:
        DatabaseRoot.locate(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_tables_come_from_registry_and_directories(v1: DatabaseRoot) -> None:
    """Without a registry the directories themselves say what they are, and the result is the same."""
    tables = v1.tables()
    assert [(t.name, t.directory, t.wal, t.is_view, t.system, t.registered) for t in tables] == [
        ("altered", "altered~5", True, False, False, True),
        ("hourly", "hourly~7", True, True, False, True),
        ("kinds", "kinds~6", True, False, False, True),
    ]
    (v1.db / "tables.d.0").unlink()
    again = v1.tables()
    assert [(t.name, t.table_id, t.wal, t.is_view) for t in again] == [
        (t.name, t.table_id, t.wal, t.is_view) for t in tables
    ]
    assert not any(t.registered for t in again)


def test_a_renamed_table_keeps_its_directory(v1: DatabaseRoot) -> None:
    """A rename is a removal and an addition; the highest N is in force."""
    (v1.db / "tables.d.3").write_bytes(
        _registry(_entry("kinds", "kinds~6"), _entry("kinds", "kinds~6", removed=True), _entry("types", "kinds~6"))
    )
    assert v1.table("types").directory == "kinds~6"
    assert v1.table("kinds~6").name == "types"
    with pytest.raises(WalmedicError, match="no table kinds"):
        v1.table("kinds")


def test_a_dropped_table_is_left_out_until_asked_for(v1: DatabaseRoot) -> None:
    """Its directory may still be there."""
    (v1.db / "tables.d.3").write_bytes(_registry(_entry("kinds", "kinds~6"), _entry("kinds", "kinds~6", removed=True)))
    assert "kinds" not in {table.name for table in v1.tables()}
    assert {table.name: table.dropped for table in v1.tables(dropped=True)}["kinds"]


def test_of_two_directories_of_one_name_none_is_guessed(v1: DatabaseRoot) -> None:
    """The registry says which of them is the table; without it only the name of a directory does."""
    table = next(each for each in v1.tables() if each.wal and not each.system)
    copy = f"{table.directory}7"
    shutil.copytree(table.path, v1.db / copy)
    assert v1.doubles() == ()
    assert v1.table(table.raw_name).directory == table.directory
    for path in v1.db.glob("tables.d.[0-9]*"):
        path.write_bytes(bytes(4096))
    assert [sorted(each.directory for each in group) for group in v1.doubles()] == [sorted([table.directory, copy])]
    with pytest.raises(WalmedicError, match="2 directories are called"):
        v1.table(table.raw_name)
    assert [v1.table(name).directory for name in (copy, table.directory)] == [copy, table.directory]


def test_a_registered_table_without_txn_stays_in_sight(v1: DatabaseRoot) -> None:
    """To the server it does not exist; an operator must not lose sight of it."""
    (v1.db / "kinds~6" / "_txn").unlink()
    assert v1.table("kinds").registered


def test_hostile_names_are_cleaned_for_showing_only(v1: DatabaseRoot) -> None:
    """SQL needs the name as it is."""
    (v1.db / "tables.d.3").write_bytes(_registry(_entry("ki\x1b[31mnds", "kinds~6")))
    table = next(table for table in v1.tables() if table.directory == "kinds~6")
    assert (table.name, table.raw_name) == ("kinds", "ki\x1b[31mnds")


def test_symlinks_are_reported_and_not_followed(v1: DatabaseRoot, tmp_path: Path) -> None:
    """In place of what is no table, of a WAL, of a segment. A link to a table, as QuestDB makes it, is one."""
    elsewhere = tmp_path.resolve() / "elsewhere"
    shutil.move(v1.db / "kinds~6", elsewhere)
    (v1.db / "kinds~6").symlink_to(elsewhere)
    (v1.db / "other~7").symlink_to(tmp_path)
    assert {"kinds"} == {table.name for table in v1.tables() if table.directory in ("kinds~6", "other~7")}
    assert [problem.file.name for problem in v1.listing_problems()] == ["other~7"]
    table = v1.table("altered")
    (table.path / "wal9").symlink_to(elsewhere)
    (table.path / "wal1" / "7").symlink_to(elsewhere)
    assert [(wal.id, wal.segments) for wal in table.wals()] == [(1, (0, 1, 2))]
    assert {problem.file.name for problem in table.listing_problems()} == {"wal9", "7"}


def test_wals_are_known_by_their_exact_names(v1: DatabaseRoot) -> None:
    """Ordered by number; locks beside them, there or not."""
    table = v1.table("altered")
    for name in ("wal10", "wal2", "wal", "wal01", "wal0", "walx", "wal2.lock"):
        (table.path / name).mkdir()
    (table.path / "wal2" / "11").mkdir()
    (table.path / "wal2" / "2").mkdir()
    (table.path / "wal2" / "02").mkdir()
    wals = {wal.id: wal for wal in table.wals()}
    assert list(wals) == [1, 2, 10]
    assert wals[2].segments == (2, 11)
    assert wals[2].segment(11) == table.path / "wal2" / "11"


def test_copies_of_a_sequencer_are_found_by_name_and_by_content(v1: DatabaseRoot) -> None:
    """The incident's three copies, a moved log under any name, and not the sequencer itself."""
    table = v1.table("altered")
    for name in ("txn_seq.backup.20251110_032030", "txn_seq.corrupted.20251110_032025", "old"):
        shutil.copytree(table.sequencer, table.path / name)
    (table.path / "empty").mkdir()
    assert [path.name for path in table.sequencer_backups()] == [
        "old", "txn_seq.backup.20251110_032030", "txn_seq.corrupted.20251110_032025",
    ]  # fmt: skip


def test_a_registry_that_changes_in_place_is_read_anew(tmp_path: Path) -> None:
    """A server writes through a mapping: neither the size nor the time of the file need change."""
    path = tmp_path / "tables.d.0"
    for name in ("one", "two"):
        path.write_bytes(_registry(_entry(name, f"{name}~1")))
        os.utime(path, (1_700_000_000, 1_700_000_000))
        assert [entry.name for entry in read_registry(tmp_path).entries] == [name]


def test_a_damaged_registry_gives_what_comes_before_the_damage() -> None:
    """And says where it stops."""
    data = bytearray(_registry(_entry("a", "a~1"), _entry("b", "b~2", kind=2), _entry("c", "c~3")))
    size = len(_entry("a", "a~1"))
    data[8 + 2 * size : 12 + 2 * size] = struct.pack("<i", 5)
    entries, problems = parse_registry(bytes(data), Path("tables.d.0"))
    assert [(entry.name, entry.kind) for entry in entries] == [
        ("a", TableKind.WAL),
        ("b", TableKind.MATERIALIZED_VIEW),
    ]
    assert problems[0].offset == 8 + 2 * size
    assert parse_registry(struct.pack("<qq", 0, 0), Path("x")) == ((), ())
    assert parse_registry(b"short", Path("x"))[1]


def test_names_and_small_markers(v1: DatabaseRoot) -> None:
    """`_name`, `_convert`, `_wal_index.d`: whole, absent, damaged."""
    table = v1.table("kinds").path
    assert parse_table_name((table / "_name").read_bytes()) == "kinds"
    assert parse_table_name((table / "_name").read_bytes() + b"\0") is None
    assert [is_system_name(name) for name in ("sys.x", "telemetry", "_query_trace", "system", "trades")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert not read_conversion(table).present
    (table / "_convert").write_bytes(b"\0")
    assert read_conversion(table).target is TableKind.NON_WAL
    (table / "_convert").write_bytes(b"\x09")
    assert (read_conversion(table).present, read_conversion(table).target) == (True, None)
    assert read_wal_index(table / "txn_seq").highest == 1
    index = table / "txn_seq" / "_wal_index.d"
    index.write_bytes(struct.pack("<q", -5))
    assert read_wal_index(table / "txn_seq").problems
    os.truncate(index, 7)
    assert (read_wal_index(table / "txn_seq").highest, read_wal_index(table / "txn_seq").present) == (None, True)
    index.unlink()
    assert not read_wal_index(table / "txn_seq").present

"""What the guard takes and what it leaves: nothing that is damaged, nothing twice, not more than it may."""

import json
import os
import shutil
import struct
import time
from pathlib import Path

import pytest

from console import cli
from console.errors import WalmedicError
from console.questdb.formats.table import META_HEADER
from console.questdb.layout import DatabaseRoot
from console.questdb.registry import encode_registry, read_registry
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import read_log
from console.recovery.guard.copies import all_copies, copies_of
from console.recovery.guard.state import read_state
from console.recovery.guard.taking import REGISTRY, Guard
from console.recovery.guard.thinning import bytes_used, make_room, outlived
from tests.data.samples import sample_database

_TABLE = "altered"


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "copies"


@pytest.fixture
def database(tmp_path: Path, copies: Path) -> DatabaseRoot:
    return sample_database("v1", tmp_path / "root").guarded(copies)


def _round(database: DatabaseRoot, copies: Path) -> dict[str, str]:
    with Guard(database, copies, 1 << 30) as guard:
        return dict(guard.round().left_out)


def test_a_round_takes_every_table_and_the_next_one_nothing(database: DatabaseRoot, copies: Path) -> None:
    assert _round(database, copies) == {}
    taken = sorted(str(path) for path in copies.rglob("*"))
    table = database.table(_TABLE)
    found = list(copies_of(table))
    assert [copy.number for copy in found] == [1]
    for name in ("_txn", "_meta", "_cv"):
        assert (found[0].folder / name).read_bytes() == (table.path / name).read_bytes()
    mirror, live = read_log(table.guard_mirrors()[0]), read_log(table.sequencer)
    assert live.max_txn
    assert (mirror.records(1, live.max_txn) == live.records(1, live.max_txn)).all()
    assert all_copies(copies / REGISTRY)
    assert _round(database, copies) == {}
    assert sorted(str(path) for path in copies.rglob("*")) == taken


@pytest.mark.parametrize("name", ["_txn", "_meta", "_cv", "txn_seq/_txnlog", "txn_seq/_meta"])
def test_what_is_damaged_is_not_taken_over_what_was_whole(database: DatabaseRoot, copies: Path, name: str) -> None:
    _round(database, copies)
    table = database.table(_TABLE)
    before = list(copies_of(table))
    log = [path.read_bytes() for path in sorted(table.guard_mirrors()[0].rglob("*")) if path.is_file()]
    damaged = table.path / name
    for content in (bytes(damaged.stat().st_size), damaged.read_bytes()[:70], b""):
        damaged.write_bytes(content)
        assert set(_round(database, copies)) == {table.directory}
        assert [copy.event for copy in copies_of(table)] == [copy.event for copy in before]
        assert [p.read_bytes() for p in sorted(table.guard_mirrors()[0].rglob("*")) if p.is_file()] == log


def test_a_copy_that_was_changed_is_not_used(database: DatabaseRoot, copies: Path) -> None:
    _round(database, copies)
    table = database.table(_TABLE)
    copy = next(copies_of(table))
    (copy.folder / "_txn").write_bytes(bytes(200))
    assert list(copies_of(table)) == []


def test_a_copy_of_another_table_is_not_used(database: DatabaseRoot, copies: Path) -> None:
    _round(database, copies)
    table = database.table(_TABLE)
    other = next(t for t in database.tables() if t.wal and t.table_id != table.table_id)
    assert table.guard is not None
    assert other.guard is not None
    table.guard.rename(copies / "aside")
    other.guard.rename(table.guard)
    assert list(copies_of(table)) == []


def test_one_folder_is_of_one_database_and_one_guard(database: DatabaseRoot, copies: Path, tmp_path: Path) -> None:
    other = sample_database("v2", tmp_path / "other")
    with Guard(database, copies, 1 << 30), pytest.raises(WalmedicError, match="another guard"):
        Guard(database, copies, 1 << 30).__enter__()
    with pytest.raises(WalmedicError, match="copies of"):
        Guard(other, copies, 1 << 30).__enter__()
    with pytest.raises(WalmedicError, match="inside the data root"):
        Guard(database, database.root / "copies", 1 << 30).__enter__()


def test_it_stops_at_the_bytes_that_it_may_take(database: DatabaseRoot, copies: Path) -> None:
    with Guard(database, copies, 1) as guard:
        guard.round()
        before = bytes_used(copies)
        log = database.table(_TABLE).path / "_cv"
        log.write_bytes(log.read_bytes() + bytes(4096))
        state = guard.round()
    assert "guard.most_mib" in state.left_out[database.table(_TABLE).directory]
    assert bytes_used(copies) <= before + 8192  # the note of the round


def test_the_older_the_fewer(database: DatabaseRoot, copies: Path) -> None:
    _round(database, copies)
    table = database.table(_TABLE)
    assert table.guard is not None
    copy = all_copies(table.guard)[0]
    now = copy.seconds
    assert outlived([copy], now + 10**9) == []  # the newest always stays
    for age, gone in ((100, 0), (1800, 2), (20_000, 2), (10**7, 3)):
        assert len(outlived([copy] * 4, now + age)) == gone, age


def test_the_command_says_what_it_did(
    database: DatabaseRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "log"))
    place = ["--once", "--db-root", str(database.root), "--state-dir", str(tmp_path / "state")]
    assert cli.run(["guard", *place, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["guard"]
    assert document["copied"] == document["tables"] + 1
    state = read_state(tmp_path / "state/guard")
    assert state is not None
    assert state.used == document["used"]
    (database.table(_TABLE).path / "_txn").write_bytes(b"")
    assert cli.run(["guard", *place]) == 4
    assert f"{_TABLE}~" in capsys.readouterr().out


def test_where_room_lacks_dropped_tables_go_first_and_lost_ones_stay(database: DatabaseRoot, copies: Path) -> None:
    _round(database, copies)
    gone, lost = database.table(_TABLE).directory, database.table("kinds").directory
    for directory in (gone, lost):
        (database.db / directory).rename(copies.parent / directory)
    registry = read_registry(database.db)
    assert registry.path is not None
    kept = [each for each in registry.entries if each.directory != gone]
    registry.path.write_bytes(encode_registry(kept))
    with Guard(database, copies, bytes_used(copies) - 1) as guard:
        guard.round()
    assert not (copies / gone).exists()
    assert all_copies(copies / lost)
    assert make_room(copies, 0) > 0  # the newest copy of each stays


def test_of_a_table_without_wal_a_copy_of_its_very_state_is_used(database: DatabaseRoot, copies: Path) -> None:
    """It has no log that would tell one life from another: a backup that was put back may have gone on otherwise."""
    folder = database.table(_TABLE).path
    metadata = bytearray((folder / "_meta").read_bytes())
    metadata[META_HEADER.at("wal")] = 0
    (folder / "_meta").write_bytes(metadata)
    for name in ("txn_seq", "wal1"):
        shutil.rmtree(folder / name)
    for registry in database.db.glob("tables.d*"):
        registry.unlink()  # it lists tables with WAL alone
    assert _TABLE not in str(_round(database, copies))
    table = database.table(_TABLE)
    assert [copy.mirror for copy in copies_of(table)] == [""]
    written = next(folder.glob("2024-*/ts.d"))
    os.utime(written, (time.time() + 60, time.time() + 60))
    assert list(copies_of(table)) == []
    os.utime(written, (0, 0))
    state = bytearray((folder / "_txn").read_bytes())
    at = read_table_txn(folder).current
    assert at is not None
    state[at.base : at.base + 8] = struct.pack("<q", at.txn + 1)
    (folder / "_txn").write_bytes(state)
    assert list(copies_of(table)) == []

"""Cloning: everything of a table, nothing that leads back to the original, and only where there is room."""

import errno
import fcntl
import hashlib
import os
import struct
from pathlib import Path

import pytest

from console.copying import copy_data
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.rehearsal import cloning
from console.recovery.rehearsal.cloning import make_clone, shares_blocks, space_in
from console.recovery.rehearsal.selection import CloneError, CloneSelection, find_table, select

T = "trades~1"


def registry(*directories: str) -> bytes:
    """Return a `tables.d.0` that adds WAL tables in these directories, named by what stands before the `~`."""
    content = b""
    for number, directory in enumerate(directories, start=1):
        content += struct.pack("<i", 0)
        for text in (directory.rpartition("/")[2].partition("~")[0], directory):
            content += struct.pack("<i", len(text)) + text.encode("utf-16-le")
        content += struct.pack("<ii", number, 1) + bytes(64)
    return struct.pack("<q", 8 + len(content)) + content


@pytest.fixture
def database(tmp_path: Path) -> DatabaseRoot:
    db = tmp_path / "station/db"
    for directory in ("2024-01-01", "2024-01-02.3", "txn_seq", "txn_seq.backup.1", "wal1/0"):
        (db / T / directory).mkdir(parents=True)
    (db / T / "_txn").write_bytes(b"txn" * 100)
    (db / T / "sym.k").write_bytes(b"keys")
    (db / T / "wal1/sym.k").hardlink_to(db / T / "sym.k")
    (db / T / "2024-01-01/px.d").write_bytes(os.urandom(70_000))
    (db / "other~2").mkdir()
    (db / "other~2/_txn").write_bytes(b"other")
    (db / "tables.d.0").write_bytes(registry(T, "other~2"))
    (db / "tables.d.lock").write_bytes(b"")
    for name in ("_tab_index.d", "_upgrade.d", ".data_id"):
        (db / name).write_bytes(name.encode())
    conf = tmp_path / "station/conf"
    conf.mkdir()
    (conf / "server.conf").write_text(f"cairo.root={db}\n")
    return DatabaseRoot.locate(tmp_path / "station")


def tree(root: Path) -> dict[str, tuple[int, int, int, str]]:
    """Return mode, mtime, inode and content of all below `root`."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, status.st_ino, content)
    return found


def clone(database: DatabaseRoot, to: Path, share: bool = False) -> CloneSelection:
    selection = select(database, find_table(database, "trades"))
    make_clone(database, selection, to, share=share)
    return selection


def test_the_clone_holds_the_table_and_the_registry_and_nothing_else(database: DatabaseRoot, tmp_path: Path) -> None:
    before = tree(database.root)
    selection = clone(database, tmp_path / "clone")
    assert tree(database.root) == before
    copied = tree(tmp_path / "clone")
    wanted = {
        path.removeprefix("db/"): facts
        for path, facts in before.items()
        if path.startswith(("db/trades", "db/tables", "db/_", "db/.data"))
    }
    assert set(copied) == set(wanted)
    for path, (mode, mtime, inode, content) in wanted.items():
        if path == "tables.d.lock":
            continue
        assert copied[path] == (mode, mtime, copied[path][2], content), path
        assert copied[path][2] != inode
    assert selection.size == sum(len((database.db / f.path).read_bytes()) for f in selection.files)


def test_hard_links_become_files_by_themselves(database: DatabaseRoot, tmp_path: Path) -> None:
    clone(database, tmp_path / "clone")
    for name in ("sym.k", "wal1/sym.k"):
        assert (tmp_path / "clone" / T / name).stat().st_nlink == 1
    (tmp_path / "clone" / T / "sym.k").write_bytes(b"written by a server")
    assert (tmp_path / "clone" / T / "wal1/sym.k").read_bytes() == b"keys"
    assert (database.db / T / "sym.k").read_bytes() == b"keys"


def test_holes_stay_holes_and_are_not_counted(database: DatabaseRoot, tmp_path: Path) -> None:
    log = database.db / T / "txn_seq/_txnlog"
    with log.open("wb") as stream:
        stream.write(b"header")
        stream.seek(50 << 20)
        stream.write(b"tail")
        stream.truncate(60 << 20)
    selection = clone(database, tmp_path / "clone")
    copied = tmp_path / "clone" / T / "txn_seq/_txnlog"
    assert copied.stat().st_size == 60 << 20
    assert hashlib.sha256(copied.read_bytes()).digest() == hashlib.sha256(log.read_bytes()).digest()
    assert copied.stat().st_blocks * 512 <= log.stat().st_blocks * 512 < 1 << 20
    assert selection.on_disk < 2 << 20 < selection.size


@pytest.mark.parametrize("place", ["2024-01-03", "txn_seq/_txnlog", "wal1/0/px.d", "wal2"])
def test_a_link_inside_the_table_is_refused_by_name(database: DatabaseRoot, tmp_path: Path, place: str) -> None:
    (tmp_path / "cold").mkdir()
    (database.db / T / place).symlink_to(tmp_path / "cold")
    with pytest.raises(CloneError, match=rf"{T}/{place} is a symbolic link"):
        select(database, find_table(database, "trades"))


def test_a_linked_table_directory_is_refused(database: DatabaseRoot, tmp_path: Path) -> None:
    (database.db / T).rename(tmp_path / "elsewhere")
    (database.db / T).symlink_to(tmp_path / "elsewhere")
    for name in ("trades", T):
        with pytest.raises(CloneError, match=rf"{T} is a symbolic link"):
            find_table(database, name)


def test_a_fifo_neither_hangs_nor_is_copied(database: DatabaseRoot) -> None:
    os.mkfifo(database.db / T / "2024-01-01/pipe")
    with pytest.raises(CloneError, match="special file"):
        select(database, find_table(database, "trades"))


@pytest.mark.parametrize("elsewhere", ["../../station/db/other~2", "/srv/questdb/db/other~2", ".."])
def test_a_registry_that_leads_out_of_the_database_is_refused(database: DatabaseRoot, elsewhere: str) -> None:
    (database.db / "tables.d.0").write_bytes(registry(T, elsewhere))
    with pytest.raises(CloneError, match="outside the database"):
        select(database, find_table(database, "trades"))


def test_a_linked_registry_is_refused(database: DatabaseRoot, tmp_path: Path) -> None:
    (database.db / "_tab_index.d").rename(tmp_path / "index")
    (database.db / "_tab_index.d").symlink_to(tmp_path / "index")
    with pytest.raises(CloneError, match="_tab_index"):
        select(database, find_table(database, "trades"))


def test_a_file_that_becomes_a_link_after_the_check_is_not_followed(database: DatabaseRoot, tmp_path: Path) -> None:
    selection = select(database, find_table(database, "trades"))
    (database.db / T / "_txn").unlink()
    (database.db / T / "_txn").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match=r"(?i)symbolic links|link"):
        make_clone(database, selection, tmp_path / "clone", share=False)


def test_a_file_that_changes_while_it_is_read_ends_the_clone(
    database: DatabaseRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = copy_data

    def copy_and_change(reading: int, writing: int, size: int) -> None:
        original(reading, writing, size)
        with (database.db / T / "_txn").open("ab") as stream:
            stream.write(b"!")

    monkeypatch.setattr(cloning, "copy_data", copy_and_change)
    selection = select(database, find_table(database, "trades"))
    with pytest.raises(CloneError, match="changed while it was cloned"):
        make_clone(database, selection, tmp_path / "clone", share=False)


def test_blocks_are_shared_only_where_the_file_system_does(
    database: DatabaseRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def no_reflink(writing: int, request: int, reading: int) -> int:
        calls.append(request)
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "ioctl", no_reflink)
    assert not shares_blocks(database.db / T / "_txn", tmp_path)
    assert calls == [0x40049409]
    assert not list(tmp_path.glob(".reflink*"))
    clone(database, tmp_path / "clone", share=True)  # asked for all the same: it is copied
    assert (tmp_path / "clone" / T / "_txn").read_bytes() == b"txn" * 100


def test_a_reflink_that_fails_for_real_is_an_error(
    database: DatabaseRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(writing: int, request: int, reading: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "ioctl", broken)
    with pytest.raises(OSError, match="Input/output"):
        shares_blocks(database.db / T / "_txn", tmp_path)


def test_the_reserve_stays_free(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    free = status.f_bavail * status.f_frsize
    reserve = min(status.f_blocks * status.f_frsize // 10, 5 << 30)
    assert space_in(tmp_path, 1).enough is (free > reserve)
    assert not space_in(tmp_path, free - reserve + (64 << 20)).enough


def test_a_table_that_is_not_there_is_named(database: DatabaseRoot) -> None:
    with pytest.raises(WalmedicError, match="no table nothing"):
        find_table(database, "nothing")

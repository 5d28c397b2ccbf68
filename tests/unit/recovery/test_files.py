"""Writing under a root: no link followed, no other hard link reached, nothing outside, owner and mode as told."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console.recovery.tree.pieces import Owner, Piece
from console.recovery.tree.tree import Tree, UnsafePathError, parts_of

_OWNER = Owner(os.geteuid(), os.getegid(), 0o640, 0o750)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A root with one table, and something precious outside."""
    (tmp_path / "db" / "t~1" / "txn_seq").mkdir(parents=True)
    (tmp_path / "db" / "t~1" / "_txn").write_bytes(b"txn")
    (tmp_path / "db" / "t~1" / "txn_seq" / "_txnlog").write_bytes(b"log")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "_txnlog").write_bytes(b"precious")
    with Tree(tmp_path / "db") as opened:
        yield opened


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../outside/x", "t~1/../../outside/x", "t~1/\0", ".."])
def test_paths_that_leave_the_root_are_refused(tree: Tree, path: str) -> None:
    with pytest.raises(UnsafePathError):
        parts_of(path)
    with pytest.raises(UnsafePathError):
        tree.write_new(path, 1, [], _OWNER)


def test_no_component_may_be_a_link(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "db" / "linked").symlink_to(tmp_path / "outside")
    (tmp_path / "db" / "t~1" / "file").symlink_to(tmp_path / "outside" / "_txnlog")
    works: tuple[Callable[[], None], ...] = (
        lambda: tree.write_new("linked/new", 1, [], _OWNER),
        lambda: tree.remove_file("linked/_txnlog"),
        lambda: tree.rename("linked/_txnlog", "t~1/taken"),
        lambda: tree.replace("t~1/_txn", "linked/_txnlog"),
        lambda: tree.write_new("t~1/file", 1, [], _OWNER),
        lambda: tree.replace("t~1/_txn", "t~1/file"),
    )
    for work in works:
        with pytest.raises(UnsafePathError):
            work()
    assert (tmp_path / "outside" / "_txnlog").read_bytes() == b"precious"


def test_what_has_other_hard_links_is_not_written(tree: Tree, tmp_path: Path) -> None:
    os.link(tmp_path / "outside" / "_txnlog", tmp_path / "db" / "t~1" / "shared")
    works: tuple[Callable[[], None], ...] = (
        lambda: tree.write_new("t~1/shared", 1, [], _OWNER),
        lambda: tree.replace("t~1/_txn", "t~1/shared"),
        lambda: tree.remove_file("t~1/shared"),
    )
    for work in works:
        with pytest.raises(UnsafePathError, match="2 hard links"):
            work()


def test_a_new_file_holds_its_pieces_and_zeros_and_gets_its_owner(tree: Tree, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(100)))
    tree.write_new("t~1/new", 5000, [Piece(0, source, 10, 5), Piece(4000, source, 0, 100)], _OWNER)
    content = (tmp_path / "db" / "t~1" / "new").read_bytes()
    assert content == bytes(range(10, 15)) + bytes(3995) + bytes(range(100)) + bytes(900)
    status = (tmp_path / "db" / "t~1" / "new").stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o640, os.geteuid())
    assert status.st_blocks * 512 >= 5000  # allocated: neither we nor a server meet a full disk later


def test_a_source_that_became_shorter_is_an_error(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"abc")
    with pytest.raises(Exception, match="ends 7 bytes before the plan says"):
        tree.write_new("t~1/new", 100, [Piece(0, tmp_path / "source", 0, 10)], _OWNER)


def test_nothing_is_renamed_over_anything(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError, match="already there"):
        tree.rename("t~1/_txn", "t~1/txn_seq")
    tree.rename("t~1/txn_seq", "t~1/txn_seq.walmedic-00000000.old")
    assert (tmp_path / "db" / "t~1" / "txn_seq.walmedic-00000000.old" / "_txnlog").read_bytes() == b"log"


def test_only_directories_of_our_own_are_removed(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError, match="was not made by walmedic"):
        tree.remove_directory("t~1/txn_seq")
    tree.make_directory("t~1/txn_seq.walmedic-00000000.new", _OWNER)
    tree.make_directory("t~1/txn_seq.walmedic-00000000.new/_txn_parts", _OWNER)
    tree.write_new("t~1/txn_seq.walmedic-00000000.new/_txn_parts/0", 10, [], _OWNER)
    tree.remove_directory("t~1/txn_seq.walmedic-00000000.new")
    assert sorted(p.name for p in (tmp_path / "db" / "t~1").iterdir()) == ["_txn", "txn_seq"]


def test_a_swap_between_check_and_use_leads_nowhere_else(tree: Tree, tmp_path: Path) -> None:
    place, real = tmp_path / "db" / "t~1" / "place", tmp_path / "db" / "t~1" / "real"
    real.mkdir()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            place.symlink_to(tmp_path / "outside")
            place.unlink()
            real.rename(place)
            place.rename(real)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for number in range(2000):
            try:
                tree.write_new(f"t~1/place/n{number % 3}", 1, [], _OWNER)
            except (UnsafePathError, FileNotFoundError, FileExistsError):
                continue
    finally:
        stop.set()
        swapper.join()
    assert sorted(p.name for p in (tmp_path / "outside").iterdir()) == ["_txnlog"]

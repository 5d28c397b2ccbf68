"""The only way in: what is opened, what is refused, and that no read passes an end."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from console.questdb.fields import Fields, Walk
from console.questdb.reading import (
    DamageError,
    DbFile,
    Problem,
    ProblemKind,
    join_problems,
    list_directory,
    open_for_reading,
    opened,
    read_small,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 100 known bytes."""
    path = tmp_path.resolve() / "data"
    path.write_bytes(bytes(range(100)))
    return path


def test_reads_end_where_the_file_does(file: Path) -> None:
    """Short at the end, empty past it and before it; arrays hold whole items only."""
    with DbFile(file) as opened_file:
        assert opened_file.size == 100
        assert opened_file.read(90, 50) == bytes(range(90, 100))
        assert opened_file.read(100, 1) == opened_file.read(1 << 62, 8) == opened_file.read(-1, 8) == b""
        assert opened_file.read(0, 1 << 62) == bytes(range(100))
        assert opened_file.array(93, "<i4", 10).tolist() == [int.from_bytes(bytes(range(93, 97)), "little")]
        assert opened_file.array(101, "<i4", 1).size == opened_file.array(-4, "<i4", 1).size == 0


def test_a_file_cut_meanwhile_reads_short(file: Path) -> None:
    """The size at opening is no promise: what another process cut off does not come."""
    with DbFile(file) as opened_file:
        os.truncate(file, 10)
        assert opened_file.read(0, 100) == bytes(range(10))
        assert opened_file.array(0, "<i8", 12).size == 1


def test_growth_after_opening_is_not_read(file: Path) -> None:
    """A snapshot ends where the file did when it was opened."""
    with DbFile(file) as opened_file:
        file.write_bytes(bytes(200))
        assert len(opened_file.read(0, 200)) == 100


def test_symlinks_are_refused_wherever_they_stand(file: Path) -> None:
    """As the file, and as a directory on the way."""
    link = file.with_name("link")
    link.symlink_to(file)
    folder = file.with_name("folder")
    folder.symlink_to(file.parent)
    for path in (link, folder / "data"):
        with pytest.raises(OSError, match=r"symbolic link|Too many levels") as caught:
            open_for_reading(path)
        assert caught.value.errno == errno.ELOOP


def test_only_regular_files_are_opened_and_nothing_waits(tmp_path: Path) -> None:
    """A pipe without a writer, a directory, a device."""
    pipe = tmp_path.resolve() / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path.resolve(), Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            open_for_reading(path)


def test_names_that_no_file_can_have_are_refused_as_a_missing_file_is(tmp_path: Path) -> None:
    """They come from damaged metadata."""
    for name in ("a\0b", "a\ud800b"):
        assert read_small(tmp_path.resolve() / name).problem is not None
        with pytest.raises(OSError, match="no file can have"):
            open_for_reading(tmp_path.resolve() / name)


def test_descriptors_are_closed_and_never_inherited(file: Path) -> None:
    """Also where opening was refused after the fact."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with DbFile(file) as opened_file:
        assert not os.get_inheritable(opened_file._fd)
    with pytest.raises(OSError, match="not a regular file"):
        open_for_reading(file.parent)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_problems_say_what_and_where(file: Path) -> None:
    """Missing, unreadable and oversized files, and directories, as values."""
    missing = read_small(file.with_name("none"))
    assert (missing.present, missing.data) == (False, b"")
    assert missing.problem == Problem(ProblemKind.MISSING, "there is no such file", file.with_name("none"))
    large = read_small(file, 10)
    assert large.data == bytes(range(10))
    assert large.problem is not None
    assert "100 bytes" in large.problem.what
    with opened(file.parent) as found:
        assert isinstance(found, Problem)
        assert (found.kind, found.what) == (ProblemKind.UNREADABLE, "it cannot be read (not a regular file)")
    assert list_directory(file) == ((), Problem(ProblemKind.MISSING, "there is no such file", file))
    assert join_problems(None, missing.problem, (), (large.problem, None)) == (missing.problem, large.problem)


def test_directories_list_what_is_there_without_following(file: Path) -> None:
    """Sorted, with the kind of each entry itself."""
    (file.parent / "b").mkdir()
    (file.parent / "a").symlink_to(file.parent)
    entries, problem = list_directory(file.parent)
    assert problem is None
    assert [(e.name, e.is_directory, e.is_file, e.is_symlink) for e in entries] == [
        ("a", False, False, True),
        ("b", True, False, False),
        ("data", False, True, False),
    ]
    some, problem = list_directory(file.parent, limit=1)
    assert len(some) == 1
    assert problem is not None


def test_fields_are_bounds_checked_and_name_their_place() -> None:
    """Every width, at the last place and one past it; offsets are those of the file."""
    fields = Fields(np.arange(248, 264, dtype=np.int64).astype(np.uint8).tobytes(), base=1000)
    assert fields.i32(12) == 0x07060504
    assert fields.i64(8) == 0x0706050403020100
    for read, at in ((fields.i32, 13), (fields.i64, 9), (fields.i64, -1)):
        with pytest.raises(DamageError) as caught:
            read(at)
        assert caught.value.offset == 1000 + at
        assert caught.value.kind is ProblemKind.SHORT


def test_strings_are_taken_as_java_writes_them() -> None:
    """Null, empty, beyond the BMP, lone surrogates; lengths that cannot be are damage."""
    text = "a𝄞\ud800"
    units = text.encode("utf-16-le", "surrogatepass")
    data = b"\xff\xff\xff\xff" + bytes(4) + (len(units) // 2).to_bytes(4, "little") + units + b"\x7f\0\0\0ab"
    walk = Walk(Fields(data))
    assert walk.string() is None
    assert walk.string() == ""
    assert walk.string() == text
    with pytest.raises(DamageError):
        walk.string()
    with pytest.raises(DamageError, match="string length -2"):
        Fields(b"\xfe\xff\xff\xff").string(0)
    with pytest.raises(DamageError, match="count 9"):
        Walk(Fields(b"\x09\0\0\0" + bytes(16))).count("thing", 8)

"""Which processes have files of a directory open for writing, or mapped: seen from outside of them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.diagnosis.server.open_files import FileUser, users_of

_READING = "f = open(path, 'rb')"
_WRITING = "f = open(path, 'r+b')"
_APPENDING = "f = open(path, 'ab')"
_MAPPING = "f = open(path, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); f.close()"
_MAPPING_TO_WRITE = "f = open(path, 'r+b'); m = mmap.mmap(f.fileno(), 0)"


@contextmanager
def _process(code: str, path: Path) -> Iterator[int]:
    """Yield the pid of a process that has done `code` and waits."""
    program = f"import mmap, sys; path = sys.argv[1]; {code}; print('there', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        yield process.pid
        process.communicate()


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (_READING, ""),
        (_WRITING, "open for writing"),
        (_APPENDING, "open for writing"),
        (_MAPPING, "mapped"),
        (_MAPPING_TO_WRITE, "open for writing and mapped"),
    ],
    ids=["reads", "writes", "appends", "maps", "maps to write"],
)
def test_who_only_reads_is_no_user(code: str, how: str, tmp_path: Path) -> None:
    """A console, which reads all the time, does not stand in the way of its own repair; a server does."""
    file = tmp_path / "table~1" / "txn_seq" / "_txnlog"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(4096))
    with _process(code, file) as pid:
        found = [(user.pid, user.how) for user in users_of(tmp_path / "table~1").processes]
        assert found == ([(pid, how)] if how else [])
    assert users_of(tmp_path / "table~1").processes == ()


def test_a_user_by_another_name_is_found(tmp_path: Path) -> None:
    """The file is known by its inode: a hard link elsewhere hides nothing."""
    inside = tmp_path / "table~1" / "_txn"
    inside.parent.mkdir()
    inside.write_bytes(b"x")
    outside = tmp_path / "elsewhere"
    outside.hardlink_to(inside)
    with _process(_WRITING, outside) as pid:
        assert [user for user in users_of(inside.parent).processes if user.pid == pid] == [
            FileUser(pid, Path(f"/proc/{pid}/comm").read_text().strip(), "open for writing")
        ]

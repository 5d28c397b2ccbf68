"""pyarrow ends its process on some damaged files: the one that asked goes on, and says so."""

import base64
import errno
import os
import signal
import zlib
from pathlib import Path

import numpy as np
import pytest

from console.diagnosis.deep_parquet import parquet_problems
from console.questdb.parquet_rows import read_column, read_layout, read_row, read_texts, read_time
from console.questdb.parquet_worker import WORKER
from console.questdb.reading import DamageError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

_ENDS_IT = zlib.decompress(
    base64.b85decode(
        "c-jka3^EjD5VaAt(Gg_>GT21fWF$D486ZG{gAvLSW6;1NDkumfn1Gm#5hlb0rD2LiStNB#86?<>lQU9t6GfST0;)O^jEM|lY?3mPGHMJmKo"
        "zQN43a=GQJ|pME=C|y<FFyg6_PSQw=)1ux6x#iRAXQRsRbIurp5uJ7&H_L5{n8;Q%iJ{3kq}-i;D8g70ObJiZk=`6pYOD4D<{oWn_R_)&Ow"
        ";FhBsu4;<S"
    )
)
"""A file of pyarrow's with one byte of its footer changed (117), in the sizes of the levels: pyarrow aborts on it."""


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A file of two row groups."""
    path = tmp_path / "whole.parquet"
    table = pyarrow.table({"ts": pyarrow.array(range(30), pyarrow.timestamp("us")), "s": ["a", None, "c"] * 10})
    parquet.write_table(table, path, row_group_size=20)
    return path


def _problems(path: Path, rows: int) -> list[tuple[str, str, int]]:
    return list(parquet_problems(path, rows, lambda size: None))


def test_what_ends_pyarrow_is_damage_and_the_next_file_is_read(whole: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(_ENDS_IT)
    for _ in range(2):
        ((column, what, rows),) = _problems(damaged, 3)
        assert (column, rows) == ("", 3)
        assert what.startswith("its footer cannot be decoded (")
        assert _problems(whole, 30) == []
    assert [what for _, what, _ in _problems(whole, 31)] == ["it has 30 rows, and _txn counts 31"]


def test_a_worker_that_was_killed_meanwhile_is_replaced(whole: Path) -> None:
    layout = read_layout(whole)
    assert [(group.first, group.rows) for group in layout.groups] == [(0, 20), (20, 10)]
    process = WORKER._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert read_row(whole, layout.groups[1], 22) == {"ts": "1970-01-01T00:00:00.000022Z", "s": "null"}
    assert [read_time(whole, layout.groups[at], "ts", at) for at in (0, -1)] == [0, 29]
    values = np.asarray(read_column(whole, layout.groups[1], "ts").cast("int64"))
    assert values.tolist() == list(range(20, 30))


def test_what_is_no_file_is_not_opened(whole: Path, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(whole)
    for path, code in ((pipe, errno.EINVAL), (link, errno.ELOOP), (tmp_path / "gone", errno.ENOENT)):
        with pytest.raises(OSError, match=path.name) as raised:
            read_layout(path)
        assert raised.value.errno == code
    with pytest.raises(DamageError, match="index"):
        read_time(whole, read_layout(whole).groups[0], "gone", 0)


def test_a_forked_process_asks_a_worker_of_its_own(whole: Path) -> None:
    read_layout(whole)
    child = os.fork()
    if child == 0:
        os._exit(0 if read_layout(whole).rows == 30 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert read_layout(whole).rows == 30


def test_texts_are_bytes_also_where_damage_left_no_utf8(whole: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.parquet"
    texts = pyarrow.array([b"a", b"\xff", None]).cast(pyarrow.string(), safe=False).dictionary_encode()
    parquet.write_table(pyarrow.table({"ts": [1, 2, 3], "s": texts}), damaged)
    (group,) = read_layout(damaged).groups
    assert read_texts(damaged, group, "s").to_pylist() == [b"a", b"\xff", None]
    with pytest.raises(DamageError, match="column ts is no text"):
        read_texts(damaged, group, "ts")

"""Rows written as Parquet: decoded again from the disk, and refused if what is there decodes to other values."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from console.questdb.column_types import ColumnTag
from console.questdb.row_values import BytesValues, fixed_values, offsets_of
from console.questdb.segment_rows import Column, Rows
from console.recovery.salvage.output import SalvageError
from console.recovery.salvage.parquet_file import ParquetFormat
from console.recovery.store.copying import digest_of_file

_COLUMNS = (Column(0, "n", "n", ColumnTag.LONG, "LONG"), Column(1, "v", "v", ColumnTag.VARCHAR, "VARCHAR"))
_ROWS = 1000


def _chunks(groups: int) -> Iterator[Rows]:
    for group in range(groups):
        numbers = np.arange(group * _ROWS, (group + 1) * _ROWS, dtype="<i8")
        text = np.frombuffer(b"\xff".join(b"%05d" % number for number in numbers.tolist()) + b"\xff", np.uint8)
        words = BytesValues(ColumnTag.VARCHAR, text, offsets_of(np.full(_ROWS, 6)), numbers % 7 == 0)
        yield Rows(group * _ROWS, (group + 1) * _ROWS, (fixed_values(ColumnTag.LONG, numbers), words))


@pytest.mark.parametrize("groups", [0, 1, 3])
def test_what_is_written_is_what_is_hashed_and_read(groups: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    assert ParquetFormat().write(path, _COLUMNS, _chunks(groups)) == digest_of_file(path)
    table = pyarrow.parquet.read_table(path)
    assert table["n"].to_pylist() == list(range(groups * _ROWS))
    assert table["v"].to_pylist() == [None if n % 7 == 0 else f"{n:05}�" for n in range(groups * _ROWS)]


@pytest.mark.parametrize(("place", "number"), [("first", 500), ("last", 2500)])
def test_values_that_the_disk_changed(place: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, advise = tmp_path / "rows.parquet", os.posix_fadvise

    def changed(descriptor: int, offset: int, length: int, advice: int) -> None:
        content = path.read_bytes()
        path.write_bytes(content.replace(number.to_bytes(8, "little"), (1 << 40).to_bytes(8, "little"), 1))
        advise(descriptor, offset, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", changed)
    with pytest.raises(SalvageError, match="reads back differently"):
        ParquetFormat().write(path, _COLUMNS, _chunks(3))

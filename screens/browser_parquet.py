"""A Parquet partition in the browser: the row groups by their bytes, and the values of one row at a time."""

import threading
from collections.abc import Mapping
from pathlib import Path

from console.diagnosis.inspection import Field, FileKind, RecordView
from console.diagnosis.inspection.values import FieldReader
from console.errors import WalmedicError
from console.questdb.parquet_frame import check_parquet_frame
from console.questdb.parquet_rows import ParquetGroup, read_layout, read_row
from console.questdb.parquet_worker import can_read_parquet
from console.questdb.partition_files import PARQUET
from console.questdb.reading import DamageError, DbFile
from console.text import clean_line, plural


class ParquetRows:
    """The rows of a `data.parquet`, numbered from 0 in the partition. What reads values blocks."""

    kind = FileKind.PARQUET

    def __init__(self, path: Path, groups: tuple[ParquetGroup, ...]) -> None:
        self._path, self._groups, self._frame = path, groups, _frame(path)
        self._lock = threading.Lock()
        self._row, self._values = -1, dict[str, str]()

    @classmethod
    def of(cls, path: Path, row: int = 0) -> "ParquetRows | None":
        """Return the rows of a file with the values of `row`, None if it is no Parquet, or cannot be decoded."""
        if path.name != PARQUET or not can_read_parquet():
            return None
        try:
            rows = cls(path, read_layout(path).groups)
            if rows.count:
                rows.load(row)
        except (DamageError, OSError, WalmedicError):
            return None
        return rows

    def close(self) -> None:
        """Close nothing: no file stays open."""

    @property
    def count(self) -> int:
        return sum(group.rows for group in self._groups)

    def summary(self) -> str:
        return f"{plural(self.count, 'row')} in {plural(len(self._groups), 'row group')}; g r… shows a row"

    def load(self, row: int) -> int:
        """Read the values of a row, and return the offset of its row group. Raises WalmedicError; blocks."""
        group = next((each for each in self._groups if each.first <= row < each.first + each.rows), None)
        if group is None or not group.chunks:
            raise WalmedicError(f"the partition has no row {row:,}: it has {self.count:,}, the first is row 0")
        try:
            values = read_row(self._path, group, row)
        except DamageError as damage:
            raise WalmedicError(f"row {row:,} cannot be decoded: {damage.what}") from damage
        except OSError as error:
            raise WalmedicError(f"{PARQUET} cannot be read: {clean_line(error.strerror or str(error))}") from error
        with self._lock:
            self._row, self._values = row, values
        return group.chunks[0].offset

    def record_at(self, offset: int) -> RecordView | None:
        """Return the row group that holds the byte at `offset`, with the values of the row that was loaded last.

        Outside of them the magic number at the beginning, or the footer.
        """
        for group in self._groups:
            low, high = _bounds(group)
            if low <= offset < high:
                return self._view(group, low, high)
        return next((each for each in self._frame if each.offset <= offset < each.offset + each.size), None)

    def _view(self, group: ParquetGroup, low: int, high: int) -> RecordView:
        with self._lock:
            row, values = self._row, self._values
        here = group.first <= row < group.first + group.rows
        shown: Mapping[str, str] = values if here else {}
        fields = tuple(
            Field(clean_line(each.name), each.offset, each.size, clean_line(shown.get(each.name, ""), 200), each.kind)
            for each in group.chunks
        )
        rows = f"rows {group.first:,} to {group.first + group.rows - 1:,}"
        title = f"row group {group.number:,}, {rows}"
        return RecordView(f"row {row:,} of {title}" if here else title, low, high - low, fields)


def _frame(path: Path) -> tuple[RecordView, ...]:
    """Return what stands before and behind the row groups. Raises OSError, DamageError."""
    with DbFile(path) as file:
        check_parquet_frame(file, file.size)
        end = file.size - 8
        read = FieldReader(file)
        length = read.peek(end, 4) or 0
        head = Field("magic number", 0, 4, "PAR1", "a Parquet file begins with it")
        fields = (
            Field("footer", end - length, length, f"{length:,} bytes", "columns, row groups and statistics, by Thrift"),
            Field("length of the footer", end, 4, f"{length:,}", "bytes"),
            Field("magic number", end + 4, 4, "PAR1", "a Parquet file ends with it"),
        )
    return RecordView("header", 0, 4, (head,)), RecordView("footer", end - length, length + 8, fields)


def _bounds(group: ParquetGroup) -> tuple[int, int]:
    if not group.chunks:
        return 0, 0
    return group.chunks[0].offset, max(each.offset + each.size for each in group.chunks)

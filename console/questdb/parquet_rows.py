"""Values of a Parquet partition, by pyarrow, which is optional; one column chunk is in memory at a time.

A worker process decodes: see parquet_worker. Every function raises DamageError if the file cannot be decoded, OSError
if it cannot be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.questdb.parquet_worker import WORKER
from console.questdb.reading import DamageError
from console.text import clean_line


@dataclass(frozen=True, slots=True)
class ParquetChunk:
    """A column in a row group: where its bytes are, and how it is stored."""

    name: str
    offset: int
    size: int
    kind: str


@dataclass(frozen=True, slots=True)
class ParquetGroup:
    """A row group: its number, its first row and its rows, its column chunks in the order of the file."""

    number: int
    first: int
    rows: int
    chunks: tuple[ParquetChunk, ...]


@dataclass(frozen=True, slots=True)
class ParquetLayout:
    """What the footer says: rows in all, row groups, the names of columns by field id (-1: a column that has none)."""

    rows: int
    groups: tuple[ParquetGroup, ...]
    fields: Mapping[int, str]


def read_layout(path: Path) -> ParquetLayout:
    found = WORKER.ask("layout", path)
    groups, first = [], 0
    for number, each in enumerate(found["groups"]):
        if each["rows"] < 0:
            raise DamageError(f"row group {number} has {each['rows']:,} rows")
        chunks = tuple(ParquetChunk(**chunk) for chunk in each["chunks"])
        groups.append(ParquetGroup(number, first, each["rows"], chunks))
        first += each["rows"]
    return ParquetLayout(found["rows"], tuple(groups), {int(number): name for number, name in found["fields"].items()})


def check_column(path: Path, group: ParquetGroup, name: str) -> None:
    WORKER.ask("check_column", path, group.number, name)


def read_column(path: Path, group: ParquetGroup, name: str) -> Any:
    import pyarrow

    stream = WORKER.ask("column", path, group.number, name)
    found = pyarrow.ipc.open_stream(stream).read_all().column(0).combine_chunks()
    if len(found) != group.rows:
        raise DamageError(f"it has {len(found):,} values for {group.rows:,} rows")
    return found


def read_texts(path: Path, group: ParquetGroup, name: str) -> Any:
    """Return a column of text as an arrow array of bytes: a damaged file may have some that are no UTF-8."""
    import pyarrow

    try:
        return read_column(path, group, name).cast("binary")
    except pyarrow.ArrowException as error:
        raise DamageError(f"column {name} is no text in data.parquet: {clean_line(str(error), 80)}") from error


def read_row(path: Path, group: ParquetGroup, row: int) -> dict[str, str]:
    """Return the value of each column in a row of a group as text; what cannot be decoded says why.

    `row` is numbered in the partition.
    """
    found: dict[str, str] = WORKER.ask("row", path, group.number, row - group.first)
    return found


def read_time(path: Path, group: ParquetGroup, name: str, at: int) -> int:
    """Return the i64 timestamp in row `at` of a row group, from its end if that is below 0."""
    found: int = WORKER.ask("time", path, group.number, name, at)
    return found


def first_row_since(path: Path, groups: tuple[ParquetGroup, ...], name: str, wanted: int) -> int | None:
    """Return the first row whose i64 timestamp in column `name` is `wanted` or later."""
    for group in groups:
        row: int | None = WORKER.ask("row_since", path, group.number, name, wanted)
        if row is not None:
            return group.first + row
    return None

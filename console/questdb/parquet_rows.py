"""Values of one row of a Parquet partition, by pyarrow, which is optional; one column chunk is in memory at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from console.questdb.reading import DamageError, open_for_reading
from console.text import clean_line

_MOST: Final = 256 << 20
"""Bytes of a column chunk, decoded, that are read for one value."""


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


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield the pyarrow file. Raises DamageError where it cannot be decoded, OSError where it cannot be read."""
    import pyarrow
    import pyarrow.parquet

    with os.fdopen(open_for_reading(path), "rb") as stream:
        try:
            with pyarrow.PythonFile(stream, mode="r") as source:
                yield pyarrow.parquet.ParquetFile(source)
        except pyarrow.ArrowException as error:
            raise DamageError(clean_line(str(error), 120)) from error


def read_groups(path: Path) -> tuple[ParquetGroup, ...]:
    """Return the row groups by the footer. Raises DamageError, OSError."""
    with _opened(path) as file:
        groups, first = [], 0
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            chunks = []
            for each in (group.column(column) for column in range(group.num_columns)):
                start = each.data_page_offset
                if each.has_dictionary_page and each.dictionary_page_offset is not None:
                    start = min(start, each.dictionary_page_offset)
                kind = f"{each.physical_type.lower()}, {each.compression.lower()}"
                chunks.append(ParquetChunk(each.path_in_schema.split(".")[0], start, each.total_compressed_size, kind))
            groups.append(ParquetGroup(number, first, group.num_rows, tuple(sorted(chunks, key=lambda c: c.offset))))
            first += group.num_rows
        return tuple(groups)


def read_row(path: Path, group: ParquetGroup, row: int) -> dict[str, str]:
    """Return the value of each column in a row of a group as text; what cannot be decoded says why.

    `row` is numbered in the partition. Raises DamageError if nothing can be decoded, OSError.
    """
    import pyarrow

    found: dict[str, str] = {}
    with _opened(path) as file:
        described = file.metadata.row_group(group.number)
        sizes = {
            described.column(each).path_in_schema.split(".")[0]: described.column(each).total_uncompressed_size
            for each in range(described.num_columns)
        }
        for name, size in sizes.items():
            if size > _MOST:
                found[name] = f"not read: the column has {size:,} bytes here"
                continue
            try:
                column = file.read_row_group(group.number, [name]).column(0)
                found[name] = _text(column[row - group.first])
            except (pyarrow.ArrowException, OSError, IndexError) as error:
                found[name] = f"cannot be decoded ({clean_line(str(error), 80)})"
    return found


def first_row_since(path: Path, groups: tuple[ParquetGroup, ...], name: str, wanted: int) -> int | None:
    """Return the first row whose i64 timestamp in column `name` is `wanted` or later. Raises DamageError, OSError."""
    with _opened(path) as file:
        for group in groups:
            values = file.read_row_group(group.number, [name]).column(0).cast("int64").to_numpy()
            row = int(np.searchsorted(values, wanted))
            if row < len(values):
                return group.first + row
    return None


def _text(scalar: Any) -> str:
    """Return a value as text: times as ISO in UTC, bytes as hexadecimal digits."""
    import pyarrow

    if not scalar.is_valid:
        return "null"
    if pyarrow.types.is_timestamp(scalar.type):
        return f"{np.datetime64(scalar.value, scalar.type.unit)}Z"
    value = scalar.as_py()
    if isinstance(value, bytes):
        return value.hex(" ")
    return f'"{value}"' if isinstance(value, str) else str(value)

"""CSV as QuestDB's import (`/imp`) reads it: UTF-8, a line of names, RFC 4180; null is an empty cell."""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from console.durable import write_all
from console.questdb.segment_rows import Column, Rows
from console.recovery.salvage.cells import csv_cells, header_of, rows_of
from console.recovery.salvage.output import SalvageError, new_file
from console.text import clean_line


class CsvFormat:
    """Files of CSV."""

    suffix = "csv"

    def write(self, path: Path, columns: tuple[Column, ...], chunks: Iterable[Rows]) -> None:
        """Write the names, then the rows of each chunk."""
        with new_file(path) as descriptor:
            write_all(descriptor, header_of([column.raw_name for column in columns]))
            for rows in chunks:
                write_all(descriptor, _lines(rows))

    def compare(self, path: Path, columns: tuple[Column, ...], chunks: Iterable[Rows]) -> int:
        """Compare the bytes on the disk with the rows read anew, and count the rows as a parser of CSV sees them."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        total = 0
        with os.fdopen(descriptor, "rb") as stream:
            names = header_of([column.raw_name for column in columns])
            if stream.read(len(names)) != names:
                raise _different(path, 0)
            for rows in chunks:
                expected = _lines(rows)
                found = stream.read(len(expected))
                if found != expected:
                    raise _different(path, rows.first)
                total += _parsed(path, found, len(columns))
            if stream.read(1):
                raise SalvageError(f"{clean_line(str(path))} has more data behind its last row")
        return total


def _lines(rows: Rows) -> bytes:
    return rows_of([csv_cells(values) for values in rows.values])


def _parsed(path: Path, lines: bytes, width: int) -> int:
    """Return how many rows a parser of CSV finds; each must have `width` cells."""
    count = 0
    for row in csv.reader(io.StringIO(lines.decode("utf-8", "surrogateescape"), newline="")):
        if len(row) != max(1, width) and not (width == 1 and not row):
            raise SalvageError(f"{clean_line(str(path))} has a row of {len(row)} cells, where {width} belong")
        count += 1
    return count


def _different(path: Path, row: int) -> SalvageError:
    return SalvageError(f"{clean_line(str(path))} reads back differently near row {row:,}; do not trust its disk")

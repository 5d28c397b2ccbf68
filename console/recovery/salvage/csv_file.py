"""CSV as QuestDB's import (`/imp`) reads it: UTF-8, a line of names, RFC 4180; null is an empty cell."""

from collections.abc import Iterable
from pathlib import Path

from console.questdb.segment_rows import Column, Rows
from console.recovery.salvage.cells import csv_cells, header_of, rows_of
from console.recovery.salvage.output import new_file


class CsvFormat:
    suffix = "csv"

    def write(self, path: Path, columns: tuple[Column, ...], chunks: Iterable[Rows]) -> str:
        """Write the names, then the rows of each chunk; see RowFormat."""
        with new_file(path) as file:
            file.write(header_of([column.raw_name for column in columns]))
            for rows in chunks:
                file.write(_lines(rows))
        return file.sha256


def _lines(rows: Rows) -> bytes:
    return rows_of([csv_cells(values) for values in rows.values])

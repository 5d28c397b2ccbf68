"""Whether a table holds a timestamp: looked up in the designated timestamps of the partition that it belongs to."""

from pathlib import Path

from console.questdb.column_versions import read_column_versions
from console.questdb.partition_files import PartitionFiles
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, DbFile
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea

_WIDTH = 8


class HeldTimes:
    """The timestamps of the rows that `area` counts, those of the lag left out."""

    def __init__(self, table: Path, area: TxnArea, metadata: TableMetadata) -> None:
        self._files = PartitionFiles(table, area, metadata, read_column_versions(table))
        self._lag = area.lag_rows

    def holds(self, time: int) -> bool | None:
        """Return whether a row has the timestamp `time` (units of the column); None if a file does not tell."""
        span = next((each for each in reversed(self._files.spans) if each.start <= time), None)
        if span is None or (span.end is not None and time >= span.end):
            return False
        if span.parquet_size is not None:
            return None
        try:
            return self._found(span, time)
        except (DamageError, OSError):
            return None

    def _found(self, span: PartitionSpan, time: int) -> bool | None:
        column = self._files.timestamp(span)
        if column is None:
            return None
        low = 0
        high = rows = span.rows - (self._lag if span.last else 0)
        with DbFile(column.data) as file:
            least, most = _at(file, 0), _at(file, rows - 1)
            if least < span.start or most < least:
                return None  # timestamps are lost: the file tells nothing
            while low < high:
                middle = (low + high) // 2
                value = _at(file, middle)
                if not least <= value <= most:
                    return None
                if value < time:
                    low, least = middle + 1, value
                else:
                    high, most = middle, value
            return low < rows and _at(file, low) == time


def _at(file: DbFile, row: int) -> int:
    value = file.array(row * _WIDTH, "<i8", 1)
    if not len(value):
        raise DamageError("it ends before its rows", row * _WIDTH)
    return int(value[0])

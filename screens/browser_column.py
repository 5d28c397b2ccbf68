"""A column's file in a partition: which row a byte belongs to, and the value of that row. Reads one row at a time."""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from console.diagnosis.inspection import Field, FileKind, RecordView
from console.diagnosis.inspection.values import FieldReader, Note
from console.errors import WalmedicError
from console.questdb.column_types import ColumnTag, type_name, value_dtype
from console.questdb.formats.model import RecordFormat
from console.questdb.formats.segment import ARRAY_AUX, STRING_OFFSET, VARCHAR_AUX
from console.questdb.partition_columns import PartitionFault, StoredColumn
from console.questdb.partition_files import PartitionFiles
from console.questdb.reading import DamageError, DbFile
from console.questdb.row_values import FixedValues, Values, fixed_values
from console.questdb.symbol_values import NULL_KEY, read_symbol
from console.questdb.variable_columns import rows_within, value_bytes
from console.questdb.variable_values import variable_values
from console.recovery.salvage.cells import cells_of
from console.text import clean_line

_FORMATS: Final = {ColumnTag.VARCHAR: VARCHAR_AUX, ColumnTag.ARRAY: ARRAY_AUX}
_MOST_SHOWN: Final = 1 << 20  # bytes of one value
_HEX: Final = 24  # bytes shown beside an offset
_BAD: Final = "the value cannot be read"


class ColumnFile:
    """The file of a column in a native partition; rows are numbered from 0 in the partition's directory."""

    def __init__(self, path: Path, partitions: PartitionFiles, each: StoredColumn) -> None:
        self._path, self._each, self._partitions = path, each, partitions
        self._tag, self._code = each.column.tag, each.column.type_code
        self._entry_file, self._width, self._more = each.entries
        self._is_data = path != self._entry_file
        self.top = each.span.rows - each.rows
        self._stack = ExitStack()
        self._aux = self._opened(self._entry_file)
        self._data = self._opened(each.data) if self._entry_file == each.aux else self._aux

    @classmethod
    def of(cls, path: Path) -> "ColumnFile | None":
        """Return the column file at `path`, None if no partition of `_txn` needs it for the values of its rows."""
        table = path.parent.parent
        partitions = PartitionFiles.of(table) if (table / "_txn").is_file() else None
        span = (
            next((each for each in partitions.spans if each.directory == path.parent.name), None)
            if partitions
            else None
        )
        if partitions is None or span is None or span.parquet_size is not None:
            return None
        for each in partitions.columns_of(span):
            if not isinstance(each, PartitionFault) and path in (each.data, each.entries[0]) and each.entries[1]:
                return cls(path, partitions, each)
        return None

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    @property
    def kind(self) -> FileKind:
        """What the file holds."""
        return FileKind.COLUMN_OFFSETS if self._path == self._each.aux else FileKind.COLUMN_VALUES

    def summary(self) -> str:
        """Return column, type and rows in a line."""
        each = self._each
        caption = f"column {each.column.name}, {type_name(self._code)}, {each.rows:,} of {each.span.rows:,} rows"
        return f"{caption}; the first {self.top:,} rows were there before the column" if self.top else caption

    def record_at(self, offset: int) -> RecordView | None:
        """Return the row that the byte at `offset` belongs to; None behind the last row."""
        if offset < 0 or self._aux is None:
            return None
        if not self._is_data:
            return self._entry(offset // self._width)
        entry = rows_within(self._tag, self._aux, self._each.rows, offset)
        low, high = value_bytes(self._tag, self._aux, entry) if entry < self._each.rows else (0, 0)
        if not low <= offset < high:
            return None
        return RecordView(self._title(entry), low, high - low, (*self._length(low), self._value(entry, low, high)))

    # ---- one row -----------------------------------------------------------------------------------------------------

    def _title(self, entry: int) -> str:
        return f"row {self.top + entry:,} of {self._each.column.name}"

    def _entry(self, entry: int) -> RecordView | None:
        at, file = entry * self._width, self._aux
        if file is None or entry >= self._each.rows + self._more:
            return None
        if self._entry_file == self._each.data:
            return RecordView(self._title(entry), at, self._width, (self._value(entry, at, at + self._width),))
        read = FieldReader(file)
        form: RecordFormat = _FORMATS.get(self._tag, STRING_OFFSET) if self._tag is not None else STRING_OFFSET
        read.record(form, at, {"prefix": Note(shown=file.read(at + 4, 6).hex(" "))})
        if entry >= self._each.rows:
            return RecordView("end of the last value", at, self._width, read.taken())
        end = at + self._width
        fields = (*read.taken(), self._pointed_to(entry, end), self._value(entry, end, end))
        return RecordView(self._title(entry), at, self._width, fields)

    def _pointed_to(self, entry: int, at: int) -> Field:
        """Return the bytes of the data file that an entry points to."""
        name = f"bytes in {clean_line(self._each.data.name)}"
        low, high = value_bytes(self._tag, self._aux, entry) if self._aux is not None else (0, 0)
        if self._data is None:
            return Field(name, at, 0, "", "the data file cannot be read", is_normal=False)
        if low >= high:
            return Field(name, at, 0, "none", "the value has no bytes there", is_normal=low == high)
        data = self._data.read(low, min(high - low, _HEX))
        meaning = f"{low:#x} to {high - 1:#x}, {high - low:,} bytes"
        return Field(name, at, 0, data.hex(" ") + (" …" if high - low > _HEX else ""), meaning, high <= self._data.size)

    def _length(self, low: int) -> tuple[Field, ...]:
        """Return the length before a STRING or BINARY in its data file."""
        size = {ColumnTag.STRING: 4, ColumnTag.BINARY: 8}.get(self._tag or ColumnTag.INT, 0)
        if not size or self._data is None:
            return ()
        read = FieldReader(self._data)
        unit = "UTF-16 units" if size == 4 else "bytes"
        read.number("length", low, size, f"in {unit}; -1 is NULL")
        return read.taken()

    def _value(self, entry: int, low: int, high: int) -> Field:
        """Return the value of a row as a field of the bytes low..high - 1."""
        name, kind = self._each.column.name, type_name(self._code)
        low += {ColumnTag.STRING: 4, ColumnTag.BINARY: 8}.get(self._tag or ColumnTag.INT, 0) if self._is_data else 0
        try:
            return Field(name, low, max(0, high - low), clean_line(self._text(entry), 200), kind)
        except DamageError as damage:
            return Field(name, low, max(0, high - low), "", f"{_BAD}: {damage.what}", is_normal=False)
        except OSError as error:
            why = clean_line(error.strerror or "the file")
            return Field(name, low, max(0, high - low), "", f"{_BAD}: {why}", is_normal=False)

    def _text(self, entry: int) -> str:
        """Return the value of a row as text. Raises DamageError, OSError."""
        if self._tag is ColumnTag.SYMBOL:
            return self._symbol(entry)
        values = self._values(entry)
        if bool(values.null[0]):
            return "null"
        text = cells_of(values).data.tobytes().decode("utf-8", "replace")
        return f'"{text}"' if self._tag in (ColumnTag.STRING, ColumnTag.VARCHAR, ColumnTag.CHAR) else text

    def _values(self, entry: int) -> Values:
        aux, data = self._aux, self._data
        if aux is None or data is None:
            raise DamageError("a file of the column cannot be opened")
        dtype = value_dtype(self._code)
        if dtype is None:
            low, high = value_bytes(self._tag, aux, entry)
            if high - low > _MOST_SHOWN:
                raise DamageError(f"it has {high - low:,} bytes; at most {_MOST_SHOWN:,} are shown")
            return variable_values(self._code, aux, data, entry, entry + 1)
        stored = data.array(entry * dtype.itemsize, dtype, 1)
        if not len(stored):
            raise DamageError("the file ends before this row")
        return fixed_values(self._code, stored)

    def _symbol(self, entry: int) -> str:
        values = self._values(entry)
        assert isinstance(values, FixedValues)  # noqa: S101 (a SYMBOL has fixed width)
        key = int(values.values[0])
        if key == NULL_KEY:
            return "null"
        if not 0 <= key < self._partitions.symbols(self._each.column):
            raise DamageError(f"key {key:,} is not in the symbol map")
        table, name_txn = self._path.parent.parent, self._partitions.symbol_name_txn(self._each.column)
        return f'key {key:,}, "{read_symbol(table, self._each.column.raw_name, key, name_txn)}"'

    def _opened(self, path: Path) -> DbFile | None:
        try:
            return self._stack.enter_context(DbFile(path))
        except OSError:
            return None

    # ---- places ------------------------------------------------------------------------------------------------------

    def offset_of(self, row: int) -> int:
        """Return where a row of the partition begins in this file. Raises WalmedicError if it is not in the file."""
        if not 0 <= row < self._each.span.rows:
            raise WalmedicError(
                f"the partition has no row {row:,}: it has {self._each.span.rows:,}, the first is row 0"
            )
        if row < self.top:
            raise WalmedicError(f"row {row:,} was there before the column: the file begins with row {self.top:,}")
        entry = row - self.top
        if not self._is_data or self._aux is None:
            return entry * self._width
        return value_bytes(self._tag, self._aux, entry)[0]

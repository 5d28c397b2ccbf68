"""A column's file: which row a byte belongs to, and the value of that row. Reads one row at a time."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.diagnosis.inspection import Field, FileKind, RecordView
from console.diagnosis.inspection.values import FieldReader, Note
from console.errors import WalmedicError
from console.questdb.column_files import TIMESTAMP_ROW, column_path
from console.questdb.column_types import ColumnTag, is_variable, storage_size, tag_of, type_name, value_dtype
from console.questdb.formats.model import RecordFormat
from console.questdb.formats.segment import ARRAY_AUX, STRING_OFFSET, VARCHAR_AUX
from console.questdb.partition_columns import PartitionFault
from console.questdb.partition_files import PartitionFiles
from console.questdb.reading import DamageError, DbFile
from console.questdb.row_values import FixedValues, Values, fixed_values
from console.questdb.segment import Segment, read_segment
from console.questdb.segment_rows import SegmentRows
from console.questdb.symbol_values import NULL_KEY, read_symbol
from console.questdb.table_metadata import TableColumn
from console.questdb.variable_columns import aux_shape, rows_within, value_bytes
from console.questdb.variable_values import variable_values
from console.recovery.salvage.cells import cells_of
from console.text import clean_line

_FORMATS: Final = {ColumnTag.VARCHAR: VARCHAR_AUX, ColumnTag.ARRAY: ARRAY_AUX}
_MOST_SHOWN: Final = 1 << 20  # bytes of one value
_HEX: Final = 24  # bytes shown beside an offset
_BAD: Final = "the value cannot be read"


@dataclass(frozen=True, slots=True)
class ColumnPlace:
    """The files of a column and the `rows` in them, which follow `top` rows that were there before the column.

    `entries` is the file with an entry of `width` bytes for each row, and `more` entries behind them. `symbol` returns
    the name of a row's key, counted from the first row in the file; it raises DamageError and OSError.
    """

    name: str
    type_code: int
    data: Path
    entries: Path
    width: int
    more: int
    rows: int
    top: int
    within: str
    symbol: Callable[[int, int], str]


def place_of(path: Path) -> ColumnPlace | None:
    if (path.parent / "_event").is_file():
        return _in_segment(path)
    return _in_partition(path)


def _in_partition(path: Path) -> ColumnPlace | None:
    table = path.parent.parent
    partitions = PartitionFiles.of(table) if (table / "_txn").is_file() else None
    if partitions is None:
        return None
    span = next((each for each in partitions.spans if each.directory == path.parent.name), None)
    if span is None or span.parquet_size is not None:
        return None
    for each in partitions.columns_of(span):
        if not isinstance(each, PartitionFault) and path in (each.data, each.entries[0]) and each.entries[1]:
            named, top = _NamesOfTable(table, partitions, each.column), span.rows - each.rows
            name, code, (entries, width, more) = each.column.name, each.column.type_code, each.entries
            return ColumnPlace(name, code, each.data, entries, width, more, each.rows, top, "the partition", named)
    return None


def _in_segment(path: Path) -> ColumnPlace | None:
    segment = read_segment(path.parent)
    events = segment.events[segment.data]
    for index, column in enumerate(segment.metadata.columns if segment.metadata is not None else ()):
        data, aux = (column_path(segment.path, column.raw_name, suffix) for suffix in "di")
        if column.dropped or path not in (data, aux) or not len(events):
            continue
        assert segment.metadata is not None  # noqa: S101 - it has columns
        code, entries, width, more = column.type_code, data, storage_size(column.type_code) or 0, 0
        if is_variable(code):
            entries, (width, more) = aux, aux_shape(tag_of(code))
        elif index == segment.metadata.timestamp_index:
            width = TIMESTAMP_ROW.itemsize
        if width and path in (data, entries):
            rows, named = int(events["end_row"].max()), _NamesOfSegment(segment, index)
            return ColumnPlace(column.name, code, data, entries, width, more, rows, 0, "the segment", named)
    return None


@dataclass(frozen=True, slots=True)
class _NamesOfTable:
    """The names of a symbol column by the table's symbol map."""

    table: Path
    partitions: PartitionFiles
    column: TableColumn

    def __call__(self, row: int, key: int) -> str:
        if not 0 <= key < self.partitions.symbols(self.column):
            raise DamageError(f"key {key:,} is not in the symbol map")
        return read_symbol(self.table, self.column.raw_name, key, self.partitions.symbol_name_txn(self.column))


@dataclass(frozen=True, slots=True)
class _NamesOfSegment:
    """The names of a symbol column of a segment: those of its events, and what the table had before them."""

    segment: Segment
    index: int

    def __call__(self, row: int, key: int) -> str:
        with SegmentRows(self.segment, self.segment.path.parent.parent, only={self.index}) as rows:
            (values,) = next(rows.chunks([(row, row + 1)])).values
        if bool(values.null[0]):
            raise DamageError(f"no event names key {key:,}")
        return cells_of(values).data.tobytes().decode("utf-8", "replace")


class ColumnFile:
    """The file of a column in a native partition or a WAL segment; rows are numbered from 0 in its directory."""

    def __init__(self, path: Path, place: ColumnPlace) -> None:
        self._path, self._place = path, place
        self._tag, self._code, self._width = tag_of(place.type_code), place.type_code, place.width
        self._is_data = path != place.entries
        self.top = place.top
        self._stack = ExitStack()
        self._aux = self._opened(place.entries)
        self._data = self._opened(place.data) if place.entries != place.data else self._aux

    @classmethod
    def of(cls, path: Path) -> "ColumnFile | None":
        place = place_of(path)
        return cls(path, place) if place is not None else None

    def close(self) -> None:
        self._stack.close()

    @property
    def kind(self) -> FileKind:
        return FileKind.COLUMN_VALUES if self._path == self._place.data else FileKind.COLUMN_OFFSETS

    def summary(self) -> str:
        place = self._place
        caption = f"column {place.name}, {type_name(self._code)}, {place.rows:,} of {place.top + place.rows:,} rows"
        return f"{caption}; the first {self.top:,} rows were there before the column" if self.top else caption

    def record_at(self, offset: int) -> RecordView | None:
        """Return the row that the byte at `offset` belongs to; None behind the last row."""
        if offset < 0 or self._aux is None:
            return None
        if not self._is_data:
            return self._entry(offset // self._width)
        entry = rows_within(self._tag, self._aux, self._place.rows, offset)
        low, high = value_bytes(self._tag, self._aux, entry) if entry < self._place.rows else (0, 0)
        if not low <= offset < high:
            return None
        return RecordView(self._title(entry), low, high - low, (*self._length(low), self._value(entry, low, high)))

    # ---- one row -----------------------------------------------------------------------------------------------------

    def _title(self, entry: int) -> str:
        return f"row {self.top + entry:,} of {self._place.name}"

    def _entry(self, entry: int) -> RecordView | None:
        at, file = entry * self._width, self._aux
        if file is None or entry >= self._place.rows + self._place.more:
            return None
        if self._place.entries == self._place.data:
            return RecordView(self._title(entry), at, self._width, (self._value(entry, at, at + self._width),))
        read = FieldReader(file)
        form: RecordFormat = _FORMATS.get(self._tag, STRING_OFFSET) if self._tag is not None else STRING_OFFSET
        read.record(form, at, {"prefix": Note(shown=file.read(at + 4, 6).hex(" "))})
        if entry >= self._place.rows:
            return RecordView("end of the last value", at, self._width, read.taken())
        end = at + self._width
        fields = (*read.taken(), self._pointed_to(entry, end), self._value(entry, end, end))
        return RecordView(self._title(entry), at, self._width, fields)

    def _pointed_to(self, entry: int, at: int) -> Field:
        """Return the bytes of the data file that an entry points to."""
        name = f"bytes in {clean_line(self._place.data.name)}"
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
        name, kind = self._place.name, type_name(self._code)
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
        stored = data.array(entry * self._width, dtype, 1)
        if not len(stored):
            raise DamageError("the file ends before this row")
        return fixed_values(self._code, stored)

    def _symbol(self, entry: int) -> str:
        values = self._values(entry)
        assert isinstance(values, FixedValues)  # noqa: S101 (a SYMBOL has fixed width)
        key = int(values.values[0])
        return "null" if key == NULL_KEY else f'key {key:,}, "{self._place.symbol(entry, key)}"'

    def _opened(self, path: Path) -> DbFile | None:
        try:
            return self._stack.enter_context(DbFile(path))
        except OSError:
            return None

    # ---- places ------------------------------------------------------------------------------------------------------

    def offset_of(self, row: int) -> int:
        """Return where a row of the partition begins in this file. Raises WalmedicError if it is not in the file."""
        count = self._place.top + self._place.rows
        if not 0 <= row < count:
            raise WalmedicError(f"{self._place.within} has no row {row:,}: it has {count:,}, the first is row 0")
        if row < self.top:
            raise WalmedicError(f"row {row:,} was there before the column: the file begins with row {self.top:,}")
        entry = row - self.top
        if not self._is_data or self._aux is None:
            return entry * self._width
        return value_bytes(self._tag, self._aux, entry)[0]

"""Values of one column in one directory of a partition, whatever its files are: what cannot be read comes as null.

What comes as null because of damage is a hole, and listed; rows before the column's top are none.
"""

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag, is_variable, value_dtype
from console.questdb.column_versions import ColumnVersions
from console.questdb.partition_rows import absent_values
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import ArraySource, DamageError, DbFile, problem_of
from console.questdb.rebuilt_offsets import rebuilt_offsets, tells_offsets
from console.questdb.row_values import Numbers, Values, fixed_values, joined, nulls
from console.questdb.table_metadata import TableColumn
from console.questdb.variable_columns import aux_shape, bad_variable_rows
from console.questdb.variable_values import data_span, variable_values
from console.recovery.salvage.symbol_names import SymbolNames
from console.recovery.salvage.version_guess import guessed_top

_MOST_HOLES: Final = 1000


@dataclass(frozen=True, slots=True)
class Hole:
    """Rows `first` … `first` + `rows` - 1 of a column that come as null; `why` is a part of a sentence."""

    column: str
    first: int
    rows: int
    why: str


class MadeOffsets:
    """Offsets that were found in the data file, in place of the auxiliary file."""

    def __init__(self, offsets: Numbers) -> None:
        self._offsets = offsets

    @property
    def size(self) -> int:
        """Length in bytes."""
        return 8 * len(self._offsets)

    def array(self, offset: int, dtype: DTypeLike, count: int) -> NDArray[Any]:
        return self._offsets[offset // 8 : offset // 8 + count].astype(dtype)


class PartColumn:
    """A column of a part, its files open. Use as a context manager.

    `holes` grows as rows are read; `notes` say what was repaired while it was read.
    """

    def __init__(
        self,
        folder: Path,
        span: PartitionSpan,
        column: TableColumn,
        versions: ColumnVersions,
        names: SymbolNames | None,
    ) -> None:
        self.column, self.holes, self.notes = column, list[Hole](), list[str]()
        self._span, self._names = span, names
        self._open = contextlib.ExitStack()
        self._data: DbFile | None = None
        self._aux: ArraySource | None = None
        self._why = ""
        self._told = 0
        name_txn, top = guessed_top(folder, span, column, versions, span.rows)
        self._top = span.rows if top is None else min(top, span.rows)
        if top is None and versions.version is None:
            self._top, self._why = 0, "there is no file of it, and _cv does not show whether one is needed"
        if versions.version is None and name_txn > -1 and self._top == 0:
            self.notes.append(f"column {column.name}: _cv does not show its top; values may be those of other rows")
        self._paths = (
            [column_path(folder, column.raw_name, suffix, name_txn) for suffix in ("d", "i")]
            if self._top < span.rows
            else []
        )

    def __enter__(self) -> "PartColumn":
        if not self._paths or self._why:
            return self
        data, aux = self._paths
        self._data = self._opened(data)
        if is_variable(self.column.type_code) and self._data is not None:
            self._aux = self._offsets(aux, self._data)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def width(self) -> int:
        """About how many bytes the value of a row takes in memory, but for those of variable width."""
        dtype = value_dtype(self.column.type_code)
        return 16 if dtype is None else dtype.itemsize

    def bytes_of(self, first: int, end: int) -> int:
        """Return about how many bytes the rows first..end - 1 take in the data file, 0 for a type of fixed width."""
        low, high = max(first, self._top) - self._top, end - self._top
        if self._aux is None or self._data is None or low >= high:
            return 0
        return min(self._data.size, data_span(self.column.type_code, self._aux, low, high))

    def values(self, first: int, end: int) -> Values:
        """Return the rows first..end - 1. Raises OSError if the disk fails."""
        found: list[Values] = []
        if first < self._top:
            found.append(absent_values(self.column.type_code, min(end, self._top) - first))
        if end > self._top:
            found.append(self._stored(max(first, self._top), end))
        return joined(found)

    def _opened(self, path: Path) -> DbFile | None:
        try:
            return self._open.enter_context(DbFile(path))
        except OSError as error:
            self._why = f"{path.name}: {problem_of(error, path).what}"
            return None

    def _offsets(self, path: Path, data: DbFile) -> ArraySource | None:
        """Return the auxiliary file; for a type whose values say how long they are, offsets made from them if it is
        damaged."""
        aux = self._opened(path)
        rows = self._span.rows - self._top
        width, more = aux_shape(self.column.tag)
        tag = self.column.tag
        if tag is None or not tells_offsets(tag):
            return aux
        if aux is not None and aux.size >= width * (rows + more) and _ends_fit(aux, data, rows):
            return aux
        offsets = rebuilt_offsets(tag, data, rows)
        if len(offsets) <= rows and aux is not None:
            return aux
        why = self._why or f"{path.name}: its offsets do not fit {data.path.name}"
        self.notes.append(f"{why}; offsets were found in the data file")
        return MadeOffsets(offsets)

    def _stored(self, first: int, end: int) -> Values:
        if self._data is None:
            return self._hole(first, end, self._why)
        if not is_variable(self.column.type_code):
            return self._fixed(self._data, first, end)
        if self._aux is None:
            return self._hole(first, end, self._why)
        return self._variable(self._aux, self._data, first, end)

    def _fixed(self, data: DbFile, first: int, end: int) -> Values:
        dtype = value_dtype(self.column.type_code)
        assert dtype is not None  # noqa: S101 (the type has fixed width)
        raw = data.array((first - self._top) * dtype.itemsize, dtype, end - first)
        if self.column.tag is ColumnTag.SYMBOL and self._names is not None:
            found: Values = self._names.texts(self.column.type_code, raw.astype(np.int64))
        else:
            found = fixed_values(self.column.type_code, raw)
        if len(raw) == end - first:
            return found
        return joined([found, self._hole(first + len(raw), end, f"{data.path.name} ends before them")])

    def _variable(self, aux: ArraySource, data: DbFile, first: int, end: int) -> Values:
        code, top = self.column.type_code, self._top
        if self.column.tag is not ColumnTag.ARRAY:  # zeros in its entries would look like NULLs
            with contextlib.suppress(DamageError):
                return variable_values(code, aux, data, first - top, end - top)
        bad = bad_variable_rows(code, aux, data, first - top, end - top)
        last = np.flatnonzero(bad[:-1] & ~bad[1:])  # it may only not follow on what is damaged
        if len(last):
            bad[last] = bad_variable_rows(code, aux, data, first - top, end - top, alone=True)[last]
        edges = np.flatnonzero(np.diff(bad)) + 1
        bounds = [0, *edges.tolist(), end - first]
        found: list[Values] = []
        for low, high in itertools.pairwise(bounds):
            found.append(self._piece(aux, data, first + low, first + high, torn=bool(bad[low])))
        return joined(found)

    def _piece(self, aux: ArraySource, data: DbFile, first: int, end: int, *, torn: bool) -> Values:
        why = f"entries and values in {data.path.name} do not fit"
        if torn:
            return self._hole(first, end, why)
        try:
            return variable_values(self.column.type_code, aux, data, first - self._top, end - self._top)
        except DamageError as damage:
            return self._hole(first, end, f"{data.path.name}: {damage.what}")

    def _hole(self, first: int, end: int, why: str) -> Values:
        last = self.holes[-1] if self.holes else None
        if last is not None and last.first + last.rows == first and last.why == why:
            self.holes[-1] = Hole(last.column, last.first, last.rows + end - first, why)
        elif len(self.holes) < _MOST_HOLES:
            self.holes.append(Hole(self.column.name, first, end - first, why))
        else:
            self.holes[-1] = Hole(last.column if last else "", self.holes[-1].first, end - self.holes[-1].first,
                                  "values of most of these rows cannot be read")  # fmt: skip
        return nulls(self.column.type_code, end - first)


def _ends_fit(aux: DbFile, data: DbFile, rows: int) -> bool:
    """Return whether offsets rise and stay within the data file. Each block of them is looked at."""
    step = 1 << 18
    for at in range(0, rows, step):
        offsets = aux.array(8 * at, "<i8", min(step, rows - at) + 1)
        if not len(offsets) or (np.diff(offsets) < 4).any() or int(offsets[-1]) > data.size or int(offsets[0]) < 0:
            return False
    return True

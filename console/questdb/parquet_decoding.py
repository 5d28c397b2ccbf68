"""What pyarrow makes of a Parquet file. It runs in a process of its own (parquet_worker): damage can end pyarrow.

Every function raises DamageError if the file cannot be decoded, OSError if it cannot be read.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from console.questdb.reading import DamageError, open_for_reading
from console.text import clean_line

_MOST: Final = 256 << 20
"""Bytes of a column chunk, decoded, that are read for one value."""
_LAST: Final[dict[tuple[str | int, ...], Any]] = {}
_FIELD_ID: Final = b"PARQUET:field_id"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield the pyarrow file. The last one stays open: its footer is decoded once."""
    descriptor = open_for_reading(path)
    status = os.fstat(descriptor)
    mark = (str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    with os.fdopen(descriptor, "rb"), _decoding():
        if mark not in _LAST:
            import pyarrow
            import pyarrow.parquet

            _LAST.clear()
            source = pyarrow.PythonFile(os.fdopen(os.dup(descriptor), "rb"), mode="r")
            _LAST[mark] = pyarrow.parquet.ParquetFile(source)
        yield _LAST[mark]


@contextmanager
def _decoding() -> Iterator[None]:
    """Raise DamageError for whatever pyarrow raises; of the disk's errors only those have a number."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise DamageError(clean_line(str(error), 120)) from error
    except DamageError:
        raise
    except Exception as error:
        raise DamageError(clean_line(str(error), 120)) from error


def layout(path: Path) -> dict[str, Any]:
    """Return what the footer says: rows, row groups, the names of columns by field id."""
    with _opened(path) as file:
        groups = [_group(file.metadata.row_group(number)) for number in range(file.metadata.num_row_groups)]
        fields = {str(_field_id(each)): each.name for each in file.schema_arrow}
        return {"rows": file.metadata.num_rows, "groups": groups, "fields": fields}


def _group(group: Any) -> dict[str, Any]:
    chunks = []
    for each in (group.column(column) for column in range(group.num_columns)):
        start = each.data_page_offset
        if each.has_dictionary_page and each.dictionary_page_offset is not None:
            start = min(start, each.dictionary_page_offset)
        kind = f"{each.physical_type.lower()}, {each.compression.lower()}"
        name = each.path_in_schema.split(".")[0]
        chunks.append({"name": name, "offset": start, "size": each.total_compressed_size, "kind": kind})
    return {"rows": group.num_rows, "chunks": sorted(chunks, key=lambda chunk: int(chunk["offset"]))}


def _field_id(field: Any) -> int:
    number = (field.metadata or {}).get(_FIELD_ID, b"")
    return int(number) if number.isdigit() else -1


def check_column(path: Path, group: int, name: str) -> None:
    with _opened(path) as file:
        file.read_row_group(group, [name])


def column(path: Path, group: int, name: str) -> bytes:
    """Return a column of a row group as an Arrow stream of one column."""
    import pyarrow

    with _opened(path) as file:
        table = file.read_row_group(group, [name])
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())


def row(path: Path, group: int, at: int) -> dict[str, str]:
    """Return the value of each column in row `at` of a row group as text; what cannot be decoded says why."""
    found: dict[str, str] = {}
    with _opened(path) as file:
        described = file.metadata.row_group(group)
        columns = [described.column(each) for each in range(described.num_columns)]
        sizes = {each.path_in_schema.split(".")[0]: each.total_uncompressed_size for each in columns}
        for name, size in sizes.items():
            if size > _MOST:
                found[name] = f"not read: the column has {size:,} bytes here"
                continue
            try:
                with _decoding():
                    found[name] = _text(file.read_row_group(group, [name]).column(0)[at])
            except (DamageError, OSError) as error:
                found[name] = f"cannot be decoded ({clean_line(str(error), 80)})"
    return found


def row_since(path: Path, group: int, name: str, wanted: int) -> int | None:
    """Return the first row of a row group whose i64 timestamp in column `name` is `wanted` or later."""
    with _opened(path) as file:
        values = file.read_row_group(group, [name]).column(0).cast("int64").to_numpy()
        found = int(np.searchsorted(values, wanted))
        return found if found < len(values) else None


def time(path: Path, group: int, name: str, at: int) -> int:
    """Return the i64 timestamp in row `at` of a row group, from its end if that is below 0."""
    with _opened(path) as file:
        return int(file.read_row_group(group, [name]).column(0).cast("int64")[at].as_py())


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


OPERATIONS: Final[Mapping[str, Callable[..., Any]]] = {
    each.__name__: each for each in (layout, check_column, column, row, row_since, time)
}
"""By name, each with a path first and JSON values behind it; `column` returns bytes, the others JSON values."""

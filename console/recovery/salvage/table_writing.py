"""A table's rows as files, one for each directory of a partition, listed in a manifest.

Every part can be redone: a file that was not noted as done is written anew.
"""

import contextlib
import datetime
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from console import paths
from console.questdb.column_types import is_nanos, storage_size
from console.questdb.reading import DamageError, problem_of
from console.questdb.table_txn import read_table_txn
from console.recovery.salvage.cells import importable
from console.recovery.salvage.folder import Folder
from console.recovery.salvage.output import RowFormat, SalvageError
from console.recovery.salvage.parquet_file import growth
from console.recovery.salvage.parquet_rows import ParquetRows
from console.recovery.salvage.part_rows import Found, NativeRows, Reader, shown_columns, symbol_names
from console.recovery.salvage.part_values import Hole
from console.recovery.salvage.statements import statements_in
from console.recovery.salvage.symbol_names import SymbolNames
from console.recovery.salvage.table_picture import Part, TablePicture
from console.recovery.salvage.writing import AT_ONCE, FORMATS, write_manifest
from console.text import clean_line

_MOST_LISTED: Final = 1000
_OF_CSV, _OF_PARQUET = 4, 1.5
"""How many times the bytes of column files a format takes at most, about, but for types that are text in it."""
_VARIABLE: Final = 16
"""Bytes of a value of variable width, about, in a partition that QuestDB has compressed."""

Names = dict[int, SymbolNames]


def write_parts(target: Folder, picture: TablePicture, progress: Callable[[str, int, int], None]) -> Names:
    """Write what is not done yet. Damage is told, not raised. Raises SalvageError, OSError."""
    paths.make_private(target.folder)
    form = FORMATS[target.form]()
    done, names = target.done(), symbol_names(picture)
    left = [part for part in picture.parts if part.span.name not in done]
    written = picture.rows - sum(part.span.rows for part in left)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = pool.map(lambda part: _Written(target, picture, part, names, form).said(), left)
        with contextlib.closing(told):  # type: ignore[type-var]
            for part in left:
                progress(f"partition {part.span.name}", written, picture.rows)
                target.note(next(told))
                written += part.span.rows
    progress("all written", picture.rows, picture.rows)
    return names


def finish_table(target: Folder, picture: TablePicture, names: Names, about: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest, with what `about` says of the database, and return it."""
    told = list(target.done().values())
    files = [said for said in told if said["status"] != "skipped"]
    skipped = [{key: said[key] for key in ("partition", "rows_left_out", "why")} for said in told if said not in files]
    missing = [{"partition": name, "rows": rows} for name, rows in picture.missing]
    timestamp = picture.metadata.timestamp
    manifest = {
        "schema": 1,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **about,
        "format": target.form,
        "rows": sum(said["rows"] for said in files),
        "rows_left_out": sum(rows for _, rows in picture.missing) + sum(said["rows_left_out"] for said in skipped),
        "rows_in_lag": picture.area.lag_rows if picture.area is not None else None,
        "proven": not picture.not_proven and all(said["rows_proven"] for said in files),
        "not_proven": list(picture.not_proven),
        "columns_from": picture.columns.source,
        "columns": [{"name": column.name, "type": column.type_name} for column in shown_columns(picture)],
        "not_for_import": [column.name for column in shown_columns(picture) if not importable(column.type_code)],
        "timestamp": timestamp.name if timestamp is not None else None,
        "unit": None if timestamp is None else "ns" if is_nanos(timestamp.type_code) else "us",
        "files": files,
        "missing": missing,
        "skipped": skipped,
        "unused_directories": list(picture.unused),
        "symbols_without_name": _placeholders(picture, names, files),
        "statements": statements_in(picture.table),
    }
    write_manifest(target.folder, manifest)
    return manifest


def _placeholders(picture: TablePicture, names: Names, files: list[dict[str, Any]]) -> dict[str, Any]:
    """Return by column which keys came as a placeholder, and why; also those of files that an earlier run wrote."""
    found: dict[str, Any] = {}
    for column in picture.metadata.symbols:
        keys = {key for said in files for key in said["placeholders"].get(column.name, ())}
        if keys:
            found[column.name] = {"why": names[column.index].problem, "keys": sorted(keys)[:_MOST_LISTED]}
    return found


class _Written:
    """One part: written, and what there is to say of it."""

    def __init__(self, target: Folder, picture: TablePicture, part: Part, names: Names, form: RowFormat) -> None:
        self._picture, self._part, self._names, self._form = picture, part, names, form
        self._path = target.folder / f"{part.span.name}.{form.suffix}"

    def said(self) -> dict[str, Any]:
        """Write; return the entry for the manifest."""
        self._path.unlink(missing_ok=True)  # of this very salvage, which was cut off while it wrote it
        try:
            return self._written(self._reader())
        except DamageError as damage:
            return self._skipped(damage.what)
        except FileNotFoundError as error:
            return self._skipped(f"{clean_line(str(error.filename))} is gone")

    def _reader(self) -> Reader:
        if self._part.span.parquet_size is not None:
            return ParquetRows(self._picture, self._part)
        return NativeRows(self._picture, self._part, self._names)

    def _written(self, reader: Reader) -> dict[str, Any]:
        rows = self._part.span.rows
        found = Found()
        sha256 = self._form.write(self._path, reader.columns, reader.chunks(found))
        if found.rows != rows:
            raise SalvageError(f"{clean_line(str(self._path))} has {found.rows:,} of {rows:,} rows")
        if found.holes and self._moved_on():
            return self._skipped("a server changed the partition meanwhile; run salvage-table again")
        return self._told(found, sha256)

    def _moved_on(self) -> bool:
        area, now = self._picture.area, read_table_txn(self._picture.table).current
        return area is not None and (now is None or now.txn != area.txn)

    def _told(self, found: Found, sha256: str) -> dict[str, Any]:
        span, note = self._part.span, self._part.note
        return {
            "name": span.name,
            "partition": clean_line(span.name),
            "directory": clean_line(span.directory),
            "status": "partial" if found.holes or found.doubts else "written",
            "file": self._path.name,
            "bytes": self._path.stat().st_size,
            "sha256": sha256,
            "rows": found.rows,
            "rows_left_out": 0,
            "rows_proven": not note and self._picture.area is not None,
            "note": note,
            "min_ts": found.min_ts,
            "max_ts": found.max_ts,
            "null_by_damage": [_hole(each) for each in found.holes],
            "doubtful": [_hole(each) for each in found.doubts],
            "notes": found.notes,
            "placeholders": {
                column.name: sorted(self._names[column.index].placeholders.copy())
                for column in self._picture.metadata.symbols
                if self._names[column.index].placeholders
            },
        }

    def _skipped(self, why: str) -> dict[str, Any]:
        self._path.unlink(missing_ok=True)
        name = self._part.span.name
        return {
            "name": name, "partition": clean_line(name), "status": "skipped", "why": clean_line(why), "rows": 0,
            "rows_left_out": self._part.span.rows,
        }  # fmt: skip


def _hole(hole: Hole) -> dict[str, Any]:
    return {"column": hole.column, "first_row": hole.first, "rows": hole.rows, "why": clean_line(hole.why)}


def bytes_of_parts(picture: TablePicture) -> int:
    """Return the bytes that the files of all parts take now."""
    total = 0
    for part in picture.parts:
        folder: Path = picture.table / part.span.directory
        try:
            total += sum(path.stat().st_blocks * 512 for path in folder.iterdir())
        except OSError as error:
            raise DamageError(f"{folder.name}: {problem_of(error, folder).what}") from error
    return total


def most_bytes(picture: TablePicture, size: int, form: str) -> int:
    """Return about how many bytes the files take at most; `size` is what those of the parts take (bytes_of_parts)."""
    if form == "csv":
        return _OF_CSV * size
    codes = [column.type_code for column in shown_columns(picture)]
    packed = sum(part.span.rows for part in picture.parts if part.span.parquet_size is not None)
    width = sum(storage_size(code) or _VARIABLE for code in codes)
    return int(_OF_PARQUET * size) + picture.rows * sum(map(growth, codes)) + packed * width

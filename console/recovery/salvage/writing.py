"""One salvage: choose, write a file for each segment, read it back, list all in a manifest. Every part can be redone.

What was chosen and what is done is kept in the entry's folder, so that a salvage that was killed goes on with the next
segment; a file that was not noted as done is written anew.
"""

import contextlib
import datetime
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console import paths
from console.questdb.column_types import is_nanos
from console.questdb.reading import DamageError, Problem
from console.questdb.segment import Segment, read_segment
from console.questdb.segment_data import TornRows
from console.questdb.segment_rows import Column, Rows, SegmentRows, Span
from console.records import of_json, to_json
from console.recovery.salvage.cells import csv_cells, header_of, importable, rows_of
from console.recovery.salvage.folder import Folder
from console.recovery.salvage.output import Extent, RowFormat, SalvageError, new_file, reads_differently
from console.recovery.salvage.parquet_file import ParquetFormat
from console.recovery.salvage.selection import Choice, Selection, rows_to_write
from console.recovery.store.copying import digest_of_file, sync_tree
from console.recovery.store.places import MANIFEST
from console.recovery.store.state import write_private
from console.text import clean_line, plural

AT_ONCE: Final = 2
"""Files at once: while one waits for the disk, the other is worked on."""


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


FORMATS: dict[str, Callable[[], RowFormat]] = {"csv": CsvFormat, "parquet": ParquetFormat}
_MAX_TORN = 200


@dataclass(frozen=True, slots=True)
class Target(Folder):
    """Where a salvage of WAL reads and writes. `table` holds the symbol dictionaries, None where there is no table."""

    wals: Path  # the directory that holds the `walN`
    table: Path | None

    @property
    def _chosen(self) -> Path:
        return self.notes / f"{self.folder.name}.selection.json"

    def chosen(self, choose: Callable[[], Selection]) -> Selection:
        """Return what was chosen when this salvage began, choosing now where nothing was."""
        with contextlib.suppress(FileNotFoundError):
            return of_json(Selection, json.loads(self._chosen.read_bytes()))
        selection = choose()
        write_private(self._chosen, json.dumps(to_json(selection)).encode())
        return selection


def write_segments(target: Target, selection: Selection, progress: Callable[[str, int, int], None]) -> None:
    """Write what is not done yet. A damaged segment is reported, not raised. Raises SalvageError, OSError."""
    paths.make_private(target.folder)
    form = FORMATS[target.form]()
    done = target.done()
    total, written = selection.rows, 0
    for choice in selection.choices:
        if choice.name not in done:
            progress(f"wal{choice.wal}/{choice.segment}", written, total)
            target.note(_Salvaged(target, choice, form).entry())
        written += choice.rows
    progress("all written and read back", total, total)


def finish(target: Target, selection: Selection, about: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest, with what `about` says of the database, and return it."""
    done = target.done()
    files = [done[choice.name] for choice in selection.choices]
    gone = [{"wal": s["wal"], "segment": s["segment"], "why": s["why"]} for s in files if s["status"] == "skipped"]
    kept = [entry for entry in files if entry["status"] != "skipped"]
    manifest = {
        "schema": 1,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **about,
        "format": target.form,
        "rows": sum(entry["rows"] for entry in kept),
        "rows_left_out": sum(entry["rows_left_out"] for entry in files),
        "which_are_unapplied": selection.note or "known",
        "files": kept,
        "skipped": [*({"wal": w, "segment": s, "why": why} for w, s, why in selection.skipped), *gone],
        "not_rows": list(selection.others),
        "transactions_gone": selection.gone,
    }
    write_manifest(target.folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, after all else is durable."""
    sync_tree(folder)
    write_private(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a salvage. Raises SalvageError where there is none."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise SalvageError(f"{clean_line(str(folder))} holds no manifest of a finished salvage") from error
    return manifest


def damaged_files(folder: Path, manifest: dict[str, Any]) -> list[str]:
    def damaged(entry: dict[str, Any]) -> bool:
        try:
            return digest_of_file(folder / str(entry["file"])) != str(entry["sha256"])
        except OSError:
            return True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(damaged, manifest["files"])
        return [str(entry["file"]) for entry, bad in zip(manifest["files"], found, strict=True) if bad]


class _Salvaged:
    """One segment: written, read back, and what there is to say of it."""

    def __init__(self, target: Target, choice: Choice, form: RowFormat) -> None:
        self._choice, self._form, self._target = choice, form, target
        self._path = target.folder / f"{choice.name}.{form.suffix}"

    def entry(self) -> dict[str, Any]:
        """Write and read back; return the entry for the manifest."""
        choice = self._choice
        segment = read_segment(self._target.wals / f"wal{choice.wal}" / str(choice.segment))
        self._path.unlink(missing_ok=True)  # of this very salvage, which was cut off while it wrote it
        try:
            spans, holes, torn = rows_to_write(segment, choice)
            return self._written(segment, spans, holes, torn)
        except DamageError as damage:
            return self._skipped(segment, damage.what)
        except FileNotFoundError as error:
            return self._skipped(segment, f"{clean_line(str(error.filename))} is gone")

    def _written(
        self, segment: Segment, spans: list[Span], holes: dict[int, list[Span]], torn: list[TornRows]
    ) -> dict[str, Any]:
        with SegmentRows(segment, self._target.table, holes) as rows:
            measured = _Measured(rows.chunks(spans), rows.designated)
            sha256 = self._form.write(self._path, rows.columns, measured)
            if digest_of_file(self._path) != sha256:
                raise reads_differently(self._path)
            found, expected = measured.extent.rows, sum(high - low for low, high in spans)
            if found != expected:
                raise SalvageError(f"{clean_line(str(self._path))} has {found:,} of {expected:,} rows")
            return {**self._manifest_entry(segment, rows, measured.extent, torn), "sha256": sha256}

    def _manifest_entry(
        self, segment: Segment, rows: SegmentRows, extent: Extent, torn: list[TornRows]
    ) -> dict[str, Any]:
        certain = [each for each in torn if not each.suspect]
        problems = [*segment.problems, *rows.problems]
        nanos = is_nanos(rows.columns[rows.designated].type_code)
        return {
            **self._address(),
            "status": "partial" if certain or problems or rows.unresolved else "written",
            "file": self._path.name,
            "bytes": self._path.stat().st_size,
            "rows": extent.rows,
            "rows_left_out": self._choice.rows - extent.rows,
            "unit": "ns" if nanos else "us",
            "min_ts": extent.min_ts,
            "max_ts": extent.max_ts,
            "columns": [_column(column) for column in rows.columns],
            "not_for_import": [column.name for column in rows.columns if not importable(column.type_code)],
            "torn": [_torn(each) for each in torn[:_MAX_TORN]],
            "torn_in_all": len(torn),
            "symbols_not_named": rows.unresolved,
            "problems": [_problem(each) for each in problems],
        }

    def _skipped(self, segment: Segment, why: str) -> dict[str, Any]:
        self._path.unlink(missing_ok=True)
        entry = "; ".join([clean_line(why), *(_problem(each) for each in segment.problems[:3])])
        return {
            **self._address(), "status": "skipped", "why": entry, "rows": 0, "rows_left_out": self._choice.rows,
        }  # fmt: skip

    def _address(self) -> dict[str, Any]:
        choice = self._choice
        return {
            "name": choice.name, "wal": choice.wal, "segment": choice.segment,
            "transactions": [
                {"first": e.first, "last": e.last, "state": e.state, "rows": e.end_row - e.first_row}
                for e in choice.events
            ],
        }  # fmt: skip


class _Measured:
    """Chunks passed on and measured on their way."""

    def __init__(self, chunks: Iterator[Rows], designated: int) -> None:
        self._chunks, self._designated = chunks, designated
        self.extent = Extent()

    def __iter__(self) -> Iterator[Rows]:
        for rows in self._chunks:
            self.extent = self.extent.with_rows(rows, self._designated)
            yield rows


def _column(column: Column) -> dict[str, str]:
    return {"name": column.name, "type": column.type_name}


def _torn(torn: TornRows) -> dict[str, Any]:
    return {
        "column": torn.column, "transaction": torn.event, "first_row": torn.first_row, "rows": torn.rows,
        "what": torn.what, "suspect_only": torn.suspect,
    }  # fmt: skip


def _problem(problem: Problem) -> str:
    return f"{problem.file.name}: {problem.what}"


def summary_of(manifest: dict[str, Any], part: str = "segment") -> str:
    """Return a manifest in one line; a `part` is what a file is of."""
    partial = sum(entry["status"] == "partial" for entry in manifest["files"])
    words = [f"{plural(manifest['rows'], 'row')} of {plural(len(manifest['files']), part)}"]
    if partial:
        words.append(f"{partial} of them partial")
    if manifest["rows_left_out"]:
        words.append(f"{plural(manifest['rows_left_out'], 'row')} skipped")
    return ", ".join(words)

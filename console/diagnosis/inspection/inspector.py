"""One open file under inspection: what it is, and the record that any byte belongs to."""

from pathlib import Path

from console.diagnosis.inspection import logs, segments, sequencer_files, symbol_files, table_files, view_files
from console.diagnosis.inspection.kinds import kind_of
from console.diagnosis.inspection.model import FileDescription, FileKind, RecordView
from console.diagnosis.inspection.values import FieldReader
from console.diagnosis.model import Finding
from console.errors import WalmedicError
from console.questdb.column_types import is_nanos
from console.questdb.formats.database import CONVERSION, UPGRADE
from console.questdb.formats.segment import EVENT_OFFSET
from console.questdb.formats.sequencer import LOG_RECORD_V2, STRUCTURE_END
from console.questdb.formats.table import TODO
from console.questdb.reading import DbFile, problem_of
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import read_table_txn
from console.text import clean_line, plural

_LOGS = (FileKind.LOG_V1, FileKind.LOG_V2, FileKind.LOG_PART, FileKind.LOG_DAMAGED)
_SYMBOL_FILES = (FileKind.SYMBOL_OFFSETS, FileKind.SYMBOL_VALUES, FileKind.INDEX_KEYS, FileKind.INDEX_ROWS)
_SMALL = 64 << 20
_TEXTS = {FileKind.TABLE_NAME: "name", FileKind.CHECKPOINT: "instance"}
_SINGLE = {FileKind.UPGRADE: UPGRADE, FileKind.TODO: TODO, FileKind.CONVERSION: CONVERSION}


class Inspector:
    """Decodes one file; a context manager. Reads stay inside the file, and only what a question needs is read.

    Raises WalmedicError from the constructor where the file cannot be opened, OSError later where the device fails.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.path = path
        self.root = root
        try:
            # The way to the file is the operator's word and may hold links; the file itself may be none.
            self._file = DbFile(path.parent.resolve() / path.name)
        except OSError as error:
            problem = problem_of(error, path)
            raise WalmedicError(f"{clean_line(str(path))}: {problem.what}") from error
        self.kind = kind_of(self._file)
        self._shape = self._log_shape()
        self._views: tuple[RecordView, ...] | None = None

    def __enter__(self) -> "Inspector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    @property
    def size(self) -> int:
        """Length of the file in bytes when it was opened."""
        return self._file.size

    @property
    def table(self) -> Path | None:
        """The directory of the table that the file belongs to, where its `_txn` is found above the file."""
        for folder in list(self._file.path.parents)[:4]:
            if (folder / "_txn").is_file():
                return folder
        return None

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes at `offset`, for the hex view."""
        return self._file.read(offset, count)

    def record_at(self, offset: int) -> RecordView | None:
        """Return the record or header that holds the byte at `offset`, also past the end of a log; None where none."""
        if offset < 0:
            return None
        shape = self._shape
        if shape is not None and self.kind in _LOGS:
            if offset < shape.base:
                return logs.header_view(self._file)
            if self.kind in (FileKind.LOG_V2, FileKind.LOG_DAMAGED):
                return (
                    sequencer_files.slack_view(self._file, offset, self.size, "no records lie here")
                    if offset < self.size
                    else None
                )
            return logs.record_view(self._file, shape, shape.txn_at(offset))
        if offset >= self.size:
            return None
        if self.kind is FileKind.STRUCTURE_INDEX:
            return sequencer_files.index_view(self._file, offset, STRUCTURE_END, 0, "change")
        if self.kind is FileKind.SEGMENT_EVENT_INDEX:
            return sequencer_files.index_view(self._file, offset, EVENT_OFFSET, segments.HEADER, "event")
        if self.kind is FileKind.SEGMENT_EVENTS:
            return self._event_at(offset)
        if self.kind in _SYMBOL_FILES:
            return symbol_files.symbol_file_view(self.kind, self._file, offset)
        views = self.views()
        for view in views:
            if view.offset <= offset < view.offset + view.size:
                return view
        if self.kind in (FileKind.OTHER, FileKind.CRASH_LOG):
            return None
        # Between what is used the gaps may be long: in steps of a page, so that a view stays small.
        low = max((view.offset + view.size for view in views if view.offset + view.size <= offset), default=0)
        high = min((view.offset for view in views if view.offset > offset), default=self.size)
        at = low + (offset - low) // 4096 * 4096
        return sequencer_files.slack_view(self._file, at, high, "nothing is kept here")

    def record_of(self, txn: int) -> RecordView | None:
        """Return the record of a transaction; None where the file is no log with records, or it is not in this part."""
        shape = self._shape
        if shape is None or self.kind not in (FileKind.LOG_V1, FileKind.LOG_PART) or txn < shape.first_txn:
            return None
        return logs.record_view(self._file, shape, txn)

    def views(self) -> tuple[RecordView, ...]:
        """Return header and records of a small file, all of them; empty for files made of many records."""
        if self._views is None:
            self._views = self._decode() if self.size <= _SMALL else ()
        return self._views

    def describe(self, findings: tuple[Finding, ...] = ()) -> FileDescription:
        """Return what the whole file is; `findings` are those that a diagnosis of it made."""
        shape = self._shape
        summary = self._summary()
        if shape is not None and self.kind in (FileKind.LOG_V1, FileKind.LOG_PART):
            count = logs.whole_records(shape, self.size)
            return FileDescription(self.path, self.kind, summary, self.size, shape.base, shape.record_size, count,
                                   shape.first_txn, findings)  # fmt: skip
        if self.kind in (FileKind.STRUCTURE_INDEX, FileKind.SEGMENT_EVENT_INDEX):
            used = segments.used_entries(self._file)
            return FileDescription(self.path, self.kind, summary, self.size, 0, 8, used, None, findings)
        return FileDescription(self.path, self.kind, summary, self.size, findings=findings)

    # ---- what the kinds need ----------------------------------------------------------------------------------------

    def _log_shape(self) -> logs.LogShape | None:
        if self.kind not in _LOGS:
            return None
        table = self.table
        txn = read_table_txn(table) if table else None
        applied = txn.current.applied_txn if txn and txn.current else None
        if self.kind is not FileKind.LOG_PART:
            return logs.shape_of_log(self._file, applied)
        try:
            return logs.shape_of_part(self._file.path, applied)
        except OSError:
            return logs.LogShape(FileKind.LOG_PART, None, 0, LOG_RECORD_V2, 1, 0, applied)

    def _nanos(self) -> bool:
        table = self.table
        metadata = read_table_metadata(table) if table else None
        timestamp = metadata.timestamp if isinstance(metadata, TableMetadata) else None
        return timestamp is not None and is_nanos(timestamp.type_code)

    def _event_at(self, offset: int) -> RecordView:
        if offset < segments.HEADER:
            return segments.event_header_view(self._file)
        at = segments.event_offsets(self._file, offset)
        view = segments.event_view(self._file, at, self._nanos())
        if view.offset <= offset < view.offset + view.size:
            return view
        low = view.offset + view.size
        at = low + (offset - low) // 4096 * 4096
        return sequencer_files.slack_view(self._file, at, self.size, "no event lies here")

    def _decode(self) -> tuple[RecordView, ...]:
        file = self._file
        if self.kind is FileKind.WAL_INDEX:
            return (sequencer_files.wal_index_view(file),)
        if self.kind is FileKind.TABLE_INDEX:
            return (sequencer_files.wal_index_view(file, "table id"),)
        if self.kind in _SINGLE:
            form, read = _SINGLE[self.kind], FieldReader(file)
            read.record(form)
            return (RecordView("header", 0, form.size, read.taken()),)
        if self.kind in _TEXTS:
            return (table_files.text_view(file, _TEXTS[self.kind]),) if self.size else ()
        if self.kind in (FileKind.SEQUENCER_METADATA, FileKind.SEGMENT_METADATA):
            return sequencer_files.metadata_views(file, self.kind is FileKind.SEGMENT_METADATA)
        if self.kind is FileKind.TABLE_TXN:
            return table_files.table_txn_views(file, self._nanos())
        if self.kind is FileKind.TABLE_METADATA:
            return table_files.table_metadata_views(file)
        if self.kind is FileKind.COLUMN_VERSIONS:
            return table_files.column_version_views(file)
        if self.kind is FileKind.REGISTRY:
            return table_files.registry_views(file)
        if self.kind in (FileKind.VIEW_DEFINITION, FileKind.VIEW_STATE):
            return view_files.view_file_views(file, self.kind is FileKind.VIEW_STATE)
        if self.kind is FileKind.STRUCTURE_CHANGES:
            return sequencer_files.structure_change_views(file, self._change_ends())
        return ()

    def _change_ends(self) -> tuple[int, ...]:
        """Return the ends of changes by the index beside the file; ascending, and inside the file."""
        try:
            with DbFile(self._file.path.with_name("_txnlog.meta.i")) as index:
                values = [int(value) for value in index.array(0, "<i8", min(index.size // 8, 100_000))]
        except OSError:
            return ()
        ends = [0]
        for value in values[1:]:
            if not ends[-1] < value <= self.size:
                break
            ends.append(value)
        return tuple(ends)

    def _summary(self) -> str:
        shape = self._shape
        if self.kind in _LOGS and shape is not None:
            return self._log_summary(shape)
        if self.kind is FileKind.SEGMENT_EVENTS:
            header = {field.name: field.value for field in segments.event_header_view(self._file).fields}
            return f"last event {header.get('last segmentTxn', '?')}"
        if self.kind is FileKind.SEGMENT_EVENT_INDEX:
            return plural(max(0, segments.used_entries(self._file) - 1), "event")
        if self.kind is FileKind.STRUCTURE_INDEX:
            return plural(max(0, segments.used_entries(self._file) - 1), "structure change")
        if self.kind is FileKind.CRASH_LOG:
            return "walmedic crashes explains it"
        if self.kind in _SYMBOL_FILES:
            return symbol_files.symbol_file_summary(self.kind, self._file)
        views = self.views()
        if not views:
            return "empty" if not self.size else f"{self.size:,} bytes"
        if self.kind in (FileKind.SEQUENCER_METADATA, FileKind.SEGMENT_METADATA):
            return sequencer_files.summary_of_metadata(views)
        if self.kind is FileKind.TABLE_TXN:
            current = next((view for view in views if "current" in view.title), None)
            return f"seqTxn {_value(current, 'seqTxn')}" if current else "no current record"
        if self.kind in (FileKind.WAL_INDEX, FileKind.TABLE_INDEX, *_SINGLE, *_TEXTS):
            return f"{views[0].fields[0].name} {views[0].fields[0].value}"
        return plural(len(views) - 1 if views[0].title == "header" else len(views), "entry", "entries")

    def _log_summary(self, shape: logs.LogShape) -> str:
        if shape.header is None:
            return "empty: no header" if self.kind is not FileKind.LOG_PART else "its log has no header"
        if self.kind is FileKind.LOG_DAMAGED:
            return f"format version {shape.header.version:,}, which 9.1.0 does not know"
        if self.kind is FileKind.LOG_PART:
            return f"transactions from {shape.first_txn:,}, {plural(logs.whole_records(shape, self.size), 'record')}"
        says = f"header says {plural(shape.max_txn, 'transaction')}"
        if self.kind is FileKind.LOG_V2:
            return f"{says}, {shape.header.part_size:,} a part"
        held = max(0, self.size - shape.base) // shape.record_size
        return f"{says}, file holds {held:,}" if held < shape.max_txn else f"{says}, all inside the file"


def _value(view: RecordView, name: str) -> str:
    return next((field.value for field in view.fields if field.name == name), "?")

"""Which file is it: by its name and the directory it lies in, and by its first bytes where the name does not say."""

import re
from pathlib import Path
from typing import Final

from console.diagnosis.inspection.model import FileKind
from console.diagnosis.inspection.symbol_files import symbol_file_kind
from console.questdb.formats.table import META_HEADER
from console.questdb.reading import DbFile
from console.questdb.table_metadata import VERSION
from console.questdb.txn_log import HEADER_SIZE, parse_log_header

_WAL: Final = re.compile(r"wal\d+")
_DIGITS: Final = re.compile(r"\d+")
_NAMES: Final = {
    "_txnlog.meta.i": FileKind.STRUCTURE_INDEX,
    "_txnlog.meta.d": FileKind.STRUCTURE_CHANGES,
    "_wal_index.d": FileKind.WAL_INDEX,
    "_tab_index.d": FileKind.TABLE_INDEX,
    "_event": FileKind.SEGMENT_EVENTS,
    "_event.i": FileKind.SEGMENT_EVENT_INDEX,
    "_txn": FileKind.TABLE_TXN,
    "_cv": FileKind.COLUMN_VERSIONS,
    "_upgrade.d": FileKind.UPGRADE,
    "_todo_": FileKind.TODO,
    "_convert": FileKind.CONVERSION,
    "_name": FileKind.TABLE_NAME,
    "_restore": FileKind.RESTORE,
    "_checkpoint_meta.d": FileKind.CHECKPOINT,
    "_snapshot": FileKind.CHECKPOINT,
    "_mv": FileKind.VIEW_DEFINITION,
    "_mv.s": FileKind.VIEW_STATE,
}


def kind_of(file: DbFile) -> FileKind:
    """Return what `file` is. A renamed copy such as `_txnlog.bak` is known by what its name begins with."""
    path = file.path
    name = path.name
    if path.parent.name == "_txn_parts" and _DIGITS.fullmatch(name):
        return FileKind.LOG_PART
    if name in _NAMES:
        return _NAMES[name]
    if re.fullmatch(r"tables\.d\.\d+", name):
        return FileKind.REGISTRY
    if name.startswith(("hs_err", "crash+")):
        return FileKind.CRASH_LOG
    for known, kind in _NAMES.items():
        if name.startswith(f"{known}."):
            return kind
    if name == "_txnlog" or name.startswith("_txnlog."):
        return _log(file)
    if name == "_meta" or name.startswith(("_meta.", "_meta-")):
        return _metadata(file, path)
    return symbol_file_kind(path) or FileKind.OTHER


def _log(file: DbFile) -> FileKind:
    header = parse_log_header(file.read(0, HEADER_SIZE))
    if header is None or header.version not in (0, 1):
        return FileKind.LOG_DAMAGED
    return FileKind.LOG_V2 if header.version == 1 else FileKind.LOG_V1


def _metadata(file: DbFile, path: Path) -> FileKind:
    if int.from_bytes(file.read(META_HEADER.at("version"), 4), "little") == VERSION:
        return FileKind.TABLE_METADATA
    in_segment = _DIGITS.fullmatch(path.parent.name) and _WAL.fullmatch(path.parent.parent.name)
    if in_segment:
        return FileKind.SEGMENT_METADATA
    if path.parent.name.startswith("txn_seq") or (path.parent / "_txnlog").exists():
        return FileKind.SEQUENCER_METADATA
    return FileKind.TABLE_METADATA

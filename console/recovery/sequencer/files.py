"""A target as files: sizes, where each byte comes from, digests; all of it is known before a byte is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console.questdb.formats.table import META_COLUMN, META_HEADER
from console.questdb.layout import TableDirectory
from console.questdb.log_encoding import encode_log_header, encode_records, encode_wal_index
from console.questdb.reading import Problem
from console.questdb.table_metadata import read_table_metadata
from console.questdb.txn_log import HEADER_SIZE, RECORD_SIZE, RECORD_V2_SIZE, expected_v1_size
from console.recovery.model import Change
from console.recovery.sequencer.structure import PAGE
from console.recovery.sequencer.target import SequencerTarget
from console.recovery.steps.files import digest_of_new
from console.text import plural

_OWN: Final = ("_txnlog", "_txnlog.meta.i", "_txnlog.meta.d", "_meta", "_wal_index.d")
_FIRST: Final = "_meta.0"
_TAIL, _HEAD, _META, _INDEX = "tail", "header", "meta", "wal-index"


@dataclass(frozen=True, slots=True)
class NewFiles:
    """Specs as `console.recovery.steps.files` takes them, the plan's attachments, and the changes that a plan shows."""

    specs: list[dict[str, Any]]
    attachments: dict[str, bytes]
    changes: tuple[Change, ...]

    @property
    def size(self) -> int:
        return sum(int(spec["size"]) for spec in self.specs)


def files_of(target: SequencerTarget, table: TableDirectory, into: str) -> NewFiles:
    """Return the files of `target`, to be built in the directory `into` (relative to the db directory)."""
    attachments = {
        _HEAD: encode_log_header(target.max_txn, target.created_us, part_size=target.part_size),
        _META: target.structure.metadata,
        _INDEX: encode_wal_index(target.wal_index),
    }
    if len(target.tail):
        attachments[_TAIL] = encode_records(target.tail, v2=target.version == 2)
    specs = _parts(target, table) if target.version == 2 else [_log(target, table)]
    specs.append(_spec("_wal_index.d", PAGE, [_attached(_INDEX, 0, PAGE)]))
    specs.append(_spec("_meta", _paged(len(target.structure.metadata)), [_attached(_META, 0, len(attachments[_META]))]))
    specs += _changes_files(target, table)
    specs += _others(target, table)
    for spec in specs:
        spec["sha256"] = digest_of_new(spec, attachments, table.path.parent)
    changes = tuple(
        Change("create", f"{into}/{spec['name']}", after=_described(spec, target), size=int(spec["size"]))
        for spec in specs
    )
    return NewFiles(specs, attachments, changes)


def _log(target: SequencerTarget, table: TableDirectory) -> dict[str, Any]:
    pieces = [_attached(_HEAD, 0, HEADER_SIZE)]
    top = min(target.tail_first - 1, target.max_txn)
    if target.base is not None:
        source = target.base.path / "_txnlog"
        for first, last in target.base.runs:
            if first <= top:
                at = HEADER_SIZE + RECORD_SIZE * (first - 1)
                pieces.append(_copied(table, source, at, RECORD_SIZE * (min(last, top) - first + 1), at))
    if len(target.tail):
        at = HEADER_SIZE + RECORD_SIZE * (target.tail_first - 1)
        pieces.append(_attached(_TAIL, at, RECORD_SIZE * len(target.tail)))
    return _spec("_txnlog", expected_v1_size(target.max_txn), pieces)


def _parts(target: SequencerTarget, table: TableDirectory) -> list[dict[str, Any]]:
    """Return the header file and each part that holds a record worth having; a purge removes lower ones too."""
    size = target.part_size
    runs = target.base.runs if target.base is not None else ()
    least = min([target.tail_first, max(1, target.applied), *(first for first, _ in runs)])
    specs = [_spec("_txnlog", HEADER_SIZE, [_attached(_HEAD, 0, HEADER_SIZE)])]
    for part in range((least - 1) // size, max(0, target.max_txn - 1) // size + 1):
        low, high = part * size + 1, (part + 1) * size
        pieces = []
        for first, last in runs:
            first, last = max(first, low), min(last, high, target.tail_first - 1)
            if first <= last and target.base is not None:
                at = RECORD_V2_SIZE * (first - low)
                source = target.base.path / "_txn_parts" / str(part)
                pieces.append(_copied(table, source, at, RECORD_V2_SIZE * (last - first + 1), at))
        first, last = max(target.tail_first, low), min(target.max_txn, high)
        if first <= last and len(target.tail):
            offset = RECORD_V2_SIZE * (first - target.tail_first)
            pieces.append(_attached(_TAIL, RECORD_V2_SIZE * (first - low), RECORD_V2_SIZE * (last - first + 1), offset))
        specs.append(_spec(f"_txn_parts/{part}", RECORD_V2_SIZE * size, pieces))
    return specs


def _changes_files(target: SequencerTarget, table: TableDirectory) -> list[dict[str, Any]]:
    specs = []
    for name, size in zip(("_txnlog.meta.i", "_txnlog.meta.d"), target.structure.changes_sizes, strict=True):
        pieces = []
        if target.structure.changes_from is not None:
            source = target.structure.changes_from / name
            pieces.append(_copied(table, source, 0, size, 0))
        specs.append(_spec(name, _paged(size), pieces))
    return specs


def _others(target: SequencerTarget, table: TableDirectory) -> list[dict[str, Any]]:
    """Return what else lies in a sequencer: the first `_meta.0`, and of a view its definition."""
    folder = target.base.path if target.base is not None else None
    specs = []
    if folder is not None:
        for path in sorted(folder.iterdir()):
            if path.name not in _OWN and path.is_file() and not path.is_symlink():
                size = path.stat().st_size
                specs.append(_spec(path.name, size, [_copied(table, path, 0, size, 0)]))
    if table.is_view and not any(spec["name"] == "_mv" for spec in specs) and (table.path / "_mv").is_file():
        size = (table.path / "_mv").stat().st_size
        specs.append(_spec("_mv", size, [_copied(table, table.path / "_mv", 0, size, 0)]))
    if target.structure.version == 0 and not any(spec["name"] == _FIRST for spec in specs):
        specs += _first_metadata(table)
    return specs


def _first_metadata(table: TableDirectory) -> list[dict[str, Any]]:
    """Return `_meta.0`, the table's `_meta` as it was created: that of a table that was never altered (measured)."""
    metadata = read_table_metadata(table.path)
    if isinstance(metadata, Problem) or metadata.problems or metadata.metadata_version != 0:
        return []
    names = sum(4 + len(column.raw_name.encode("utf-16-le", "surrogatepass")) for column in metadata.columns)
    size = META_HEADER.size + META_COLUMN.size * len(metadata.columns) + names
    return [_spec(_FIRST, size, [_copied(table, table.path / "_meta", 0, size, 0)])]


def _spec(name: str, size: int, pieces: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "size": size, "pieces": pieces}


def _attached(name: str, at: int, length: int, from_at: int = 0) -> dict[str, Any]:
    return {"at": at, "length": length, "from": {"attachment": name}, "from_at": from_at}


def _copied(table: TableDirectory, source: Path, at: int, length: int, from_at: int) -> dict[str, Any]:
    """Return a piece of a file of the table, or of one outside of it, as the guard's are."""
    db = table.path.parent
    place = {"file": str(source.relative_to(db))} if source.is_relative_to(db) else {"outside": str(source)}
    return {"at": at, "length": length, "from": place, "from_at": from_at}


def _paged(size: int) -> int:
    return max(PAGE, -(-size // PAGE) * PAGE)


def _described(spec: dict[str, Any], target: SequencerTarget) -> str:
    name = str(spec["name"])
    if name == "_txnlog":
        below = max(0, target.max_txn - target.applied)
        return (
            f"maxTxn {target.max_txn:,}: {target.applied:,} applied, {plural(below, 'record')} behind them; "
            f"V{target.version}"
        )
    if name == "_wal_index.d":
        return f"highest WAL id {target.wal_index:,}"
    if name == "_meta":
        return f"structure version {target.structure.version:,}, from {target.structure.origin}"
    sources = sorted({str(place) for p in spec["pieces"] for kind, place in p["from"].items() if kind != "attachment"})
    return f"copy of {', '.join(sources)}" if sources else "records" if spec["pieces"] else "empty (zeros)"

"""A sequencer as an expert asks for it: headers and tails of its log, of every copy, hashes, what lies in the WAL."""

import datetime
import hashlib
import stat
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.reading import DbFile, list_directory, problem_of
from console.questdb.table_name import SEQUENCER
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import HEADER_SIZE, TxnLog, read_log
from console.questdb.wal_index import read_wal_index
from console.text import clean_line

TAIL: Final = 24
"""Records shown from the end of a log, and around the last one that is applied."""
_AFTER: Final = 64  # bytes shown behind the last record that the header counts
_BLOCK: Final = 1 << 20
_MOST_FILES: Final = 400


def sequencer_text(table: TableDirectory) -> str:
    """Return headers and tails of the table's logs, live and copied, as text. Never raises."""
    txn = read_table_txn(table.path)
    applied = txn.current.applied_txn if txn.current else None
    lines = [f"table {clean_line(table.name)}, directory {clean_line(table.directory)}"]
    lines.append(f"_txn: applied seqTxn {'unknown' if applied is None else f'{applied:,}'}")
    lines += [f"_txn: {problem.what}" for problem in txn.problems]
    for folder in (table.sequencer, *table.sequencer_backups()):
        lines += ["", f"== {clean_line(f'{table.directory}/{folder.name}')}", *_log_lines(folder, applied)]
    lines += ["", "== WAL directories", *_wal_lines(table)]
    return "\n".join(lines) + "\n"


def copies_inventory(database: DatabaseRoot) -> dict[str, Any]:
    """Return every file of each sequencer and copy of one with size, time and SHA-256, and which are alike.

    `{"tables": {directory: {"files": [{"file", "size", "modified", "sha256"}], "alike": [[file, …], …]}}}`; a file
    that cannot be read has `error` in place of its hash. Reads every byte of them: 409 MB take about a second.
    """
    tables = {}
    for table in database.tables():
        if not in_trouble(table):
            continue
        files = [
            _hashed(path, database.db)
            for folder in (table.sequencer, *table.sequencer_backups())
            for path in _files_below(folder)
        ]  # fmt: skip
        alike: dict[str, list[str]] = defaultdict(list)
        for file in files:
            if "sha256" in file and file["size"]:
                alike[str(file["sha256"])].append(str(file["file"]))
        tables[clean_line(table.directory)] = {
            "files": files, "alike": [names for names in alike.values() if len(names) > 1],
        }  # fmt: skip
    return {"schema": 1, "tables": tables}


def _log_lines(folder: Path, applied: int | None) -> Iterator[str]:
    log = read_log(folder)
    if log.header is None:
        yield f"_txnlog: {log.state.value}" + (f", {log.file_size:,} bytes" if log.file_size else "")
        yield from (problem.what for problem in log.problems)
        return
    yield f"_txnlog: {log.file_size:,} bytes, {_modified(log.path)}"
    try:
        with DbFile(log.path) as file:
            yield from _hex(file.read(0, HEADER_SIZE), 0)
        header = log.header
        created = _micros(header.created_us)
        yield f"header: version {header.version}, maxTxn {header.max_txn:,}, created {created}, part {header.part_size}"
        yield f"whole records in the file: {log.whole_records:,}; a healthy log for this header: {_wanted(log)}"
        yield from _records(log, applied)
    except OSError as error:
        yield f"it cannot be read further: {problem_of(error, log.path).what}"
    index = read_wal_index(folder)
    yield f"_wal_index.d: {'missing' if not index.present else index.highest}"


def _wanted(log: TxnLog) -> str:
    sane = log.readable and log.header is not None and 0 <= log.header.max_txn < 1 << 48
    return f"{log.expected_size():,} bytes" if sane else "unknown"


def _records(log: TxnLog, applied: int | None) -> Iterator[str]:
    if not log.readable or log.header is None:
        return
    last = min(max(log.header.max_txn, 0), log.whole_records)
    spans = [(max(1, last - TAIL + 1), last)]
    if applied is not None and 0 < applied < spans[0][0]:
        spans.insert(0, (max(1, applied - TAIL // 4), min(applied + TAIL // 4, spans[0][0] - 1)))
    for first, end in spans:
        yield f"{'seqTxn':>14} {'offset':>14} {'structure':>10} {'wal':>6} {'segment':>8} {'segTxn':>8}  commit (UTC)"
        for txn, record in enumerate(log.records(first, end), first):
            yield _record(log, txn, record)
    path, behind = log.offset_of(last + 1)
    if log.v2:
        return
    with DbFile(path) as file:
        after = file.read(behind, _AFTER)
    yield f"behind record {last:,}: {len(after)} bytes" + (", all zero" if after and not any(after) else "")
    if any(after):
        yield from _hex(after, behind)


def _record(log: TxnLog, txn: int, record: Any) -> str:
    offset = log.offset_of(txn)[1]
    numbers = (int(record[name]) for name in ("structure_version", "wal_id", "segment_id", "segment_txn"))
    structure, wal, segment, segment_txn = numbers
    committed = _micros(int(record["commit_us"]))
    return f"{txn:>14,} {offset:>#14x} {structure:>10} {wal:>6} {segment:>8} {segment_txn:>8}  {committed}"


def _wal_lines(table: TableDirectory) -> Iterator[str]:
    shown = 0
    for wal in table.wals():
        for segment in wal.segments:
            if shown >= _MOST_FILES:
                yield "… more are not shown"
                return
            shown += 1
            sizes = [f"{entry.name} {_size(entry.path)}" for entry in list_directory(wal.segment(segment))[0]]
            yield f"wal{wal.id}/{segment}: {clean_line('; '.join(sizes), 2_000)}"
    if not shown:
        yield "none"


def _files_below(folder: Path) -> Iterator[Path]:
    entries, _ = list_directory(folder)
    for entry in entries:
        if entry.is_directory:
            yield from (inner.path for inner in list_directory(entry.path)[0] if inner.is_file)
        elif entry.is_file:
            yield entry.path


def _hashed(path: Path, db: Path) -> dict[str, Any]:
    document: dict[str, Any] = {"file": clean_line(str(path.relative_to(db)), 1_000)}
    digest = hashlib.sha256()
    try:
        with DbFile(path) as file:
            document |= {"size": file.size, "modified": _iso(file.stamp.mtime_ns / 1e9)}
            for at in range(0, file.size, _BLOCK):
                digest.update(file.read(at, _BLOCK))
    except OSError as error:
        return {**document, "error": problem_of(error, path).what}
    return {**document, "sha256": digest.hexdigest()}


def _hex(data: bytes, base: int) -> Iterator[str]:
    for at in range(0, len(data), 16):
        yield f"  {base + at:#012x}  {data[at : at + 16].hex(' ', 4)}"


def _size(path: Path) -> str:
    try:
        return f"{path.lstat().st_size:,}"
    except OSError:
        return "?"


def _modified(path: Path) -> str:
    try:
        status = path.lstat()
    except OSError:
        return "time unknown"
    return f"changed {_iso(status.st_mtime)}, mode {stat.filemode(status.st_mode)}, owner {status.st_uid}"


def _iso(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="milliseconds")


def _micros(value: int) -> str:
    """Return a time of the log; a number that is no time as it is."""
    try:
        return str(np.datetime64(value, "us")) if abs(value) < 1 << 56 else str(value)
    except (ValueError, OverflowError):
        return str(value)


def in_trouble(table: TableDirectory) -> bool:
    """Return whether the table has a sequencer to ask about: a copy lies in it, or its own is gone."""
    return bool(table.wal) and (bool(table.sequencer_backups()) or not (table.path / SEQUENCER).is_dir())

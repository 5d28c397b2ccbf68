"""The mirror of a sequencer: the log's new records are appended to it, its small files are copied when they change.

The log only ever grows, so that a round costs what was committed since the last one. The mirror has the sequencer's own
format, and every reader of a copy of a sequencer reads it. Beside it lies one SHA-256 for each full block of records.
Below it lie copies of the `_event` files of the segments that the records name.
"""

import functools
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from console import paths
from console.copying import write_at
from console.durable import sync_directory
from console.errors import WalmedicError
from console.questdb.layout import GUARD_MIRROR
from console.questdb.log_encoding import encode_log_header, encode_records
from console.questdb.reading import Problem, list_directory, read_small
from console.questdb.sequencer_metadata import read_sequencer_metadata
from console.questdb.txn_log import HEADER_SIZE, TxnLog, read_log, valid_records
from console.recovery.guard.events import follow_events
from console.recovery.store.state import write_private
from console.table.belonging import created_us

BLOCK: Final = 4096
"""Records under one digest."""
_OVERLAP: Final = 64
"""Records that mirror and log must have in common before more are appended."""
_LOCK: Final = ".lock"


class NotFollowedError(WalmedicError):
    """The sequencer cannot be taken as it is now; what was mirrored of it stays as it is."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A mirror as it stands: `max_txn` records, and a digest of all of them; `written` bytes came in this round."""

    name: str
    max_txn: int
    digest: str
    written: int


def follow(live: Path, folder: Path, *, events: bool = True) -> Mirrored:
    """Bring the mirror of the sequencer `live` in `folder` up to date, and the copies of `events`.

    Raises NotFollowedError, OSError.

    A log that is damaged, or that goes back, is not followed: the mirror keeps what was there before.
    """
    log = read_log(live)
    made = created_us(log)
    header = log.header
    if header is None or not log.readable or not made:
        raise NotFollowedError("its log has no header that can be read")
    if log.whole_records < header.max_txn:
        raise NotFollowedError(f"its log ends before record {header.max_txn:,}, which its header names")
    small = _small_files(live)
    mirror = _mirror_of(log, folder, made)
    known = read_log(mirror).max_txn or 0
    for first, records in _new_records(log, known, header.max_txn):
        if not valid_records(records).all():
            raise NotFollowedError(f"a record of its log from {first:,} on is no record")
    last = log.records(header.max_txn, header.max_txn)
    metadata = read_sequencer_metadata(live)
    if isinstance(metadata, Problem):
        raise NotFollowedError(f"its _meta cannot be read ({metadata.what})")
    if len(last) and int(last["structure_version"][0]) > metadata.structure_version:
        raise NotFollowedError("its _meta is older than its log")
    written = _append(log, mirror, known)
    if events:
        new = (records for _, records in _new_records(log, known, header.max_txn))
        written += follow_events(live.parent, mirror, new)
    written += _put_small(small, mirror)
    if known != header.max_txn or not (mirror / "_txnlog").exists():
        written += _put_header(log, mirror)
    return Mirrored(mirror.name, header.max_txn, _digest(mirror, header.max_txn), written)


def is_whole(mirror: Path) -> bool:
    """Return whether each full block of the mirror's records is the one that was noted. Raises OSError."""
    log = read_log(mirror)
    return _is_whole(mirror, log.stamp, log.parts)


@functools.lru_cache(maxsize=64)
def _is_whole(mirror: Path, *as_it_is: object) -> bool:
    log = read_log(mirror)
    noted = _noted(mirror)
    return noted[: 32 * ((log.max_txn or 0) // BLOCK)] == b"".join(_blocks(log, 0, log.max_txn or 0))


def _mirror_of(log: TxnLog, folder: Path, made: int) -> Path:
    """Return the mirror that `log` goes on from; a new one for a new log, and for one that was made again since."""
    known = [path for path in folder.glob(f"{GUARD_MIRROR}{made}.*") if path.is_dir()]
    known.sort(key=lambda path: int(path.suffix[1:]))
    number = int(known[-1].suffix[1:]) + 1 if known else 1
    if known:
        mine = read_log(known[-1])
        last = mine.max_txn or 0
        if (log.max_txn or 0) < last:
            raise NotFollowedError(f"its log ends at record {log.max_txn or 0:,}, and went to {last:,} before")
        first = max(1, last - _OVERLAP + 1)
        if mine.header is None or np.array_equal(mine.records(first, last), log.records(first, last)):
            return known[-1]
    return paths.make_private(folder / f"{GUARD_MIRROR}{made}.{number}")


def _new_records(log: TxnLog, known: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
    if known < last:
        yield from log.chunks(first=known + 1, last=last)


def _append(log: TxnLog, mirror: Path, known: int) -> int:
    """Write the records behind `known`, and the digests of the blocks that they fill; return the bytes."""
    written = 0
    descriptors: dict[Path, int] = {}
    try:
        for first, records in _new_records(log, known, log.max_txn or 0):
            at = 0
            while at < len(records):
                path, offset = log.offset_of(first + at)
                room = log.part_size - (first + at - 1) % log.part_size if log.part_size else len(records)
                content = encode_records(records[at : at + room], v2=log.v2)
                target = mirror / path.relative_to(log.path.parent)
                if target not in descriptors:
                    paths.make_private(target.parent)
                    descriptors[target] = os.open(
                        target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
                    )
                write_at(descriptors[target], content, offset)
                written += len(content)
                at += room
        for target, descriptor in descriptors.items():
            if log.part_size:  # parts are files of one length
                os.ftruncate(descriptor, log.part_size * log.record_size)
            os.fsync(descriptor)
            sync_directory(target.parent)
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    return written


def _put_header(log: TxnLog, mirror: Path) -> int:
    """Write the header last: it is what says how many records there are."""
    header = log.header
    assert header is not None  # noqa: S101 - `follow` has looked
    with _noting(mirror) as noted:
        have = os.fstat(noted).st_size // 32
        for number, digest in enumerate(_blocks(log, have, header.max_txn)):
            write_at(noted, digest, 32 * (have + number))
    content = encode_log_header(header.max_txn, header.created_us, part_size=log.part_size)
    descriptor = os.open(mirror / "_txnlog", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, HEADER_SIZE if log.v2 else log.expected_size())
        write_at(descriptor, content, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(mirror)
    return len(content)


@contextmanager
def _noting(mirror: Path) -> Iterator[int]:
    place = mirror.with_name(f"{mirror.name}.sha256")
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, os.fstat(descriptor).st_size // 32 * 32)
        yield descriptor
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _noted(mirror: Path) -> bytes:
    return mirror.with_name(f"{mirror.name}.sha256").read_bytes()


def _blocks(log: TxnLog, first: int, last: int) -> Iterator[bytes]:
    """Yield the digest of each full block up to record `last`, from the block `first` on."""
    for block in range(first, last // BLOCK):
        records = log.records(block * BLOCK + 1, (block + 1) * BLOCK)
        yield hashlib.sha256(records.tobytes()).digest()


def _digest(mirror: Path, last: int) -> str:
    """Return a digest of the first `last` records: of the digests of full blocks, and of what is behind them."""
    full = last // BLOCK
    digest = hashlib.sha256(_noted(mirror)[: 32 * full])
    digest.update(read_log(mirror).records(full * BLOCK + 1, last).tobytes())
    return digest.hexdigest()


def _small_files(live: Path) -> dict[str, bytes]:
    """Return the sequencer's files but for the log. Raises NotFollowedError where one cannot be read."""
    found = {}
    for entry in list_directory(live)[0]:
        if entry.is_file and entry.name != "_txnlog" and not entry.name.endswith(_LOCK):
            file = read_small(entry.path)
            if file.problem is not None:
                raise NotFollowedError(f"its {entry.name} cannot be read ({file.problem.what})")
            found[entry.name] = file.data
    return found


def _put_small(files: dict[str, bytes], mirror: Path) -> int:
    written = 0
    for name, content in files.items():
        place = mirror / name
        if not place.exists() or place.read_bytes() != content:
            write_private(place, content)
            written += len(content)
    return written

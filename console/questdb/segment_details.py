"""The body of a segment transaction, decoded when asked for: symbols, and SQL.

Source: WalEventCursor and WalEventWriter. All integers are little-endian.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import Fields, Walk
from console.questdb.formats.segment import EVENT, EVENT_ROWS, EVENT_SQL, EVENT_SYMBOLS, EVENT_VIEW_ROWS
from console.questdb.reading import DamageError, DbFile, FileStamp, Problem, ProblemKind, problem_of
from console.questdb.segment import EventType, Segment

_MAX_TEXT: Final = 1 << 24
_MAX_RECORD: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class SymbolDiff:
    """What a data event adds to one symbol column: values by key, above the `clean_count` that the table had."""

    column: int
    clean_count: int
    keys: tuple[int, ...]
    values: tuple[str | None, ...]
    has_null: bool


def read_statement(segment: Segment, txn: int) -> str | Problem:
    """Return the SQL of the segment's transaction `txn` as it is stored; a problem where it cannot be read."""
    path = segment.path / "_event"
    if not 0 <= txn < len(segment.events):
        return Problem(ProblemKind.SHORT, f"it has no segment transaction {txn:,}", path)
    event = segment.events[txn]
    offset, length, kind = int(event["offset"]), int(event["length"]), int(event["type"])
    if kind != EventType.SQL or length > _MAX_RECORD:
        return Problem(ProblemKind.INVALID, f"segment transaction {txn:,} is no statement", path, offset)
    try:
        with _records(path, segment.copied) as read:
            text, _ = Fields(read(offset, length), offset).string(EVENT.size + EVENT_SQL.size, _MAX_TEXT)
            return text or ""
    except (OSError, DamageError) as error:
        return problem_of(error, path)


def read_symbols(segment: Segment, *, partial: bool = False) -> dict[int, tuple[SymbolDiff, ...]] | Problem:
    """Return the symbol diffs of every data event, by segment transaction; the file is read once.

    Events without diffs are left out, with `partial` those whose diffs are damaged as well: each event has all that its
    own rows need. A problem where the file cannot be read, or a section is damaged.
    """
    path = segment.path / "_event"
    try:
        return _symbols_of(path, segment.copied, segment.events[segment.data], partial=partial)
    except (OSError, DamageError) as error:
        return problem_of(error, path)


def first_symbols(segment: Segment) -> tuple[SymbolDiff, ...]:
    """Return the symbol diffs of the first data event alone; none where they cannot be read.

    What was read of a file is remembered while nothing in it has moved: a live look asks again every few seconds.
    """
    first = segment.events[segment.data][:1]
    if not len(first):
        return ()
    return _first_symbols(segment.path / "_event", segment.copied, segment.stamp, first.dtype, first.tobytes())


@functools.lru_cache(maxsize=4096)
def _first_symbols(
    path: Path, copied: bytes, stamp: FileStamp | None, dtype: np.dtype[np.void], event: bytes
) -> tuple[SymbolDiff, ...]:
    del stamp
    try:
        return next(iter(_symbols_of(path, copied, np.frombuffer(event, dtype)).values()), ())
    except (OSError, DamageError):
        return ()


@contextlib.contextmanager
def _records(path: Path, copied: bytes) -> Iterator[Callable[[int, int], bytes]]:
    """Yield what reads bytes of `_event` at an offset: `copied` has the first of them, the file what comes later."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def file() -> DbFile:
            return stack.enter_context(DbFile(path))

        yield lambda at, size: copied[at : at + size] if at + size <= len(copied) else file().read(at, size)


def _symbols_of(
    path: Path, copied: bytes, events: NDArray[np.void], *, partial: bool = False
) -> dict[int, tuple[SymbolDiff, ...]]:
    """Return the symbol diffs of data events by segment transaction. Raises OSError, DamageError."""
    found: dict[int, tuple[SymbolDiff, ...]] = {}
    if not len(events):
        return found
    with _records(path, copied) as read:
        for event in events:
            offset, length, kind = int(event["offset"]), int(event["length"]), int(event["type"])
            record = read(offset, min(length, _MAX_RECORD))
            body = (EVENT_VIEW_ROWS if kind == EventType.MAT_VIEW_DATA else EVENT_ROWS).size
            with contextlib.suppress(*((DamageError,) if partial else ())):
                if diffs := _symbols(Walk(Fields(record, offset), body)):
                    found[int(event["txn"])] = diffs
    return found


def _symbols(walk: Walk) -> tuple[SymbolDiff, ...]:
    diffs: list[SymbolDiff] = []
    while (column := walk.i32()) != -1:
        at = walk.at - EVENT_SYMBOLS["column"].size
        if column < 0:
            raise DamageError(f"symbols for column {column}", walk.fields.base + at)
        head = EVENT_SYMBOLS.read(walk.fields, at)
        walk.at = at + EVENT_SYMBOLS.at("count")
        count = walk.count("symbol", 8)
        keys: list[int] = []
        values: list[str | None] = []
        for _ in range(count):
            keys.append(walk.i32())
            values.append(walk.string(_MAX_TEXT))
        if walk.i32() != -1:
            raise DamageError(f"symbols of column {column} are not closed", walk.fields.base + walk.at - 4)
        diffs.append(SymbolDiff(column, head["clean_count"], tuple(keys), tuple(values), bool(head["has_null"])))
    return tuple(diffs)

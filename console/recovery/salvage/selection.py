"""Which rows of which segments are written out, and what stands against the rest. Read-only, bounded, for copies too.

The choice is a JSON value, so that a salvage that was cut off goes on with just what it began with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from console.diagnosis.table import examine_table
from console.errors import WalmedicError
from console.questdb.column_types import storage_size
from console.questdb.layout import TableDirectory, WalDirectory, wal_directories
from console.questdb.reading import Problem
from console.questdb.segment import EventType, Segment
from console.questdb.segment_data import Tear, TornRows
from console.questdb.segment_details import read_statement
from console.questdb.segment_rows import Span
from console.recovery.salvage.decide_by_rows import decided_states
from console.recovery.salvage.lag import with_lag
from console.settings import Settings
from console.table.inventory import Inventory, read_inventory
from console.table.torn import check_events
from console.table.unapplied import State
from console.table.unseen import Unseen
from console.text import clean_line, plural

UNAPPLIED: Final = "unapplied"
ALL: Final = "all"
_STATES: Final = {
    State.APPLIED: "applied", State.WAITING: "waiting", State.UNNAMED: "unnamed", State.UNSURE: "unsure",
    State.IN_LAG: "lag", State.SKIPPED: "skipped",
}  # fmt: skip
_NO_TIME: Final = (Tear.TIMESTAMP, Tear.ROW_ID)
_TEXT_WIDTH: Final = 48  # bytes that the text of a value of fixed width takes at most, but for LONG256
_MAX_OTHERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Events:
    """Segment transactions first..last, one after another, and what is known of them: rows first_row..end_row - 1."""

    first: int
    last: int
    state: str
    first_row: int
    end_row: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What is written of one segment; `bound` is about the bytes that it takes at most."""

    wal: int
    segment: int
    events: tuple[Events, ...]
    rows: int
    bound: int

    @property
    def name(self) -> str:
        return f"wal{self.wal}-{self.segment}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The choices, and segments of which nothing is written: (wal, segment, why).

    `unread` counts those of them that may hold rows: the others have nothing that is not applied.
    """

    choices: tuple[Choice, ...]
    skipped: tuple[tuple[int, int, str], ...]
    others: tuple[str, ...]  # unapplied transactions without rows (UPDATE, TRUNCATE …), which are not carried out
    note: str  # how sure it is which rows are unapplied
    gone: int = 0  # unapplied transactions that the log counts and of which nothing is on disk
    unread: int = 0

    @property
    def rows(self) -> int:
        return sum(choice.rows for choice in self.choices)

    @property
    def lag_rows(self) -> int:
        events = [each for choice in self.choices for each in choice.events]
        return sum(each.end_row - each.first_row for each in events if each.state == "lag")

    @property
    def unsure(self) -> bool:
        """Whether some of the rows may be in the table already."""
        return any(events.state == "unsure" for choice in self.choices for events in choice.events)

    @property
    def bound(self) -> int:
        """About the bytes that all of it takes at most."""
        return sum(choice.bound for choice in self.choices)


def select_rows(table: TableDirectory, which: str, settings: Settings | None) -> Selection:
    """Return what to write of a table: the rows that are not applied, or may not be, or lie in its lag; with `all` all.

    What logs leave open is settled by rows, which takes a while; without `settings` it stays open.
    """
    diagnosis = examine_table(table)
    unseen = diagnosis.facts.unseen
    if not diagnosis.facts.inventory.wals:
        note = _unseen_note(unseen) or "there are no WAL directories"
        return Selection((), (), (), note, unread=len(unseen))
    inventory = diagnosis.facts.inventory
    states, note = diagnosis.unapplied.state, diagnosis.unapplied.why
    if diagnosis.facts.applied is None:
        note = "_txn cannot be read, so nothing says what is applied"
    elif settings is not None and diagnosis.unapplied.unsure.any():
        states, note = decided_states(table, inventory, states, settings)
    states = np.where(diagnosis.absent, State.SKIPPED, with_lag(diagnosis, states)).astype(np.int8)
    wanted = np.ones(len(inventory), np.bool_) if which == ALL else states != State.APPLIED
    selected = _selected(inventory, states, wanted, "; ".join(filter(None, (_unseen_note(unseen), note))))
    return replace(selected, gone=diagnosis.unapplied.lost, unread=selected.unread + len(unseen))


def _unseen_note(unseen: Sequence[Unseen]) -> str:
    if not unseen:
        return ""
    more = f", and {len(unseen) - 1:,} more like it" if len(unseen) > 1 else ""
    return f"{unseen[0].place} was not read ({unseen[0].why}){more}: what WAL lies there is not known"


def select_directory(directory: Path) -> Selection:
    """Return what to write of `walN` directories that lie in `directory` without their table: every row there is."""
    inventory = read_inventory(wals_in(directory))
    states = np.full(len(inventory), State.UNSURE, np.int8)
    note = "there is no table beside them, so nothing says which rows are applied"
    return _selected(inventory, states, np.ones(len(inventory), np.bool_), note)


def wals_in(directory: Path) -> tuple[WalDirectory, ...]:
    """Return the `walN` in a directory, or the one that it is. Raises WalmedicError where there is none."""
    own = tuple(wal for wal in wal_directories(directory.parent) if wal.path == directory)
    wals = own or wal_directories(directory)
    if not wals:
        raise WalmedicError(f"{clean_line(str(directory))} holds no walN directory; name the directory they lie in")
    return wals


def rows_to_write(segment: Segment, choice: Choice) -> tuple[list[Span], dict[int, list[Span]], list[TornRows]]:
    """Return the spans of rows to write, holes by column index (rows written as null there), and what is torn.

    A row without a trustworthy timestamp is not written; where another column is torn, its value alone is null.
    """
    wanted = [txn for events in choice.events for txn in range(events.first, events.last + 1)]
    torn = check_events(segment, wanted)
    certain = [each for each in torn if not each.suspect]
    columns = segment.metadata.columns if segment.metadata is not None else ()
    index = {column.name: at for at, column in enumerate(columns) if not column.dropped}
    designated = segment.metadata.timestamp_index if segment.metadata is not None else -1
    out: list[Span] = []
    holes: dict[int, list[Span]] = {}
    for each in certain:
        span = (each.first_row, each.first_row + each.rows)
        if each.tear in _NO_TIME or index.get(each.column) == designated:
            out.append(span)
        elif each.column in index:
            holes.setdefault(index[each.column], []).append(span)
    spans: list[Span] = []
    for events in choice.events:
        spans += _without((events.first_row, events.end_row), sorted(out))
    return spans, holes, torn


def _without(span: Span, out: Sequence[Span]) -> list[Span]:
    kept: list[Span] = []
    at, end = span
    for low, high in out:
        if high <= at or low >= end:
            continue
        if at < low:
            kept.append((at, low))
        at = max(at, high)
    return [*kept, (at, end)] if at < end else kept


def _selected(inventory: Inventory, states: Any, wanted: Any, note: str) -> Selection:
    choices: list[Choice] = []
    skipped: list[tuple[int, int, str]] = []
    others: list[str] = []
    unread = 0
    for wal, number, low, high in inventory.slices():
        segment = inventory.segments[wal, number]
        events = inventory.events[low:high]
        mine = wanted[low:high] & (inventory.rows[low:high] > 0)
        undecoded = bool((wanted[low:high] & (events["type"] == EventType.UNREADABLE)).any())
        unread += undecoded
        others += _others(segment, events[wanted[low:high] & (inventory.rows[low:high] == 0)])
        if segment.problems and not mine.any():
            skipped.append((wal, number, _why(segment.problems)))
            unread += not undecoded
        elif not mine.any():
            skipped.append((wal, number, "nothing in it is unapplied" if high > low else "it has no transactions"))
        elif segment.metadata is None:
            skipped.append((wal, number, _why(segment.problems) or "its _meta does not say what its columns are"))
            unread += 1
        else:
            choices.append(_choice(segment, wal, number, events, states[low:high], np.flatnonzero(mine)))
    return Selection(tuple(choices), tuple(skipped), tuple(others[:_MAX_OTHERS]), note, unread=unread)


def _choice(segment: Segment, wal: int, number: int, events: Any, states: Any, places: Any) -> Choice:
    runs = np.split(
        places,
        np.flatnonzero(
            (np.diff(places) != 1)
            | (states[places][1:] != states[places][:-1])
            | (events["start"][places][1:] != events["end"][places][:-1])
        )
        + 1,
    )
    made = tuple(
        Events(
            int(events["txn"][run[0]]), int(events["txn"][run[-1]]), _STATES[State(int(states[run[0]]))],
            int(events["start"][run[0]]), int(events["end"][run[-1]]),
        )
        for run in runs
    )  # fmt: skip
    rows = int((events["end"] - events["start"])[places].sum())
    share = rows / max(1, segment.rows)
    return Choice(wal, number, made, rows, _bound(segment, rows, share))


def _bound(segment: Segment, rows: int, share: float) -> int:
    """Return about the bytes that CSV takes at most; Parquet takes less."""
    total = 4096
    for column in segment.metadata.columns if segment.metadata is not None else ():
        if column.dropped:
            continue
        size = storage_size(column.type_code) or 0
        total += rows * (80 if size == 32 else _TEXT_WIDTH)
        if not size:
            path = segment.path / f"{column.raw_name}.d"
            total += int(2 * share * path.stat().st_size) if path.is_file() else 0
    return total


def _others(segment: Segment, events: Any) -> list[str]:
    found = []
    for event in events[:_MAX_OTHERS]:
        kind, txn = int(event["type"]), int(event["txn"])
        where = f"wal{event['wal']}/{event['segment']} transaction {txn:,}"
        if kind == EventType.SQL:
            text = read_statement(segment, txn)
            statement = "a statement" if isinstance(text, Problem) else clean_line(text, 200)
            found.append(f"{where}: {statement}")
        elif kind in (EventType.TRUNCATE, EventType.MAT_VIEW_INVALIDATE):
            found.append(f"{where}: {EventType(kind).name}")
        elif kind == EventType.UNREADABLE:
            found.append(f"{where}: cannot be decoded")
    return found


def _why(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    more = f" (and {plural(len(problems) - 1, 'more problem')})" if len(problems) > 1 else ""
    return f"{problems[0].file.name}: {problems[0].what}{more}"

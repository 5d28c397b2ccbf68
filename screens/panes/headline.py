"""The header: the verdict with the one next step, and the way as a row of steps. One sentence, shortened by need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.probes.flow import ByHand
from console.probes.headline import Alarm, Headline
from console.recovery.codes import StepState
from console.text import plural
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, cells, crop, join, line
from screens.panes.header import NO_ROOT, READING, Mode, in_words, place, second_line

if TYPE_CHECKING:  # what is imported before the first paint delays it
    from console.recovery.next_steps.way import WayStep

_ALARMS = {
    Alarm.WELL: (glyphs.OK, Role.OK),
    Alarm.RISK: (glyphs.WARN, Role.WARN),
    Alarm.UNKNOWN: (glyphs.UNKNOWN, Role.WARN),
    Alarm.BAD: (glyphs.BAD, Role.BAD),
}
_STATES = {StepState.DONE: (glyphs.DONE, Role.OK), StepState.NEXT: (glyphs.HALF, Role.KEY),
           StepState.AHEAD: (glyphs.AHEAD, Role.DIM)}  # fmt: skip
_NAMES = {"freeze-writer": "freeze", "stop-server": "stop", "capture-evidence": "evidence", "": "by hand",
          "restore-sequencer": "restore", "rebuild-sequencer": "rebuild",
          "start-server": "start", "resume-wal": "resume", "resume-all": "resume",
          "thaw-writer": "thaw", "convert-table": "convert", "copy-table": "copy",
          "raise-wal-index": "WAL index"}  # fmt: skip
_BY_HAND = {ByHand.MAXLEN: ("raise MAXLEN", "MAXLEN"), ByHand.MEMORY: ("raise maxmemory", "maxmemory"),
            ByHand.REDIS: ("start Redis", "Redis"), ByHand.FEEDS: ("start feeds", "feeds")}  # fmt: skip
_BETWEEN = Span(" · ", Role.DIM)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the verdict in words, as short as it may be said, and what it means."""

    long: str
    short: str
    role: Role = Role.STRONG


_SERVER = {
    (False, True): Part("QuestDB stopped", "QuestDB stopped", Role.WARN),
    (False, False): Part("QuestDB is down", "QuestDB down", Role.BAD),
    (None, True): Part("QuestDB not checked yet", "QuestDB ?", Role.WARN),
    (None, False): Part("QuestDB not checked yet", "QuestDB ?", Role.WARN),
}


def verdict(found: Headline, keys: Keys, width: int, *, narrow: bool = False) -> Line:
    """Return the verdict in at most `width` cells; the next step stands in it unless the terminal is `narrow`."""
    glyph, role = _ALARMS[found.alarm]
    mark = line(" ", Span(f"{glyph} ", role))
    parts = list(_parts(found, keys))
    ends = [BLANK] if narrow else following(found, keys)
    room = width - cells(mark) - 1
    for end in ends:
        for said in _shorter(parts):
            whole = join([*said, end], (_BETWEEN,))
            if cells(whole) <= room and (len(said) >= min(2, len(parts)) or end is ends[-1]):
                return line(mark, whole)
    return line(mark, crop(join([*list(_shorter(parts))[-1], ends[-1]], (_BETWEEN,)), room))


@dataclass(frozen=True, slots=True)
class Keys:
    """The labels of the keys that the header names."""

    actions: str = "a"
    report: str = "t"
    tables: str = "1"


def following(found: Headline, keys: Keys) -> list[Line]:
    """Return the next step in words, the longest first."""
    if found.at_work is not None:
        action, target = found.at_work
        return [_step("now", _number(found, action), f"{action} {target}", ""), _step("now", "", action, "")]
    if found.by_hand is not None:
        return list(_by_hand_first(found.by_hand, None if found.asked else found.next, keys))
    if found.asked:
        return [line(Span("finding the next step…", Role.DIM)), line(Span("next …", Role.DIM))]
    step = found.next
    if step is None:
        return [line(Span(f"no action helps: see tables ({keys.tables})", Role.WARN))] if found.helpless else [BLANK]
    key = f" ({keys.actions})"
    if not step.action:
        return [_step("next", str(step.number), "by hand", f" ({keys.tables})")]
    words = [f"{step.action} {found.table}"] if found.table else []
    return [_step("next", str(step.number), said, key) for said in (*words, step.action, name_of(step.action))]


def _by_hand_first(what: ByHand, step: WayStep | None, keys: Keys) -> Iterator[Line]:
    """Yield what a person does first, as step 0, and the step that comes after it."""
    said, _ = _BY_HAND[what]
    if step is not None and step.action:
        first = _step("now", "0", f"{said} by hand", "")
        yield join([first, _step("then", str(step.number), step.action, f" ({keys.actions})")], (_BETWEEN,))
        first = _step("now", "0", said, "")
        yield join([first, _step("then", str(step.number), "", f" ({keys.actions})")], (_BETWEEN,))
    yield _step("now", "0", said, "")


def _step(word: str, number: str, said: str, key: str) -> Line:
    return line(Span(f"{word} ", Role.DIM), Span(f"{number} {said}".strip(), Role.STRONG), Span(key, Role.KEY))


def _number(found: Headline, action: str) -> str:
    return str(found.next.number) if found.next is not None and found.next.action == action else ""


def name_of(action: str) -> str:
    """Return a step in one word, e.g. `restore`."""
    return _NAMES.get(action) or action.removeprefix("repair-").removeprefix("rebuild-").removeprefix("salvage-")


def _parts(found: Headline, keys: Keys) -> Iterator[Part]:
    if not found.configured:
        yield Part(*NO_ROOT)
        return
    if found.counts is None:
        yield Part(f"the tables cannot be read: {found.error}" if found.error else READING[0], READING[1])
        return
    if found.recovered is not None and found.ended_at is not None:
        yield from _recovered(found, keys)
        return
    yield from _trouble(found)
    if found.alarm is Alarm.WELL:
        counts = found.counts
        yield Part(f"{_all(counts.tables)} healthy (files and SQL)", f"{_all(counts.tables)} healthy")
        if found.since_crash is not None:
            yield Part(f"last crash {figures.ago(found.since_crash)}", "", Role.DIM)


def _trouble(found: Headline) -> Iterator[Part]:
    counts = found.counts
    assert counts is not None  # noqa: S101 - asked only if the tables are read
    of = f"of {plural(counts.tables, 'table')}"
    both = counts.unreadable if counts.unreadable == counts.unwritable else 0
    for count, what in (
        (both, "cannot be read or written"),
        (counts.unreadable - both, "cannot be read"),
        (counts.unwritable - both, "cannot be written"),
        (counts.broken, "broken"),
        (counts.unknown, "in an unknown state"),
        (counts.at_risk, "at risk"),
    ):
        if count:
            yield Part(f"{count} {of} {what}", f"{count} of {counts.tables} {what}")
    if found.elsewhere:
        yield Part("trouble outside the tables", "trouble outside")
    if not counts.tables:
        yield Part("no table in this data root", "no table")
    if counts.rows is None:
        yield Part("rows at risk unknown", "rows unknown", Role.WARN)
    elif counts.rows:
        yield Part(f"{plural(counts.rows, 'row')} at risk", f"{counts.rows:,} at risk", Role.BAD)
    if found.losing:
        yield Part("data is being lost now", "losing data", Role.BAD)
    if found.server is not True:
        yield _SERVER[found.server, found.held]
    for unit in found.loops:
        yield Part(f"{unit} in a crash loop", f"{unit} LOOP", Role.BAD)
    for unit in found.units[:2]:
        yield Part(f"{unit} is down", f"{unit} down", Role.BAD)
    if len(found.units) > 2:
        yield Part(f"{len(found.units) - 2} more services down", f"{len(found.units) - 2} more down", Role.BAD)
    if found.old is not None:
        yield Part(f"tables read {figures.ago(found.old)}", f"{figures.duration(found.old)} old", Role.WARN)
    whole = not (counts.unreadable or counts.unwritable or counts.broken or counts.unknown or counts.at_risk)
    if whole and counts.tables and found.alarm is not Alarm.WELL:
        yield Part(f"{_all(counts.tables)} healthy on disk", "tables healthy", Role.PLAIN)


def _all(tables: int) -> str:
    return {1: "1 table", 2: "both tables"}.get(tables, f"all {tables:,} tables")


def _recovered(found: Headline, keys: Keys) -> Iterator[Part]:
    recovered, at = found.recovered, found.ended_at
    assert recovered is not None  # noqa: S101 - asked only if it is over
    assert at is not None  # noqa: S101
    when = f"{figures.clock(at)[:5]}Z"
    yield Part(f"station recovered {when}", f"recovered {when}", Role.OK)
    lost = recovered.lost_in_words
    yield Part(f"{plural(recovered.rows, 'row')} recovered, {lost}", f"{recovered.rows:,} rows, {lost}")
    if recovered.duplicates:
        more = plural(recovered.duplicates, "possible duplicate")
        yield Part(f"≤ {more}", f"≤ {recovered.duplicates:,} duplicates", Role.WARN)
    yield Part(f"{keys.report} report", f"{keys.report} report", Role.KEY)


def _shorter(parts: Sequence[Part]) -> Iterator[list[Line]]:
    """Yield the parts in words, each time in fewer cells: all long, all short, then the last ones left out."""
    yield [line(Span(part.long, part.role)) for part in parts]
    for count in range(len(parts), 0, -1):
        yield [line(Span(parts[0].long, parts[0].role)), *(_short(part) for part in parts[1:count])]
        yield [_short(part) for part in parts[:count]]


def _short(part: Part) -> Line:
    return line(Span(part.short, part.role)) if part.short else BLANK


def stepper(steps: Sequence[WayStep], width: int, by_hand: ByHand | None = None) -> Line:
    """Return the way in at most `width` cells: with names, or as dots with the name of the next one.

    What is done `by_hand` first is its step 0; of the others none is the next then.
    """
    if not steps:
        return BLANK
    named = [line(Span(f"{_sign(step, by_hand)[0]}{step.number} {_label(step)}", _sign(step, by_hand)[1]))
             for step in steps]  # fmt: skip
    if by_hand is not None:
        named.insert(0, line(Span(f"{glyphs.HALF}0 {_BY_HAND[by_hand][1]}", Role.BAD)))
    for between in (" ─ ", "  ", " "):
        whole = join(named, (Span(between, Role.RULE),))
        if cells(whole) <= width:
            return whole
    at = next((step for step in steps if step.state is StepState.NEXT), None)
    more = "+" if any(step.may_bring_more for step in steps) else ""
    said = f" {at.number}/{len(steps)}{more} {_counted(at)}" if at is not None else ""
    if by_hand is not None:
        said = f" 0 {_BY_HAND[by_hand][1]}"
    return crop(line(dots(steps, by_hand), Span(said, Role.STRONG)), width)


def dots(steps: Sequence[WayStep], by_hand: ByHand | None = None) -> Line:
    first = Span(glyphs.HALF, Role.BAD) if by_hand is not None and steps else BLANK
    return line(first, *(Span(*_sign(step, by_hand)) for step in steps))


def _sign(step: WayStep, by_hand: ByHand | None) -> tuple[str, Role]:
    waits = by_hand is not None and step.state is StepState.NEXT
    return _STATES[StepState.AHEAD if waits else step.state]


def _label(step: WayStep) -> str:
    return f"{_counted(step)} + ?" if step.may_bring_more else _counted(step)


def _counted(step: WayStep) -> str:
    count = len(step.tables)
    of = f" {step.done}/{count}" if 0 < step.done < count else f" ×{count}" if count > 1 else ""
    return f"{name_of(step.action)}{of}"


_NARROW = 80  # cells below which the next step stands in the second line


def header(found: Headline, steps: Sequence[WayStep], mode: Mode, keys: Keys, title: str, width: int) -> list[Line]:
    """Return the two lines of the header; `title` says where on the way through the screens it is."""
    narrow = width < _NARROW
    if narrow:
        start = line(" ", following(found, keys)[-1] or Span(title, Role.PLAIN))
        start = join([start, dots(steps, found.by_hand)], (_BETWEEN,))
    else:
        start = place(mode, title, named=not steps)
        room = width - cells(in_words(mode)) - cells(start) - 4
        start = line(start, stepper(steps, room, found.by_hand) if room > 0 else BLANK)
    return [verdict(found, keys, width, narrow=narrow), second_line(start, mode, width, named=bool(steps))]

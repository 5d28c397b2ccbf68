"""One journal entry as it is read: what, by whom, from where, with which command, how far, how it ended."""

from dataclasses import dataclass

from console.recovery.codes import StageState
from console.recovery.model import Plan, claims_of
from console.recovery.store.journal import Entry
from console.text import clean_line
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, hanging, left, line, right, spread, wrap
from console.widgets.pane import Content, Room
from screens.panes.proof import claims

_LABEL, _STATE = 10, 16


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry, the plan that it carries out (an undo: takes back) where that can be read, and what hindered that."""

    entry: Entry
    plan: Plan | None = None
    error: str = ""


def cut_off(view: EntryView, room: Room) -> Content:
    entry = view.entry
    undone = entry.intent.get("undoes")
    what = f"taking entry {undone} back" if undone else entry.action
    target = f" on {entry.table}" if entry.table else ""
    lines = hanging(
        line(Span(f"{glyphs.WARN} CUT OFF  ", Role.BAD)),
        f"{what}{target} did not finish. Finish or undo it first; all other actions are blocked.",
        room.width,
        Role.STRONG,
    )
    lines.append(BLANK)
    if undone:
        lines.extend(_way(f"f  or  u {glyphs.ARROW} ", "continue the undo; doing it twice is safe", room.width))
    else:
        finish = "the plan as it was confirmed, its phrase asked for again; what is done is not done twice"
        back = view.plan.undo if view.plan is not None else "every stage is undone, last first"
        lines.extend(_way(f"f  finish it    {glyphs.ARROW} ", finish, room.width))
        lines.extend(_way(f"u  take it back {glyphs.ARROW} ", back, room.width))
    lines.append(BLANK)
    lines.extend(stages(view, room.width))
    lines.append(BLANK)
    lines.extend(facts(view, room.width))
    return Content("unfinished work", tuple(lines), line(Span(f"entry {entry.id}", Role.DIM)), more="more lines (PgDn)")


def detail(view: EntryView | None, room: Room) -> Content:
    if view is None:
        return Content("entry", (line(Span("no entry is chosen", Role.DIM)),))
    lines = [*facts(view, room.width), *stages(view, room.width), *_proof(view.entry, room.width)]
    return Content(
        f"entry {view.entry.id}", tuple(lines), line(Span(_outcome(view.entry), Role.STRONG)), more="more lines (PgDn)"
    )


def facts(view: EntryView, width: int) -> list[Line]:
    entry, data = view.entry, view.entry.worker.data
    who = f"{data.get('operator', '?')} on {data.get('host', '?')}, "
    who += f"terminal {data['terminal']}" if data.get("terminal") else "no terminal"
    rows = [("by", f"{who}, pid {data.get('pid', '?')}"), ("began", _when(entry.at))]
    if entry.worker.kind == "resumed":
        rows.append(("went on", _when(entry.worker.at)))
    rows.append(("last word", _when(entry.events[-1].at)) if entry.outcome is None else ("ended", _ended(entry)))
    if data.get("command"):
        rows.append(("command", str(data["command"])))
    rows.append(("confirmed", str(entry.intent.get("confirmation", ""))))
    if entry.outcome is not None and entry.outcome.get("message"):
        rows.append(("said", str(entry.outcome["message"])))
    lines: list[Line] = []
    for name, text in rows:
        lines.extend(hanging(left(line(Span(name, Role.DIM)), _LABEL), clean_line(text, 2000), width))
    return lines


def stages(view: EntryView, width: int) -> list[Line]:
    entry, plan = view.entry, view.plan
    if plan is None:
        return wrap(view.error, width, Role.WARN)
    undoes = bool(entry.intent.get("undoes"))
    stage_events = {str(event.data.get("id")): event for event in entry.events if event.kind in {"stage", "reversed"}}
    lines = []
    for stage in plan.stages:
        event = stage_events.get(stage.id)
        state = str(event.data.get("state")) if event is not None else "waits"
        if undoes:
            glyph, word, role = "·", "to take back", Role.DIM
        elif event is not None and event.kind == "reversed":
            glyph, word, role = "!", "taken back", Role.WARN
        elif state == "done":
            glyph, word, role = glyphs.OK, "done", Role.OK
        elif state == StageState.BEGINS:
            glyph, word, role = glyphs.WARN, "CUT OFF" if entry.outcome is None else "began", Role.BAD
        elif state == StageState.FAILED:
            glyph, word, role = glyphs.BAD, "FAILED", Role.BAD
        else:
            glyph, word, role = "·", "not begun", Role.DIM
        at = line(Span(event.at[11:19] + "Z", Role.DIM)) if event is not None else BLANK
        head = left(line(Span(f"{glyph} {word}", role)), _STATE)
        rows = wrap(stage.title, width - _STATE - 10) or [BLANK]
        lines.append(spread(line(head, rows[0]), right(at, 9), width))
        lines.extend(line(" " * _STATE, row) for row in rows[1:])
    return lines


def _way(key: str, text: str, width: int) -> list[Line]:
    return hanging(line(Span(key, Role.KEY)), text, width)


def _proof(entry: Entry, width: int) -> list[Line]:
    return claims(claims_of((entry.outcome or {}).get("verification")), width)


def _outcome(entry: Entry) -> str:
    return "unfinished" if entry.outcome is None else str(entry.outcome.get("outcome", "")).replace("-", " ")


def _ended(entry: Entry) -> str:
    took = entry.events[-1].seconds - entry.events[0].seconds
    return f"{_when(entry.events[-1].at)}, after {figures.duration(took)}"


def _when(at: str) -> str:
    return f"{at[:10]} {at[11:19]}Z"

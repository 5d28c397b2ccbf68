"""One plan: why, changes, preconditions, what it costs, and the typed confirmation. Esc leaves it undone."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.events import Key, Paste
from textual.geometry import Size
from textual.widget import Widget

from console.recovery.codes import RefusalCode
from console.recovery.model import Plan
from console.recovery.rehearsal.model import Rehearsal, can_be_rehearsed
from console.widgets import glyphs
from console.widgets.frames import Box
from console.widgets.line import BLANK, Line, Role, Span, line
from console.widgets.pane import Framed, Pane
from console.widgets.phrase import PhraseField
from screens.arm import Arm
from screens.execution import Execution
from screens.frame import Answer, FramedScreen
from screens.keys import scrolling_keys
from screens.panes import plan as text
from screens.panes.confirmation import ConfirmView, confirmation
from screens.panes.plan import PlanView
from screens.rehearsing import Rehearsing

if TYPE_CHECKING:  # it brings all of the engine with it
    from console.recovery.rehearsal.launching import RunningRehearsal

_SECTIONS = ("cost", "why", "changes", "hold")
_FLAT = 11  # lines of the body below which costs and preconditions, which need no title, have none
_ROOMY = 15  # lines of the body from which on the cost stands in large cells
_TWO_COLUMNS = 110


class PlanScreen(FramedScreen):
    """Shows a plan and takes its phrase. Nothing but the right phrase in operate mode starts anything.

    While a phrase can be typed the letters are the field's: what else can be done has a function key.
    """

    TITLE_WORD = "plan"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.back", "Back, nothing done", id="back", tooltip="leave the plan; nothing is done"),
        *scrolling_keys("read the rest of a long plan", page=8),
        Binding("f2", "app.operate", "Operate", id="operate", tooltip="arm operate mode, or disarm it"),
        Binding("o", "arm", "Operate", id="arm", show=False, tooltip="arm operate mode, where that opens the plan"),
        Binding("f3,h", "rehearse", "Rehearse", id="rehearse", tooltip="carry the plan out on a clone, and prove it"),
        Binding(
            "f5,r", "replan", "Replan", id="replan", show=False, tooltip="make the plan anew from what is there now"
        ),
    ]

    def __init__(self, action: str, table: str | None, undoes: str = "") -> None:
        super().__init__()
        self._action = action
        self._table = table
        self._undoes = undoes
        self._view: PlanView | None = None
        self._answer: Line = BLANK
        self._submitted = ""
        self._asked_at = 0.0
        self._seen_since: float | None = None  # since when there is a plan, on the clock of events
        self._field = PhraseField(self._confirm, refused=self._refused, changed=lambda: self._say(BLANK))

    @property
    def waits(self) -> bool:
        """Return whether something was asked, or what was answered is about to come into sight."""
        return super().waits or self._seen_since is None or (self._field.display and not self._field.painted)

    def takes(self, event: Key | Paste) -> bool:
        """Take what is typed for the phrase while one can be; a letter that was typed before the plan does nothing."""
        if self._field.asks:
            return self._field.take(event)
        early = self._seen_since is None or event.time < self._seen_since
        return early and isinstance(event, Key) and event.is_printable and event.key != "question_mark"

    @classmethod
    def of_undo(cls, entry: str) -> "PlanScreen":
        return cls("undo", None, entry)

    def body(self) -> list[Widget]:
        panes = [
            Pane(text.why, id="why"),
            Pane(text.changes, id="changes"),
            Pane(text.must_hold, id="hold"),
            Pane(text.cost, id="cost"),
        ]
        self._sections = {pane.id or "": pane for pane in panes}
        return [
            Framed(*panes, arrange=self._arrange, is_open=lambda size: True, id="plan"),
            Framed(Pane(confirmation, id="confirm"), arrange=_bottom, is_open=lambda size: True, id="below"),
            self._field,
        ]

    def on_mount(self) -> None:
        super().on_mount()
        self.action_replan()
        self._say_waiting()

    def on_screen_resume(self) -> None:
        """The mode may have changed on another screen, or the plan was rehearsed."""
        super().on_screen_resume()
        if self._view is not None:
            self.action_replan()
        self._draw()

    def tick(self) -> None:
        """Close the confirmation when operate mode runs out; see how far a rehearsal is."""
        super().tick()
        if self._view is not None and self._view.rehearsing:
            self._look_for_rehearsal()
        if self._seen_since is None:
            self._say_waiting()
        elif self._submitted:
            self._say(line(Span(f"right; checking that nothing has changed… {self._spent()}", Role.ACCENT)))
        self._draw()

    def _say_waiting(self) -> None:
        self._say(line(Span(f"making the plan; nothing is written… {self._spent()}", Role.DIM)))

    def _spent(self) -> str:
        return glyphs.waiting(self.console.monotonic() - self._asked_at)

    def action_replan(self) -> None:
        self._asked_at = self.console.monotonic()
        self.ask("plan", self._planned)

    def action_arm(self) -> None:
        """Ask for operate mode where it opens the confirmation; a letter meant for the phrase must not end it."""
        plan = self._view.plan if self._view is not None else None
        if plan is not None and plan.needed and not plan.refused and not self.console.armed_for:
            self.app.push_screen(Arm())

    def action_rehearse(self) -> None:
        if self._view is not None and can_be_rehearsed(self._view.plan):
            self.app.push_screen(Rehearsing(self._view.plan))
        elif self._view is not None:
            message = "there is nothing to rehearse: this changes no table's files while the server is down"
            self._say(line(Span(message, Role.DIM)))

    def offers(self, name: str) -> bool:
        plan = self._view.plan if self._view is not None else None
        return name != "rehearse" or (plan is not None and _rehearsal_helps(plan))

    def _planned(self) -> Plan:
        engine = self.console.engine()
        return engine.plan_undo(self._undoes) if self._undoes else engine.plan(self._action, self._table)

    def _look_for_rehearsal(self) -> None:
        plan = self._view.plan if self._view is not None else None
        if plan is not None and can_be_rehearsed(plan):
            engine = self.console.engine
            self.ask("rehearsal", lambda: _rehearsal(engine().rehearsal(plan)))

    def action_scroll(self, lines: int) -> None:
        """Scroll the section that has more than it shows, the first one first."""
        for pane in self._sections.values():
            if pane.move_text(lines):
                return

    def on_answer(self, answer: Answer) -> None:
        if answer.asked == "rehearsal":
            self._take_rehearsal(answer)
            return
        if self._seen_since is None:
            self._seen_since = time.monotonic()
        if answer.error:
            self._submitted = ""
            self._say(line(Span(f"{glyphs.BAD} ", Role.BAD), answer.error))
            return
        self._take_plan(answer.value)
        if answer.asked == "again":
            self._pass_the_door()
        self._look_for_rehearsal()

    def _take_plan(self, plan: Plan) -> None:
        view = self._view
        if view is None:
            self._show(PlanView(plan))
            self._say(BLANK)
        elif view.plan.plan_id == plan.plan_id:
            self._show(replace(view, plan=plan))
        else:
            self._show(PlanView(plan, text.changed_facts(view.plan, plan) or ("the plan itself",)))
            self._submitted = ""
            self._field.renew()
            self._say(line(Span(f"{glyphs.BAD} void: ", Role.BAD), "the station has changed; read the new plan above"))

    def _pass_the_door(self) -> None:
        """Start what was confirmed, if the plan made again is the same and nothing stands against it."""
        phrase, self._submitted = self._submitted, ""
        plan = self._view.plan if self._view is not None else None
        if plan is None or not phrase:
            return
        if plan.refused:
            self._field.renew()
            self._say(line(Span(f"{glyphs.BAD} void: ", Role.BAD), "now refused; see the reason above"))
        elif phrase == plan.confirmation and self._is_open():
            self.console.arm()  # each confirmed action renews operate mode
            self.app.switch_screen(Execution(plan, phrase, self._undoes))

    def _take_rehearsal(self, answer: Answer) -> None:
        if self._view is None or answer.error or answer.value is None:
            return
        works, ended = answer.value
        before = self._view
        self._show(replace(before, rehearsing=works, rehearsal=ended))
        if before.rehearsing and not works:
            self.action_replan()  # the plan says by itself that it was rehearsed

    def _refused(self, why: str) -> None:
        self._say(line(Span(f"{glyphs.BAD} {why}: ", Role.BAD), "type the phrase, letter by letter"))

    def _confirm(self, typed: str) -> None:
        view = self._view
        if view is None or not self._is_open():
            return
        if " ".join(typed.split()) != view.plan.confirmation:
            self._say(
                line(Span(f"{glyphs.BAD} wrong phrase, nothing was done: ", Role.BAD), "type exactly what stands above")
            )
            return
        # Once more before the door: what the plan rests on may have changed while the phrase was typed.
        self._submitted = view.plan.confirmation
        self._asked_at = self.console.monotonic()
        self._say(line(Span(f"right; checking that nothing has changed… {self._spent()}", Role.ACCENT)))
        self.ask("again", self._planned)

    def _is_open(self) -> bool:
        plan = self._view.plan if self._view is not None else None
        return plan is not None and plan.needed and not plan.refused and self.console.armed_for > 0

    def _show(self, view: PlanView) -> None:
        self._view = view
        for pane in self._sections.values():
            pane.show(view)
        self.query_one("#plan", Framed).rearrange()
        self.draw_keys()
        self._draw()

    def _say(self, message: Line) -> None:
        self._answer = message
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        self._field.open(self._is_open())
        self.query_one("#confirm", Pane).show(ConfirmView(self._view, self.console.armed_for > 0, self._answer))

    def _arrange(self, size: Size) -> list[Box]:
        """Return the sections: one below the other, or reasons at the left and changes at the right."""
        need = {name: self._sections[name].wanted for name in _SECTIONS}
        if size.width >= _TWO_COLUMNS:
            half = size.width // 2
            cost = 1 + min(need["cost"](size.width - 2, open=True), max(1, size.height - 12))
            inner = half - 2
            tall = size.height - cost
            least = min(need["hold"](inner, open=True), max(3, size.height // 3)) + 1
            hold = max(least, tall - 1 - need["why"](inner, open=True))  # right below the reasons
            return [
                Box("cost", 0, 0, size.width, cost),
                Box("why", 0, cost, half, tall - hold),
                Box("hold", 0, size.height - hold, half, hold),
                Box("changes", half, cost, size.width - half, tall, edge=True),
            ]
        inner = size.width - 2
        wants = {name: max(1, need[name](inner, open=True)) for name in _SECTIONS}
        wants["cost"] = wants["cost"] if size.height >= _ROOMY else 1
        texts = {"cost": wants["cost"], "why": 1, "changes": 1, "hold": 1}
        flat = size.height < _FLAT
        order = ("cost", "why", "hold", "changes") if flat else _SECTIONS
        ruled = {name: not flat or name in {"why", "changes"} for name in order}
        spare = size.height - sum(ruled.values()) - sum(texts.values())
        # In turn, so that each section shows something of itself before one shows all.
        for turn in (("why",), ("hold",), ("changes",)) if flat else (order,):
            while spare > 0 and any(texts[name] < wants[name] for name in turn):
                for name in turn:
                    if spare > 0 and texts[name] < wants[name]:
                        texts[name] += 1
                        spare -= 1
        boxes, y = [], 0
        for name in order:
            boxes.append(Box(name, 0, y, size.width, texts[name] + ruled[name], rule=ruled[name]))
            y += boxes[-1].height
        return boxes


def _rehearsal_helps(plan: Plan) -> bool:
    refused = {refusal.code for refusal in plan.refused} - {RefusalCode.LOSE_UNKNOWN_WITHOUT_REHEARSAL}
    return not refused and can_be_rehearsed(plan)


def _rehearsal(found: "RunningRehearsal | None") -> tuple[bool, Rehearsal | None] | None:
    """Return whether a rehearsal works, and how it ended; None where there was none."""
    if found is None:
        return None
    ended = found.result()
    return ended is None, ended


def _bottom(size: Size) -> list[Box]:
    return [Box("confirm", 0, 0, size.width, size.height)]

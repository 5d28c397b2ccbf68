"""One plan: why, what will change, what must hold, what it costs, and the typed confirmation. Esc leaves it undone."""

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.recovery.model import ActionSpec, Plan
from console.widgets import glyphs
from console.widgets.frames import Box
from console.widgets.line import BLANK, Line, Role, Span, line, wrap
from console.widgets.pane import Content, Framed, Pane, Room
from console.widgets.phrase import PhraseField
from screens.execution import Execution
from screens.frame import Answer, FramedScreen
from screens.panes import plan as text
from screens.panes.plan import PlanView

_SECTIONS = ("why", "changes", "hold", "cost")
_TWO_COLUMNS = 110


class PlanScreen(FramedScreen):
    """Shows a plan and takes its phrase. Nothing but the right phrase in operate mode starts anything."""

    TITLE_WORD = "plan"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.back", "Back, nothing is done", id="back", tooltip="leave the plan; nothing is done"),
        Binding("up", "scroll(-1)", "Up", id="up", show=False, tooltip="move up"),
        Binding("down", "scroll(1)", "Down", id="down", show=False, tooltip="move down"),
        Binding("pageup", "scroll(-8)", "Page up", id="page-up", show=False, tooltip="move up by a page"),
        Binding("pagedown", "scroll(8)", "Scroll", id="page-down", tooltip="read the rest of a long plan"),
        Binding("f2,o", "app.operate", "Operate", id="operate", tooltip="arm operate mode, or disarm it"),
        Binding("f5,r", "replan", "Plan again", id="replan", tooltip="make the plan anew from what is there now"),
    ]

    def __init__(self, spec: ActionSpec, table: str | None) -> None:
        super().__init__()
        self._spec = spec
        self._table = table
        self._view: PlanView | None = None
        self._said: Line = BLANK
        self._submitted = ""

    def body(self) -> list[Widget]:
        """Return the sections, the confirmation and its field."""
        panes = [
            Pane(text.why, id="why"),
            Pane(text.changes, id="changes"),
            Pane(text.must_hold, id="hold"),
            Pane(text.cost, id="cost"),
        ]
        self._sections = {pane.id or "": pane for pane in panes}
        return [
            Framed(*panes, arrange=self._arrange, is_open=lambda size: True, id="plan"),
            Framed(Pane(_confirmation, id="confirm"), arrange=_bottom, is_open=lambda size: True, id="below"),
            PhraseField(id="phrase"),
        ]

    def on_mount(self) -> None:
        """Ask for the plan."""
        super().on_mount()
        self._say(line(Span("making the plan; nothing is written for it…", Role.DIM)))
        self.action_replan()

    def on_screen_resume(self) -> None:
        """The mode may have changed on another screen."""
        super().on_screen_resume()
        self._draw()

    def tick(self) -> None:
        """Close the confirmation when operate mode runs out."""
        super().tick()
        self._draw()

    def action_replan(self) -> None:
        """Make the plan again from what is there now."""
        console, action, table = self.console, self._spec.id, self._table
        self.ask("plan", lambda: console.engine().plan(action, table))

    def action_scroll(self, lines: int) -> None:
        """Scroll the section that has more than it shows, the first one first."""
        for pane in self._sections.values():
            if pane.move_text(lines):
                return

    def on_answer(self, answer: Answer) -> None:
        """Take a plan, or what hinders it."""
        if answer.error:
            self._submitted = ""
            self._say(line(Span(f"{glyphs.BAD} ", Role.BAD), answer.error))
            return
        plan: Plan = answer.value
        before = self._view.plan if self._view is not None else None
        if before is not None and before.plan_id != plan.plan_id:
            self._show(PlanView(plan, text.changed_facts(before, plan) or ("the plan itself",)))
            self._submitted = ""
            self.query_one(PhraseField).clear()
            self._say(line(Span(f"{glyphs.BAD} void: ", Role.BAD), "the world has changed; read the new plan above"))
            return
        self._show(PlanView(plan, self._view.void if self._view is not None else ()))
        if answer.asked == "again":
            phrase, self._submitted = self._submitted, ""
            if phrase == plan.confirmation and self.console.armed_for:
                self.app.switch_screen(Execution(plan, phrase))
        else:
            self._say(BLANK)

    @on(PhraseField.Typed)
    def _typed(self, event: PhraseField.Typed) -> None:
        self._say(BLANK)

    @on(PhraseField.PasteRefused)
    def _pasted(self) -> None:
        self._say(line(Span(f"{glyphs.BAD} pasting is refused: ", Role.BAD), "type the phrase, letter by letter"))

    @on(PhraseField.Submitted)
    def _confirm(self, event: PhraseField.Submitted) -> None:
        view = self._view
        if view is None or not self._is_open():
            return
        if " ".join(event.text.split()) != view.plan.confirmation:
            self._say(
                line(Span(f"{glyphs.BAD} wrong phrase, nothing was done: ", Role.BAD), "type exactly what stands above")
            )
            return
        # Once more before the door: what the plan rests on may have changed while the phrase was typed.
        self._submitted = view.plan.confirmation
        self._say(line(Span("right; checking that nothing has changed…", Role.ACCENT)))
        console, action, table = self.console, self._spec.id, self._table
        self.ask("again", lambda: console.engine().plan(action, table))

    def _is_open(self) -> bool:
        plan = self._view.plan if self._view is not None else None
        return plan is not None and plan.needed and not plan.refused and self.console.armed_for > 0

    def _show(self, view: PlanView) -> None:
        self._view = view
        for pane in self._sections.values():
            pane.show(view)
        self.query_one("#plan", Framed).rearrange()
        self._draw()

    def _say(self, said: Line) -> None:
        self._said = said
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        plan = self._view.plan if self._view is not None else None
        field = self.query_one(PhraseField)
        is_open = self._is_open()
        field.display = is_open
        if is_open and not field.has_focus:
            field.focus()
        self.query_one("#confirm", Pane).show(_Confirm(plan, self.console.armed_for > 0, self._said))

    def _arrange(self, size: Size) -> list[Box]:
        """Return the sections: one below the other, or reasons at the left and changes at the right."""
        need = {name: self._sections[name].wanted for name in _SECTIONS}
        if size.width >= _TWO_COLUMNS:
            half = size.width // 2
            inner = half - 2
            hold = min(need["hold"](inner, open=True), max(3, size.height // 3)) + 1
            tall = size.height - 2
            return [
                Box("why", 0, 0, half, tall - hold),
                Box("hold", 0, tall - hold, half, hold),
                Box("changes", half, 0, size.width - half, tall, edge=True),
                Box("cost", 0, tall, size.width, 2),
            ]
        inner = size.width - 2
        wants = {name: max(1, need[name](inner, open=True)) for name in _SECTIONS}
        texts = {"why": 1, "changes": 1, "hold": 1, "cost": 1}
        spare = size.height - len(_SECTIONS) - sum(texts.values())
        # In turn, so that each section shows something of itself before one shows all.
        while spare > 0 and any(texts[name] < wants[name] for name in _SECTIONS):
            for name in _SECTIONS:
                if spare > 0 and texts[name] < wants[name]:
                    texts[name] += 1
                    spare -= 1
        boxes, y = [], 0
        for name in _SECTIONS:
            boxes.append(Box(name, 0, y, size.width, texts[name] + 1))
            y += texts[name] + 1
        return boxes


class _Confirm:
    """What the confirmation pane shows."""

    def __init__(self, plan: Plan | None, armed: bool, said: Line) -> None:
        self.plan = plan
        self.armed = armed
        self.said = said


def _confirmation(view: _Confirm, room: Room) -> Content:
    plan = view.plan
    if plan is None:
        return Content("confirmation", (view.said,))
    if plan.refused:
        text_ = wrap("It is refused now, for the reasons above; nothing can be confirmed.", room.width, Role.WARN)
        return Content("confirmation", (*text_, view.said))
    if not plan.needed:
        return Content("confirmation", (line(Span("There is nothing to do.", Role.OK)), view.said))
    if not view.armed:
        closed = line(Span("Closed: this is observe mode. ", Role.WARN), Span("o", Role.KEY), " arms operate mode.")
        phrase = line(Span("It would ask for  ", Role.DIM), Span(plan.confirmation, Role.STRONG))
        return Content("confirmation", (closed, view.said or phrase))
    asked = line(
        "Type  ", Span(plan.confirmation, Role.STRONG), "  and Enter to do it", Span("   Esc goes back", Role.DIM)
    )
    return Content("confirmation", (asked, view.said))


def _bottom(size: Size) -> list[Box]:
    return [Box("confirm", 0, 0, size.width, size.height)]

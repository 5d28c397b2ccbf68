"""The incident in time order: what happened, what was done, what is left; saved or copied as a report."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.reporting.incident import Incident
from console.widgets import glyphs
from console.widgets.frames import Box
from console.widgets.pane import Framed, Pane
from screens.frame import Answer, FramedScreen
from screens.keys import scrolling_keys
from screens.panes import timeline
from screens.panes.timeline import IncidentView
from screens.reporting_port import StationDesk

_LEAST = 8  # lines that the timeline keeps, rule included
_ROOMY = 30  # lines from which on what is left to do is shown in full


class Timeline(FramedScreen):
    """Reads the incident once, in a thread; `r` reads it again."""

    TITLE_WORD = "timeline"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,t", "app.back", "Back", id="back", tooltip="leave the timeline"),
        Binding("s", "save", "Save report", id="save", tooltip="write the report (Markdown) into the state directory"),
        Binding("y", "copy", "Copy report", id="copy", tooltip="copy the report as Markdown"),
        Binding("r", "read", "Read again", id="read", tooltip="read files, services and the journal again"),
        *scrolling_keys("read what came later"),
    ]

    def __init__(self, desk: StationDesk) -> None:
        super().__init__()
        self._desk = desk
        self._incident: Incident | None = None
        self._asked_at: float | None = None  # when it was asked for, None once it has come

    def body(self) -> list[Widget]:
        panes = (Pane(timeline.summary, id="incident"), Pane(timeline.events, id="events"))
        return [Framed(*panes, arrange=self._arrange, is_open=_roomy, id="timeline")]

    def on_mount(self) -> None:
        super().on_mount()
        self.action_read()

    def tick(self) -> None:
        super().tick()
        if self._asked_at is not None and self._incident is None:
            self._show()

    def action_read(self) -> None:
        self._asked_at = self.console.monotonic()
        self.ask("incident", self._desk.incident)
        if self._incident is None:
            self._show()

    def action_save(self) -> None:
        incident = self._incident
        if incident is not None:
            self.ask("save", lambda: self._desk.save_report(incident))

    def action_copy(self) -> None:
        incident = self._incident
        if incident is not None:
            self.ask("copy", lambda: self._desk.report(incident))

    def action_scroll(self, lines: int) -> None:
        self.query_one("#events", Pane).move_text(lines)

    def on_answer(self, answer: Answer) -> None:
        if answer.asked == "incident":
            self._asked_at = None
        if answer.error:
            self._show(error=answer.error)
        elif answer.asked == "incident":
            self._incident = answer.value
            self._show()
        elif answer.asked == "copy":
            self.console.copy_text(answer.value)
        else:
            self._show(message=f"the report is in {answer.value}")

    def _show(self, message: str = "", error: str = "") -> None:
        asked = self._asked_at
        spent = glyphs.waiting(self.console.monotonic() - asked) if asked is not None else ""
        for pane in self.query(Pane):
            pane.show(IncidentView(self._incident, message, error, spent))
        self.query_one("#timeline", Framed).rearrange()

    def _arrange(self, size: Size) -> list[Box]:
        wanted = self.query_one("#incident", Pane).wanted(size.width - 2, open=_roomy(size)) + 1
        height = max(2, min(wanted, size.height - _LEAST))
        return [
            Box("incident", 0, 0, size.width, height),
            Box("events", 0, height, size.width, size.height - height),
        ]


def _roomy(size: Size) -> bool:
    return size.height >= _ROOMY

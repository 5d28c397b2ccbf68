"""Why not: the steps that seem to help and would destroy data now, table by table."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.diagnosis.model import DatabaseReport
from console.widgets import glyphs
from console.widgets.frames import Box
from console.widgets.line import BLANK, Line, Role, Span, hanging, line
from console.widgets.pane import Content, Framed, Pane, Room
from screens.frame import FramedScreen
from screens.keys import scrolling_keys
from screens.panes import tables


class WhyNot(FramedScreen):
    TITLE_WORD = "why not"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,w", "app.back", "Back", id="back", tooltip="leave this page"),
        *scrolling_keys(),
    ]

    def body(self) -> list[Widget]:
        return [Framed(Pane(_text, id="reasons"), arrange=_arrange, is_open=lambda size: True, id="why-not")]

    def tick(self) -> None:
        super().tick()
        self.query_one("#reasons", Pane).show(_View(self.console.state.tables.data))

    def action_scroll(self, lines: int) -> None:
        self.query_one("#reasons", Pane).move_text(lines)


class _View:
    def __init__(self, report: DatabaseReport | None) -> None:
        self.report = report


def _text(view: _View, room: Room) -> Content:
    if view.report is None:
        return Content("what not to do now", (line(Span("no diagnosis yet", Role.DIM)),))
    lines: list[Line] = []
    for table in tables.worst_first(view.report):
        lines += [BLANK] if lines else []
        lines.append(line(tables.verdict(table), Span(table.table, Role.STRONG)))
        for step in table.blocked_steps:
            lines.append(line("  ", Span(f"{glyphs.BAD} {step.action}", Role.WARN)))
            lines.extend(hanging(line("    "), step.reason, room.width))
        if not table.blocked_steps:
            lines.append(line("  ", Span("no step is known that would lose rows now", Role.DIM)))
        if table.next_step.reason:
            label = line("  ", Span(f"{glyphs.ARROW} {table.next_step.action or 'instead'}  ", Role.KEY))
            lines.extend(hanging(label, table.next_step.advice, room.width, Role.STRONG))
    return Content("what not to do now", tuple(lines), more="more lines (PgDn)")


def _arrange(size: Size) -> list[Box]:
    return [Box("reasons", 0, 0, size.width, size.height)]

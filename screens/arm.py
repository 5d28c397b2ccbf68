"""Operate mode is armed on purpose: by a typed word, for a limited time."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Key, Paste
from textual.geometry import Size
from textual.widget import Widget

from console.widgets import glyphs
from console.widgets.frames import Box
from console.widgets.line import BLANK, Line, Role, Span, line, wrap
from console.widgets.pane import Content, Framed, Pane, Room
from console.widgets.phrase import PhraseField
from screens.frame import FramedScreen

WORD = "operate"


class Arm(FramedScreen):
    """Says what operate mode means, and asks for its word."""

    TITLE_WORD = "arm operate mode"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.back", "Back, stay in observe mode", id="back", tooltip="stay in observe mode")
    ]

    def __init__(self) -> None:
        super().__init__()
        self._field = PhraseField(self._entered, refused=self._refused)

    def body(self) -> list[Widget]:
        return [
            Framed(Pane(_explain, id="explain"), arrange=_arrange, is_open=lambda size: True, id="arm"),
            self._field,
        ]

    def on_mount(self) -> None:
        super().on_mount()
        self._show(BLANK)
        self._field.open(True)

    @property
    def waits(self) -> bool:
        return super().waits or not self._field.painted

    def takes(self, event: Key | Paste) -> bool:
        """Take what is typed: nothing else has letters here."""
        return self._field.take(event)

    def _refused(self, why: str) -> None:
        self._show(line(Span(f"{glyphs.BAD} {why}: ", Role.BAD), "type the word"))

    def _entered(self, text: str) -> None:
        if text.strip() == WORD:
            self.console.arm()
            self.app.pop_screen()
        else:
            message = f"the word is {WORD}; Esc stays in observe mode"
            self._show(line(Span(f"{glyphs.BAD} not armed: ", Role.BAD), message))

    def _show(self, message: Line) -> None:
        self.query_one("#explain", Pane).show(message)


def _explain(message: Line, room: Room) -> Content:
    text = (
        "In operate mode a plan can be confirmed and carried out. Each one still asks for its own phrase, "
        "and the policy still refuses what would destroy data. The mode ends after ten minutes, "
        "counted from the last confirmed action; o ends it at once."
    )
    asked = line("Type  ", Span(WORD, Role.STRONG), "  and Enter to arm it for ten minutes.")
    return Content("operate mode", (*wrap(text, min(room.width, 76)), BLANK, asked, message))


def _arrange(size: Size) -> list[Box]:
    return [Box("explain", 0, 0, size.width, min(size.height, 9))]

"""The journal: what was done, by whom, how it ended, whole and newest first."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.widgets.frames import Box
from console.widgets.pane import Framed, Pane
from screens.frame import FramedScreen
from screens.panes import journal
from screens.panes.reading import Source


class JournalScreen(FramedScreen):
    """All entries of the journal; unfinished ones say how to finish them or take them back."""

    TITLE_WORD = "journal"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,j", "app.back", "Back", id="back", tooltip="leave the journal"),
        Binding("up", "scroll(-1)", "Up", id="up", show=False, tooltip="move up"),
        Binding("down", "scroll(1)", "Down", id="down", show=False, tooltip="move down"),
        Binding("pageup", "scroll(-10)", "Page up", id="page-up", show=False, tooltip="move up by a page"),
        Binding("pagedown", "scroll(10)", "Scroll", id="page-down", tooltip="read older entries"),
        Binding("y", "app.copy_screen", "Copy", id="copy", tooltip="copy the screen as text"),
    ]

    def body(self) -> list[Widget]:
        """Return one pane."""
        return [Framed(Pane(journal.build, id="entries"), arrange=_arrange, is_open=lambda size: True, id="journal")]

    def tick(self) -> None:
        """Show what is new."""
        super().tick()
        console = self.console
        now, monotonic = console.wall_clock(), console.monotonic()
        self.query_one("#entries", Pane).show(Source.of(console.state.journal, now=now, monotonic=monotonic))

    def action_scroll(self, lines: int) -> None:
        """Move the text."""
        self.query_one("#entries", Pane).move_text(lines)


def _arrange(size: Size) -> list[Box]:
    return [Box("entries", 0, 0, size.width, size.height)]

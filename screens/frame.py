"""What every full screen has: the header, the keys, and the page that says when the terminal is too small."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from console.widgets.line import Line, Role, Span, line
from console.widgets.pane import Bar
from screens.port import ConsolePort
from screens.too_small import MIN_HEIGHT, MIN_WIDTH, TooSmall

_WIDTHS = [(0, "-thin"), (MIN_WIDTH, "-narrow"), (110, "-wide")]
_HEIGHTS = [(0, "-flat"), (MIN_HEIGHT, "-low"), (30, "-tall")]
_KEYS_SHOWN = 6
_LABELS = {"question_mark": "?", "escape": "Esc", "space": "Space", "enter": "Enter", "slash": "/", "tab": "Tab"}


def key_label(key: str) -> str:
    """Return a key as the operator knows it."""
    return _LABELS.get(key, key)


class FramedScreen(Screen[None]):
    """A screen of the console: header, body, keys. Subclasses give the body, its bindings and its message handlers."""

    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="help", tooltip="all keys and actions of this screen"),
        Binding("escape,q", "app.back", "Back", id="back", tooltip="leave this screen; nothing is done"),
    ]
    TITLE_WORD = ""

    @property
    def console(self) -> ConsolePort:
        """Return what the application offers to a screen."""
        app: object = self.app
        assert isinstance(app, ConsolePort)  # noqa: S101 - a screen of this console in another app is a mistake
        return app

    def compose(self) -> ComposeResult:
        """Lay out header, body, keys and the page for small terminals."""
        yield Bar(id="header", classes="-top")
        yield from self.body()
        yield Bar(id="keys", classes="-bottom")
        yield TooSmall()

    def body(self) -> list[Widget]:
        """Return the widgets between header and keys."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Draw header and keys at once."""
        self.tick()
        self.draw_keys()

    def on_screen_resume(self) -> None:
        """Draw what may have changed while another screen was on top."""
        self.tick()

    def tick(self) -> None:
        """Draw what time changes: clock, ages, the time that operate mode has left."""
        self.query_one("#header", Bar).show(self.console.header(self.TITLE_WORD, self.size.width))

    def draw_keys(self) -> None:
        """Draw at most six keys, help and the way out first."""
        shown = [item for group in self._bindings.key_to_bindings.values() for item in group if item.show]
        seen: dict[str, Line] = {}
        for binding in sorted(shown, key=lambda item: (item.id != "help", item.id not in {"back", "quit"})):
            seen.setdefault(
                binding.action, line(Span(key_label(binding.key), Role.KEY), Span(f" {binding.description}", Role.DIM))
            )
        parts = list(seen.values())[:_KEYS_SHOWN]
        keys = line(" ", *(line(part, "  ") for part in parts))
        self.query_one("#keys", Bar).show(keys)

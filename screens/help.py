"""Help made from what is there: the keys of the screen below, the actions, and where things are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.recovery.model import ActionSpec
from console.widgets.frames import Box
from console.widgets.line import BLANK, Line, Role, Span, hanging, left, line
from console.widgets.pane import Content, Framed, Pane, Room
from screens.frame import Answer, FramedScreen, key_label


@dataclass(frozen=True, slots=True)
class HelpView:
    """What help shows: keys with their meaning, actions, and the files of this console."""

    keys: tuple[tuple[str, str], ...]
    actions: Sequence[ActionSpec]
    places: tuple[tuple[str, str], ...]


class Help(FramedScreen):
    """All keys of the screen below, all actions, and where log, journal and settings are."""

    TITLE_WORD = "help"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "app.back", "Back", id="back", tooltip="leave the help"),
        Binding("up", "scroll(-1)", "Up", id="up", show=False, tooltip="move up"),
        Binding("down", "scroll(1)", "Down", id="down", show=False, tooltip="move down"),
        Binding("pageup", "scroll(-10)", "Page up", id="page-up", show=False, tooltip="move up by a page"),
        Binding("pagedown", "scroll(10)", "Scroll", id="page-down", tooltip="read the rest"),
    ]

    def __init__(self, keys: tuple[tuple[str, str], ...], places: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self._view = HelpView(keys, (), places)

    def body(self) -> list[Widget]:
        """Return one pane."""
        return [Framed(Pane(_help, id="text"), arrange=_arrange, is_open=lambda size: True, id="help")]

    def on_mount(self) -> None:
        """Show the keys at once; the actions come from the registry in a thread."""
        super().on_mount()
        self.query_one("#text", Pane).show(self._view)
        self.ask("actions", _specs)

    def on_answer(self, answer: Answer) -> None:
        """Add the actions."""
        if not answer.error:
            self._view = HelpView(self._view.keys, answer.value, self._view.places)
            self.query_one("#text", Pane).show(self._view)

    def action_scroll(self, lines: int) -> None:
        """Move the text."""
        self.query_one("#text", Pane).move_text(lines)


def keys_of(bindings: Sequence[Binding]) -> tuple[tuple[str, str], ...]:
    """Return each key of a screen with what it does, one line per action."""
    found: dict[str, tuple[list[str], str]] = {}
    for binding in bindings:
        if binding.system:
            continue
        keys, _ = found.setdefault(binding.action, ([], binding.tooltip or binding.description))
        if key_label(binding.key) not in keys:
            keys.append(key_label(binding.key))
    return tuple((" ".join(keys), meaning) for keys, meaning in found.values())


def _specs() -> Sequence[ActionSpec]:
    from console.recovery.gate.registry import action_ids, spec_of

    return [spec_of(action) for action in action_ids()]


def _help(view: HelpView, room: Room) -> Content:
    lines: list[Line] = []
    for keys, meaning in view.keys:
        lines.extend(hanging(left(line(Span(keys, Role.KEY)), 14), meaning, room.width))
    if view.actions:
        lines += [
            BLANK,
            line(Span("actions", Role.TITLE), Span("  never by one key: from the palette (a), with a plan", Role.DIM)),
        ]
    for spec in view.actions:
        lines.extend(hanging(left(line(Span(spec.id, Role.STRONG)), 19), spec.summary, room.width))
    lines += [BLANK, line(Span("places", Role.TITLE))]
    for name, place in view.places:
        lines.extend(hanging(left(line(Span(name, Role.DIM)), 14), place, room.width))
    return Content("keys", tuple(lines), more="more lines (PgDn)")


def _arrange(size: Size) -> list[Box]:
    return [Box("text", 0, 0, size.width, size.height)]

"""What every full screen has: the header, the keys, and the page that says when the terminal is too small."""

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingsMap, BindingType
from textual.events import Key, Paste
from textual.keys import key_to_character
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from console.errors import WalmedicError
from console.probes.worker import Worker
from console.widgets.line import Line, Role, Span, cells, line
from console.widgets.pane import ROLE_CLASSES, LineWidget
from console.widgets.phrase import PromptBar
from screens.port import ConsolePort
from screens.too_small import MIN_HEIGHT, MIN_WIDTH, TooSmall

_LOG = logging.getLogger(__name__)
_WIDTHS = [(0, "-thin"), (MIN_WIDTH, "-narrow"), (110, "-wide")]
_HEIGHTS = [(0, "-flat"), (MIN_HEIGHT, "-short"), (20, "-low"), (30, "-tall")]
_KEYS_SHOWN = 6
_LABELS = {"question_mark": "?", "escape": "Esc", "space": "Space", "enter": "Enter", "slash": "/", "tab": "Tab",
           "pagedown": "PgDn", "pageup": "PgUp", "up": "↑", "down": "↓", "left": "←", "right": "→"}  # fmt: skip


def key_label(key: str) -> str:
    """Return a key as the operator knows it, e.g. `?`, `PgDn`, `F2`, `Ctrl+R`."""
    if len(key) > 1 and key not in _LABELS and (character := key_to_character(key)) and character.isprintable():
        return character
    return _LABELS.get(key) or (key if len(key) == 1 else "+".join(part.capitalize() for part in key.split("+")))


def remapped(bindings: BindingsMap, keys: Mapping[str, str]) -> BindingsMap:
    """Return the bindings with the keys that the settings give them, name of a binding to keys parted by commas."""
    made: dict[str, list[Binding]] = {}
    for key, group in bindings.key_to_bindings.items():
        for binding in group:
            for each in keys.get(binding.id or "", key).split(","):
                if all(other.id != binding.id for other in made.get(each, [])):
                    made.setdefault(each, []).append(replace(binding, key=each))
    return BindingsMap.from_keys(made)


class Answer(Message):
    """What a call in a thread brought: a value, or the sentence of an error. `asked` names the call."""

    def __init__(self, asked: str, number: int, value: Any, error: str) -> None:
        super().__init__()
        self.asked = asked
        self.number = number
        self.value = value
        self.error = error


class KeysGoOn(Message):
    """A screen has what it waited for: keys that were held back for it may come."""


class FramedScreen(Screen[None], inherit_bindings=False):
    """A screen of the console: header, body, keys. Subclasses give the body, its bindings and its message handlers.

    The application hands it one key after the other (`holds`, `takes`); nothing on it has the focus.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    AUTO_FOCUS = ""  # a field that is hidden must not take the keys
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "app.help", "Help", id="help", tooltip="all keys and actions of this screen"),
        Binding(
            "colon,ctrl+p", "app.commands", "Everything", id="commands", show=False, tooltip="screens, tables, actions"
        ),
        Binding("escape,q", "app.back", "Back", id="back", tooltip="leave this screen; nothing is done"),
    ]
    TITLE_WORD = ""
    KEYS_AWAIT: ClassVar[frozenset[str]] = frozenset()
    """What was asked of a thread that keys act upon: until it is answered they wait."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[str, int] = {}
        self._unanswered: set[str] = set()
        self._drawn = False
        self.prompt = PromptBar(id="keys", classes="-bottom")

    @functools.cached_property
    def console(self) -> ConsolePort:
        """What the application offers to a screen; looked at once, since a look at a protocol is slow."""
        app: object = self.app
        assert isinstance(app, ConsolePort)  # noqa: S101 - a screen of this console in another app is a mistake
        return app

    def compose(self) -> ComposeResult:
        """Lay out header, body, keys and the page for small terminals."""
        self.bind_keys()
        yield LineWidget(id="header", classes="-top")
        yield from self.body()
        yield self.prompt
        yield TooSmall()

    def bind_keys(self) -> None:
        usual = self._merged_bindings
        self._bindings = remapped(usual.copy() if usual is not None else BindingsMap(), self.console.settings.keys)

    def body(self) -> list[Widget]:
        """Return the widgets between header and keys."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.tick()
        self.draw_keys()
        self._drawn = True
        self.app.post_message(KeysGoOn())

    @property
    def stands(self) -> bool:
        """Return whether its widgets are there to be drawn on: not before its mount, not while the console closes."""
        return self._drawn and self.is_attached and bool(self.query("#header"))

    @property
    def waits(self) -> bool:
        """Return whether the screen is not drawn yet, or waits for what it asked of a thread."""
        return not self._drawn or bool(self._unanswered)

    @property
    def covered(self) -> bool:
        """Return whether the terminal is too small for it: it cannot be seen, and takes no keys."""
        return self.app.size.width < MIN_WIDTH or self.app.size.height < MIN_HEIGHT

    def holds(self) -> bool:
        """Return whether keys have to wait, since what they would act on is not there yet."""
        return not self._drawn or (not self.prompt.asks and not self._unanswered.isdisjoint(self.KEYS_AWAIT))

    def takes(self, event: Key | Paste) -> bool:
        """Take what is typed into a line; return False for a key that the bindings are for."""
        return self.prompt.asks and self.prompt.take(event)

    def on_answer(self, answer: Answer) -> None:
        """Note that an answer came; subclasses have a handler of their own, which is called first."""
        if self._asked.get(answer.asked) == answer.number:
            self._unanswered.discard(answer.asked)
            self.app.post_message(KeysGoOn())

    def on_screen_resume(self) -> None:
        self.tick()
        self.draw_keys()

    def tick(self) -> None:
        """Draw what time changes: clock, ages, the time that operate mode has left."""
        self.draw_header(self.TITLE_WORD)

    def clock(self) -> None:
        """Do what a second asks for."""
        self.tick()

    def draw_header(self, title: str) -> None:
        """Draw the verdict, the way and the mode above everything."""
        self.query_one("#header", LineWidget).put(self.console.header(title, self.size.width))

    def draw_keys(self) -> None:
        """Draw at most six keys that do something now, help and the way out first."""
        groups = self._bindings.key_to_bindings.values()
        shown = [item for group in groups for item in group if item.show and self.offers(item.id or "")]
        seen: dict[str, Line] = {}
        for binding in sorted(shown, key=lambda item: (item.id != "help", item.id not in {"back", "quit"})):
            ends = binding.action == "app.operate" and self.console.armed_for > 0
            what = "Observe" if ends else binding.description
            seen.setdefault(binding.action, line(Span(key_label(binding.key), Role.KEY), Span(f" {what}", Role.DIM)))
        keys = [line(part, "  ") for part in list(seen.values())[:_KEYS_SHOWN]]
        while len(keys) > 2 and cells(line(*keys)) > self.app.size.width:  # half a key would be no key
            keys.pop()
        self.prompt.show(line(" ", *keys))

    def offers(self, name: str) -> bool:
        """Return whether the key of a binding does something now; the line of keys leaves the others out."""
        return True

    def ask(self, asked: str, call: Callable[[], Any]) -> None:
        """Run a slow call in a thread; its Answer comes as a message. A newer call of the same name supersedes it."""
        self._asked[asked] = number = self._asked.get(asked, 0) + 1
        self._unanswered.add(asked)

        async def work() -> None:
            value, error = None, ""
            try:
                # A daemon thread: a disk that hangs must not keep the console from closing.
                value = await Worker(asked).call(call)
            except WalmedicError as refused:
                error = str(refused)
            except Exception as unexpected:
                _LOG.exception("%s failed", asked)
                error = f"an unexpected {type(unexpected).__name__}; the log has it"
            if self._asked.get(asked) == number and self.is_attached:
                self.post_message(Answer(asked, number, value, error))

        self.run_worker(work(), exit_on_error=False, group=asked, name=asked)

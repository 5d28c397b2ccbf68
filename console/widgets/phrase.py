"""Lines that are typed into: one for words that may be wrong, one for a confirmation, which must pass through the mind.

Keys are handed to them one after the other, without focus and without messages: what is typed next can go nowhere else.
"""

import time
from collections.abc import Callable

from textual.events import Key, Paste
from textual.strip import Strip

from console.text import clean_line
from console.widgets.line import BLANK, Line, Role, Span, cells, line, tail
from console.widgets.pane import LineWidget

_LONGEST = 200

OnText = Callable[[str], object]


class TypingLine(LineWidget):
    """One line of typing: characters, backspace, enter, ctrl+u and ctrl+w as in a shell. It has no history."""

    def __init__(self, *, id: str, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.text = ""
        self._prompt = ">"

    @property
    def asks(self) -> bool:
        """Return whether the keys are for this line now."""
        return self.display

    def take(self, event: Key | Paste) -> bool:
        """Take a key or what was pasted, if it is for this line; return whether it was."""
        if isinstance(event, Paste):
            self.pasted(event.text)
        elif event.key == "enter":
            self.entered()
        elif event.key == "backspace":
            self._set(self.text[:-1])
        elif event.key == "ctrl+u":
            self._set("")
        elif event.key == "ctrl+w":
            before, space, _ = self.text.rstrip().rpartition(" ")
            self._set(before + space)
        elif event.character is not None and event.is_printable:
            self._set((self.text + event.character)[:_LONGEST])
        else:
            return False
        return True

    def typed(self) -> None:
        """Take note that the text has changed."""
        raise NotImplementedError

    def entered(self) -> None:
        """Take note that the text is complete."""
        raise NotImplementedError

    def pasted(self, text: str) -> None:
        """Take what was pasted, or do not."""
        raise NotImplementedError

    def _set(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self._draw()
            self.typed()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        start = line(" ", Span(f"{self._prompt} ", Role.KEY))
        # The end is where the operator writes.
        text = tail(line(Span(self.text, Role.STRONG)), max(1, self.size.width - cells(start) - 1))
        self.put([line(start, text, Span(" ", Role.CURSOR))])


class PromptBar(TypingLine):
    """The line of the keys, on which now and then something is asked: nothing moves when it is."""

    def __init__(self, *, id: str, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._keys: Line = BLANK
        self._done: OnText | None = None
        self._typed: OnText | None = None

    @property
    def asks(self) -> bool:
        return self._done is not None

    def show(self, keys: Line) -> None:
        self._keys = keys
        self._draw()

    def ask(self, prompt: str, done: OnText, *, typed: OnText | None = None, text: str = "") -> None:
        """Ask for a text: `done` is given the whole of it, `typed` each step to it."""
        self._prompt, self._done, self._typed, self.text = prompt, done, typed, text
        self._draw()

    def leave(self) -> None:
        self._done = self._typed = None
        self.text = ""
        self._draw()

    def typed(self) -> None:
        if self._typed is not None:
            self._typed(self.text)

    def entered(self) -> None:
        """Tell what was typed, after the line is the keys' again."""
        text, done = self.text, self._done
        self.leave()
        if done is not None:
            done(text)

    def pasted(self, text: str) -> None:
        """Take what was pasted: nothing here can do harm."""
        self._set((self.text + clean_line(text))[:_LONGEST])

    def _draw(self) -> None:
        if self.asks:
            super()._draw()
        else:
            self.put([self._keys])


class PhraseField(TypingLine):
    """The field of a confirmation. What is pasted is refused, and so is what was typed before the field was in sight.

    `entered` is given the phrase, `changed` that one is being typed, `refused` why something was not taken.
    """

    def __init__(self, entered: OnText, *, refused: OnText, changed: Callable[[], object] = lambda: None) -> None:
        super().__init__(id="phrase")
        self._entered = entered
        self._refused = refused
        self._changed = changed
        self._since: float | None = None  # since when it is painted, on the clock of events
        self.display = False

    @property
    def painted(self) -> bool:
        """Return whether it stands on the screen, and not only is about to."""
        return self._since is not None

    def open(self, is_open: bool) -> None:
        """Come into sight and take keys, or go."""
        if is_open != self.display:
            self.display = is_open
            self.renew()

    def renew(self) -> None:
        """Begin anew: forget the text, and take nothing before what stands above it now is painted."""
        self._since = None
        self._set("")
        self._draw()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return the field, which is painted with this, together with what stands above it."""
        if self._since is None:
            self._since = time.monotonic()
        return super().render_line(y)

    def take(self, event: Key | Paste) -> bool:
        """Take a key that was typed by somebody who could see what it confirms; drop an earlier one."""
        early = self._since is None or event.time < self._since
        if early and isinstance(event, Key) and (event.is_printable or event.key in {"enter", "backspace"}):
            self._refused("what was typed before this was shown is not taken")
            return True
        return super().take(event)

    def typed(self) -> None:
        self._changed()

    def entered(self) -> None:
        """Tell the phrase; it stays in the field, to be mended."""
        self._entered(self.text)

    def pasted(self, text: str) -> None:
        self._refused("pasting is refused")

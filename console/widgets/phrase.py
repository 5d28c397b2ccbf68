"""The field in which a confirmation is typed. What is pasted is refused: the phrase must pass through the mind."""

from dataclasses import dataclass

from textual.events import Key, Paste
from textual.message import Message

from console.text import clean_line
from console.widgets.line import Role, Span, line
from console.widgets.pane import LineWidget

_LONGEST = 200


class PhraseField(LineWidget, can_focus=True):
    """One line of typing: characters, backspace, enter. It has no history and no completion; `paste` lets text in."""

    @dataclass
    class Typed(Message):
        """The text has changed."""

        text: str

    @dataclass
    class Submitted(Message):
        """Enter was pressed."""

        text: str

    class PasteRefused(Message):
        """Something was pasted; nothing of it was taken."""

    def __init__(self, *, id: str | None = None, prompt: str = ">", paste: bool = False) -> None:
        super().__init__(id=id)
        self.text = ""
        self._prompt = prompt
        self._paste = paste

    def on_mount(self) -> None:
        """Draw the empty field."""
        self._draw()

    def clear(self) -> None:
        """Forget what was typed."""
        self._set("")

    def ask(self, prompt: str, text: str = "") -> None:
        """Come into sight with another prompt and take the keys."""
        self._prompt = prompt
        self.text = text
        self.display = True
        self._draw()
        self.screen.set_focus(self)  # at once: what is typed next is for this field

    def leave(self) -> None:
        """Go out of sight; the keys are the screen's again."""
        self.text = ""
        self.display = False
        self.screen.set_focus(None)

    def on_key(self, event: Key) -> None:
        """Take one key."""
        if event.key == "enter":
            event.stop()
            self.post_message(self.Submitted(self.text))
        elif event.key == "backspace":
            event.stop()
            self._set(self.text[:-1])
        elif event.character is not None and event.is_printable and len(self.text) < _LONGEST:
            event.stop()
            self._set(self.text + event.character)

    def on_paste(self, event: Paste) -> None:
        """Refuse what is pasted, unless the field is for something harmless."""
        event.stop()
        event.prevent_default()
        if self._paste:
            self._set((self.text + clean_line(event.text))[:_LONGEST])
            return
        self.post_message(self.PasteRefused())

    def _set(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self._draw()
            self.post_message(self.Typed(text))

    def _draw(self) -> None:
        typed = Span(self.text, Role.STRONG)
        self.put([line(" ", Span(f"{self._prompt} ", Role.KEY), typed, Span(" ", Role.CURSOR))])

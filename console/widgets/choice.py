"""A list of lines with a cursor. What the lines say is its user's matter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from textual.message import Message

from console.widgets import glyphs
from console.widgets.line import BLANK, Line, Role, Span, left, line, recast
from console.widgets.pane import Content, Pane, Room


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a list. `key` names it; an empty key is a heading that the cursor passes over."""

    key: str
    content: Line


class Keyed(Protocol):
    """What has a key of its own."""

    @property
    def key(self) -> str: ...


MakeItem = Callable[..., Item]  # (value, width=cells) -> the item for it


class ChoiceList(Pane):
    """Items one below the other, the chosen one marked by a glyph and a colour, always in sight."""

    @dataclass
    class Moved(Message):
        """The cursor stands on another item."""

        key: str

    def __init__(self, *, id: str, title: str = "") -> None:
        super().__init__(self._content, id=id)
        self.title = title
        self._items: tuple[Item, ...] = ()
        self._note: Line = BLANK
        self._make: MakeItem | None = None
        self._values: dict[str, Any] = {}
        self._first = 0
        self.key = ""

    def offer(self, items: Sequence[Item], key: str = "", note: Line = BLANK) -> None:
        """Show `items`; the cursor stays where it is, else goes to `key`, else to the first that can be chosen."""
        self._items = tuple(items)
        self._note = note
        keys = [item.key for item in items if item.key]
        wanted = self.key if self.key in keys else key
        self._choose(wanted if wanted in keys else (keys[0] if keys else ""))
        self.show(self._items)

    def offer_by_width(self, values: Sequence[Keyed], make: MakeItem, note: Line = BLANK) -> None:
        """Offer one item for each value, made for the width there is at each drawing, only while it is in sight."""
        self._make, self._values = make, {value.key: value for value in values}
        self.offer([Item(value.key, BLANK) for value in values], note=note)

    def choose(self, key: str) -> None:
        """Put the cursor on the item `key`, if there is one; a heading has no key."""
        if key and any(item.key == key for item in self._items):
            self._choose(key)
            self.show(self._items)

    def move(self, steps: int) -> None:
        keys = [item.key for item in self._items if item.key]
        if keys:
            at = keys.index(self.key) if self.key in keys else 0
            self.choose(keys[min(max(0, at + steps), len(keys) - 1)])

    def _choose(self, key: str) -> None:
        if key != self.key:
            self.key = key
            self.post_message(self.Moved(key))

    def _content(self, items: tuple[Item, ...], room: Room) -> Content:
        at = next((number for number, item in enumerate(items) if item.key and item.key == self.key), 0)
        # The heading above the first item comes into sight with it.
        top = at - 1 if at == 1 else at
        first = max(0, min(self._first, top), at - room.height + 1)
        self._first = min(first, max(0, len(items) - room.height))
        lines = []
        for item in self._made(items[self._first : self._first + room.height], room.width - 1):
            if item.key and item.key == self.key:
                text = left(item.content, room.width - 1)
                lines.append(line(Span(glyphs.HERE, Role.ACCENT), recast(text, Role.CURSOR)))
            else:
                lines.append(line(" ", item.content))
        return Content(self.title, tuple(lines), self._note)

    def _made(self, items: Sequence[Item], width: int) -> Sequence[Item]:
        make = self._make
        return items if make is None else [make(self._values[item.key], width=width) for item in items]

"""The letters that narrow a list: what they are after a key or a paste."""

from textual.events import Key, Paste

from console.text import clean_line


def filter_after(text: str, event: Key | Paste, *, without: str = "") -> str | None:
    """Return the filter `text` after `event`; None if it is none of its keys, as the characters `without` are."""
    if isinstance(event, Paste):
        return text + clean_line(event.text)
    if event.key == "backspace":
        return text[:-1]
    if event.character is None or not event.is_printable or event.character in without:
        return None
    return text + event.character

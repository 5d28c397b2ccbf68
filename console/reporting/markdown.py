"""Markdown that shows foreign text as it is: nothing in it is a link, a picture, a tag or emphasis."""

import re
from collections.abc import Iterable, Sequence

from console.text import clean_line, moment

# An underscore or a tilde inside a word is nothing but itself (GitHub's Markdown), and file names are full of them.
_ACTIVE = re.compile(r"([\\`*\[\]<>|&]|(?<!\w)_|_(?!\w)|~(?=~)|(?<=~)~)")


def plain(text: str, limit: int = 500) -> str:
    """Return one line of foreign text in which no character means anything to Markdown."""
    return _ACTIVE.sub(r"\\\1", clean_line(text, limit))


def code(text: str) -> str:
    """Return one line of foreign text as code, also where it holds backticks; for a table's cell too."""
    line = clean_line(text, 500).replace("|", "¦")
    if not line:
        return ""
    fence = "`" * (max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    blank = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{blank}{line}{blank}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return a table; the columns of `right` are aligned there. Cells are Markdown already."""
    line = ["---:" if number in right else "---" for number in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, line, *rows)]


def span(at: float, until: float | None) -> str:
    """Return a moment, or `2025-11-10 02:27:01Z to 08:20:14Z`, the day again if it differs."""
    if until is None or int(until) == int(at):
        return moment(at)
    first, last = moment(at), moment(until)
    return f"{first} to {last[11:] if first[:10] == last[:10] else last}"

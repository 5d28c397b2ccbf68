"""Text laid out cell by cell: spans with a role, lines of spans, and the few ways to place them.

A role says what a piece of text means; the style sheets say how that looks. Foreign text is data here, never markup.
"""

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells, set_cell_size


class Role(enum.StrEnum):
    """What a span means. Each is a component class `line--<role>` of the style sheets."""

    PLAIN = "plain"
    DIM = "dim"
    STRONG = "strong"
    TITLE = "title"
    RULE = "rule"
    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    ACCENT = "accent"
    KEY = "key"
    CURSOR = "cursor"
    MARK = "mark"
    FIELD = "field"
    DIFF = "diff"
    ARMED = "armed"
    LARGE_OK = "large-ok"
    LARGE_WARN = "large-warn"
    BAR_OK = "bar-ok"
    BAR_WARN = "bar-warn"
    BAR_BAD = "bar-bad"


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text with one role."""

    text: str
    role: Role = Role.PLAIN


_WORDS = re.compile(r"[^ \t\n]+")  # a no-break space keeps a number and its unit together
Line = tuple[Span, ...]
BLANK: Line = ()
UNBOUNDED = 10_000  # lines or cells, more than any pane has


def line(*parts: "str | Span | Line") -> Line:
    """Return one line of `parts`; bare text is plain."""
    spans: list[Span] = []
    for part in parts:
        if isinstance(part, str):
            spans.append(Span(part))
        elif isinstance(part, Span):
            spans.append(part)
        else:
            spans.extend(part)
    return tuple(span for span in spans if span.text)


def plain(content: Line) -> str:
    return "".join(span.text for span in content)


def cells(content: Line) -> int:
    return sum(cell_len(span.text) for span in content)


def recast(content: Line, role: Role) -> Line:
    return tuple(Span(span.text, role) for span in content)


def crop(content: Line, width: int) -> Line:
    """Return at most `width` cells of a line; a cut ends in `…`, unless only blanks are cut off."""
    if width <= 0:
        return BLANK
    while cells(content) > width and content[-1].text.endswith(" "):
        last = content[-1]
        content = line(content[:-1], Span(last.text.rstrip(" "), last.role))
    if cells(content) <= width:
        return content
    kept: list[Span] = []
    room = width - 1
    for span in content:
        size = cell_len(span.text)
        if size <= room:
            kept.append(span)
            room -= size
            continue
        if room:
            kept.append(Span(set_cell_size(span.text, room), span.role))
        kept.append(Span("…", span.role))
        break
    return tuple(kept)


def tail(content: Line, width: int) -> Line:
    """Return the last `width` cells of a line at most; a cut begins with `…`."""
    size = cells(content)
    if size <= width:
        return content
    text, role = plain(content), content[-1].role
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return line(Span(f"…{text}", role)) if width > 0 else BLANK


def left(content: Line, width: int) -> Line:
    cut = crop(content, width)
    return line(cut, " " * (width - cells(cut)))


def right(content: Line, width: int) -> Line:
    """Return the line cropped or filled to exactly `width` cells, at the right: the place of numbers."""
    cut = crop(content, width)
    return line(" " * (width - cells(cut)), cut)


def spread(start: Line, end: Line, width: int) -> Line:
    """Return `start` at the left and `end` at the right of `width` cells; `start` is cut first."""
    end = crop(end, width)
    room = width - cells(end)
    return line(left(start, max(0, room - 1) if end else room), " " if end and room else "", end)


def wrap(text: str, width: int, role: Role = Role.PLAIN, indent: int = 0) -> list[Line]:
    """Return `text` as lines of at most `width` cells, broken at spaces; later lines start at `indent`."""
    lines: list[str] = []
    current = ""
    for word in _WORDS.findall(text):
        room = width - (indent if lines else 0)
        if current and cell_len(current) + 1 + cell_len(word) <= room:
            current += f" {word}"
            continue
        if current:
            lines.append(current)
        pieces = chop_cells(word, max(1, width - (indent if lines or current else 0))) or [""]
        lines.extend(pieces[:-1])
        current = pieces[-1]
    if current:
        lines.append(current)
    return [line(" " * (indent if number else 0), Span(text, role)) for number, text in enumerate(lines)]


def bounded(lines: Sequence[Line], height: int, more: str = "more", width: int = UNBOUNDED) -> list[Line]:
    """Return at most `height` lines; where some are left out the last line says how many.

    An only line ends in `…` if that fits in `width`.
    """
    if len(lines) <= height:
        return list(lines)
    if height <= 1:
        return [line(each, Span(" …" if cells(each) + 2 <= width else "", Role.DIM)) for each in lines[:height]]
    left_out = len(lines) - height + 1
    return [*lines[: height - 1], line(Span(f"… {left_out} {more}", Role.DIM))]


def hanging(label: Line, text: str, width: int, role: Role = Role.PLAIN) -> list[Line]:
    """Return `text` wrapped beside `label`, all its lines starting at the same column."""
    start = cells(label)
    rest = wrap(text, max(1, width - start), role)
    if not rest:
        return [label]
    return [line(label, rest[0]), *(line(" " * start, more) for more in rest[1:])]


def fold(content: Line, width: int) -> list[Line]:
    """Return a line that is too long as several: its last span is wrapped beside those before it."""
    if cells(content) <= width or not content:
        return [content]
    return hanging(content[:-1], content[-1].text, width, content[-1].role)


def join(parts: Iterable[Line], between: Line) -> Line:
    joined: Line = ()
    for part in parts:
        if part:
            joined = line(joined, between if joined else BLANK, part)
    return joined

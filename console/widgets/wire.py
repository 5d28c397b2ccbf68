"""What a paint sends to the terminal, in as few bytes as it takes: a console over ssh must not fill the line.

Textual begins a partial paint at the left end of a widget, and sends every style whole and then resets it. Here a paint
begins at the first cell that changed, and of a style only what differs from the one before is sent.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rich.color import Color, ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

_SGR = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "51", "52", "53")  # by the bits of rich's attributes
_SEEN_ON_BLANKS = sum(1 << bit for bit, code in enumerate(_SGR) if code in {"4", "7", "9", "21", "51", "52", "53"})


class _Look(NamedTuple):
    """How a cell looks, in parts that are sent on their own. Colours are codes, empty for the terminal's own."""

    attributes: int = 0
    ink: str = ""
    paper: str = ""


_PLAIN = _Look()


class LeanUpdate(CompositorUpdate):
    def __init__(self, update: ChopsUpdate | LayoutUpdate) -> None:
        self._update = update

    def render_segments(self, console: Console) -> str:
        """Return what is to be written. The terminal is in its plain state before and after."""
        pieces = _chops(self._update) if isinstance(self._update, ChopsUpdate) else _rows(self._update)
        system = console._color_system or ColorSystem.TRUECOLOR
        now, sent = _PLAIN, []
        at = None
        for x, y, strip in pieces:
            if (x, y) != at:
                sent.append(f"\x1b[{y + 1};{x + 1}H")
            now = _write(strip, now, system, sent)
            at = x + strip.cell_length, y
        if now != _PLAIN:
            sent.append("\x1b[0m")
        return "".join(sent)


def _chops(update: ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    """Yield each piece of a partial paint with its place, cut at both ends to the cells that changed."""
    for y, first, end in update.spans:
        for stop, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            low, high = max(x, first), min(stop, end)
            if strip is not None and low < high:
                yield low, y, strip.crop(low - x, high - x)


def _rows(update: LayoutUpdate) -> Iterator[tuple[int, int, Strip]]:
    for y, strips in enumerate(update.strips, update.region.y):
        x = update.region.x
        for strip in strips:
            yield x, y, strip
            x += strip.cell_length


def _write(segments: Iterable[Segment], now: _Look, system: ColorSystem, sent: list[str]) -> _Look:
    """Append the segments, each after the codes that lead to its look; return the look of the last."""
    for text, style, control in segments:
        if control or not text:
            continue
        wanted = _look(style, system) if style is not None else _PLAIN
        if not text.strip(" ") and not (wanted.attributes | now.attributes) & _SEEN_ON_BLANKS:
            # Ink and weight are not seen on blanks.
            wanted = _Look(now.attributes, now.ink, wanted.paper)
        sent.append(_codes(now, wanted))
        sent.append(text)
        now = wanted
    return now


@functools.lru_cache(maxsize=4096)
def _codes(now: _Look, wanted: _Look) -> str:
    if now == wanted:
        return ""
    codes = []
    if now.attributes & ~wanted.attributes or (now.ink and not wanted.ink) or (now.paper and not wanted.paper):
        codes.append("0")
        now = _PLAIN
    added = wanted.attributes & ~now.attributes
    codes.extend(code for bit, code in enumerate(_SGR) if added >> bit & 1)
    if wanted.ink != now.ink:
        codes.append(wanted.ink)
    if wanted.paper != now.paper:
        codes.append(wanted.paper)
    return f"\x1b[{';'.join(codes)}m"


@functools.lru_cache(maxsize=4096)
def _look(style: Style, system: ColorSystem) -> _Look:
    return _Look(
        style._attributes & style._set_attributes,
        _colour(style.color, system, True),
        _colour(style.bgcolor, system, False),
    )


def _colour(color: Color | None, system: ColorSystem, foreground: bool) -> str:
    return ";".join(color.downgrade(system).get_ansi_codes(foreground)) if color is not None else ""

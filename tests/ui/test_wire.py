"""What is sent leanly looks on a terminal exactly as what Textual would send, and is a fraction of it."""

import random
import re
import sys

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from console.widgets.line import Role, Span, line
from console.widgets.pane import _differences
from console.widgets.wire import LeanUpdate

WIDTH, HEIGHT = 40, 6
_TOKEN = re.compile(r"\x1b\[(?P<at>\d+;\d+)H|\x1b\[(?P<sgr>[\d;]*)m|(?P<line>\n)|(?P<text>[^\x1b\n]+)")
_UNSEEN_ON_BLANKS = {"1", "2", "3", "5", "6"}

Cell = tuple[str, frozenset[str], str, str]


class Screen:
    """A terminal of a few rows, as far as paints need one."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], Cell] = {}
        self.attributes: set[str] = set()
        self.ink = self.paper = ""

    def feed(self, sent: str) -> None:
        """Take what is sent; everything must be known."""
        x = y = end = 0
        for token in _TOKEN.finditer(sent):
            assert token.start() == end, sent[end : token.start()]
            end = token.end()
            if token["at"]:
                y, x = (int(part) - 1 for part in token["at"].split(";"))
            elif token["sgr"] is not None:
                self._style(token["sgr"].split(";"))
            elif token["line"]:
                x, y = 0, y + 1
            else:
                for character in token["text"]:
                    blank = character == " "
                    kept = self.attributes - (_UNSEEN_ON_BLANKS if blank else set())
                    seen = not blank or bool(kept)
                    self.cells[x, y] = (character, frozenset(kept), self.ink if seen else "", self.paper)
                    x += cell_len(character)
        assert end == len(sent)
        assert (self.attributes, self.ink, self.paper) == (set(), "", ""), "the terminal is not left plain"

    def _style(self, codes: list[str]) -> None:
        rest = list(codes)
        while rest:
            code = rest.pop(0)
            if code in {"", "0"}:
                self.attributes, self.ink, self.paper = set(), "", ""
            elif code in {"38", "48"}:
                count = 2 if rest[0] == "5" else 4
                said, rest = ";".join([code, *rest[:count]]), rest[count:]
                if code == "38":
                    self.ink = said
                else:
                    self.paper = said
            elif 30 <= int(code) <= 39 or 90 <= int(code) <= 97:
                self.ink = code
            elif 40 <= int(code) <= 49 or 100 <= int(code) <= 107:
                self.paper = code
            else:
                self.attributes.add(code)


def random_strip(chance: random.Random, width: int) -> Strip:
    inks = [None, "red", "bright_yellow", "#6cb6ff", "default"]
    segments: list[Segment] = []
    left = width
    while left:
        text = chance.choice(["   ", "ab", "x", "─│", "▁▇", " a ", "0000"])[:left]
        style = Style(
            color=chance.choice(inks), bgcolor=chance.choice([None, "#0f141b", "blue"]),
            bold=chance.choice([True, None]), dim=chance.choice([True, None]),
            underline=chance.choice([True, None, None]), reverse=chance.choice([True, None, None]),
        )  # fmt: skip
        segments.append(Segment(text, style))
        left -= len(text)
    return Strip(segments, width)


def consoles() -> list[Console]:
    return [Console(color_system=name, force_terminal=True) for name in ("truecolor", "256", "standard")]


def test_a_whole_paint_looks_alike_and_is_shorter() -> None:
    seed = random.randrange(1 << 30)
    sys.stderr.write(f"seed {seed}\n")
    chance = random.Random(seed)
    for console in consoles():
        assert console._color_system in set(ColorSystem)
        for _ in range(30):
            strips = [[random_strip(chance, 15), random_strip(chance, WIDTH - 15)] for _ in range(HEIGHT)]
            update = LayoutUpdate([list(row) for row in strips], Region(0, 0, WIDTH, HEIGHT))
            usual, lean = Screen(), Screen()
            theirs, ours = update.render_segments(console), LeanUpdate(update).render_segments(console)
            usual.feed(theirs)
            lean.feed(ours)
            assert lean.cells == usual.cells
            assert len(ours) < len(theirs)


def test_a_partial_paint_changes_the_cells_that_changed_and_no_other() -> None:
    seed = random.randrange(1 << 30)
    sys.stderr.write(f"seed {seed}\n")
    chance = random.Random(seed)
    console = consoles()[1]
    for _ in range(200):
        cut = chance.randint(1, WIDTH - 1)
        rows = [{0: random_strip(chance, cut), cut: random_strip(chance, WIDTH - cut)} for _ in range(HEIGHT)]
        spans = []
        for y in sorted(chance.sample(range(HEIGHT), 3)):
            first = chance.randrange(WIDTH)
            spans.append((y, first, chance.randint(first + 1, WIDTH)))
        whole, lean = Screen(), Screen()
        everything = LayoutUpdate([list(row.values()) for row in rows], Region(0, 0, WIDTH, HEIGHT))
        whole.feed(everything.render_segments(console))
        lean.feed(LeanUpdate(ChopsUpdate(rows, spans, [[cut, WIDTH]] * HEIGHT)).render_segments(console))
        wanted = {(x, y) for y, first, end in spans for x in range(first, end)}
        assert set(lean.cells) == wanted
        assert all(lean.cells[place] == whole.cells[place] for place in wanted)


def test_without_colours_no_colour_is_sent() -> None:
    style = Style(bold=True)
    update = LayoutUpdate([[Strip([Segment("plain "), Segment("bold", style), Segment(" end")])]], Region(0, 0, 14, 1))
    assert LeanUpdate(update).render_segments(consoles()[0]) == "\x1b[1;1Hplain \x1b[1mbold\x1b[0m end"


def test_only_cells_that_differ_are_drawn_again() -> None:
    before = line("count ", Span("1,234", Role.STRONG), "   a long stretch that stays   ", Span("12:00:01", Role.DIM))
    after = line("count ", Span("1,239", Role.STRONG), "   a long stretch that stays   ", Span("12:00:02", Role.DIM))
    assert _differences(before, after, 3, 80) == [Region(10, 3, 1, 1), Region(49, 3, 1, 1)]
    assert _differences(line("名前 1"), line("名前 2"), 0, 80) == [Region(0, 0, 80, 1)]
    assert _differences(line("abc"), line("abc", Span(" d")), 0, 80) == [Region(3, 0, 2, 1)]

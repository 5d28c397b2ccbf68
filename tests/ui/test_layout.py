"""Placing: every pane has its cells, no two share one, numbers keep their column, rules join."""

import random
import re
import sys
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from rich.cells import cell_len
from textual.binding import Binding
from textual.screen import Screen

from console.app import ConsoleApp
from console.paths import styles_dir
from console.widgets import figures, glyphs
from console.widgets.frames import Box, frames
from console.widgets.hex_rows import HexRows
from console.widgets.line import Role, Span, cells, crop, left, line, plain, right, spread, wrap
from console.widgets.pane import Room
from console.widgets.theme import Colors, choose, make_theme
from screens.arm import Arm
from screens.browser import Browser
from screens.dashboard import Dashboard
from screens.dashboard_boxes import PANES, dashboard_boxes
from screens.execution import Execution
from screens.frame import key_label
from screens.help import Help
from screens.journal import JournalScreen
from screens.palette import Palette
from screens.panes import backlog, tables
from screens.panes.reading import Source
from screens.plan import PlanScreen
from screens.too_small import MIN_HEIGHT, MIN_WIDTH
from screens.why_not import WhyNot
from tests.ui import samples
from tests.ui.conftest import MakeApp
from tests.ui.showing import settled, shown

SCREENS: tuple[type[Screen[Any]], ...] = (
    Dashboard, Palette, PlanScreen, Execution, Arm, Browser, JournalScreen, Help, WhyNot,
)  # fmt: skip


@pytest.mark.parametrize("wanted", [0, 1, 3, 9, 40])
def test_the_panes_fill_every_size_and_never_overlap(wanted: int) -> None:
    for width, height in product(range(MIN_WIDTH, 260, 7), range(MIN_HEIGHT - 3, 90, 3)):
        boxes = dashboard_boxes(width, height, lambda name, cells: wanted)
        names = {box.name for box in boxes}
        if width >= 80 and height >= 17:  # the panes of 80x20
            assert names == set(PANES)
        assert {"tables", "services", "flow"} <= names <= set(PANES)
        assert len(names) == len(boxes)
        taken = [[0] * width for _ in range(height)]
        for box in boxes:
            assert box.height >= 1
            for y, x in product(range(box.y, box.y + box.height), range(box.x, box.x + box.width)):
                taken[y][x] += 1
        assert all(count == 1 for row in taken for count in row), (width, height, boxes)


def test_at_the_minimum_every_pane_shows_its_text() -> None:
    usual = {"tables": 6, "crashes": 6, "services": 5, "backlog": 2, "flow": 3, "journal": 1}
    boxes = {box.name: box for box in dashboard_boxes(80, 21, lambda name, cells: usual[name])}
    for name in ("tables", "backlog", "flow", "journal"):
        assert boxes[name].inner_height >= usual[name], name
    assert boxes["services"].inner_height >= 4
    boxes = {box.name: box for box in dashboard_boxes(80, 17, lambda name, cells: usual[name])}
    least = {"tables": 4, "crashes": 3, "services": 3, "backlog": 2, "flow": 2, "journal": 1}
    assert {name: box.inner_height for name, box in boxes.items()} == least


def test_rules_and_edges_are_joined() -> None:
    boxes = [
        Box("top", 0, 0, 20, 3),
        Box("left", 0, 3, 10, 3),
        Box("right", 10, 3, 10, 3, edge=True),
        Box("low", 0, 6, 20, 2),
    ]
    made = {frame.box.name: frame for frame in frames(boxes)}
    assert made["right"].in_rule == {0: "┬"}
    assert made["low"].in_rule == {10: "┴"}
    assert made["top"].in_rule == {}


@pytest.mark.parametrize("text", ["", "a", "名前の表", "x" * 300, "two words", "é́", "[/b]"])
def test_lines_have_exactly_the_width_that_was_asked(text: str) -> None:
    for width in range(40):
        assert cells(left(line(text), width)) == width
        assert cells(right(line(text), width)) == width
        assert cells(spread(line(text), line("end"), width)) <= width
        assert cells(crop(line(text, Span(text, Role.BAD)), width)) <= width


def test_wrapping_loses_no_word_and_keeps_the_width() -> None:
    seed = random.randrange(1 << 30)
    sys.stderr.write(f"seed {seed}\n")
    chance = random.Random(seed)
    for _ in range(300):
        words = ["x" * chance.randint(1, 20) for _ in range(chance.randint(0, 12))]
        width = chance.randint(1, 30)
        rows = wrap(" ".join(words), width)
        assert all(cells(row) <= width for row in rows)
        assert "".join(plain(row) for row in rows).replace(" ", "") == "".join(words)


@pytest.mark.parametrize(("size", "base", "record"), [(0, 76, 28), (76, 76, 28), (4096, 76, 28), (1 << 33, 0, 60)])
@pytest.mark.parametrize("room", [12, 42, 60, 90, 200])
def test_every_byte_has_one_row(size: int, base: int, record: int, room: int) -> None:
    rows = HexRows.fitting(size, room, base, record)
    assert rows.per_row * 3 <= room
    assert record % rows.per_row == 0
    end = 0
    for row in sorted({*range(min(rows.count, 300)), *range(max(0, rows.count - 3), rows.count)}):
        offset, count = rows.bytes_of(row)
        assert count > 0
        if row < 300:
            assert offset == end
        assert rows.row_of(offset) == row == rows.row_of(offset + count - 1)
        end = offset + count
    assert end == size


def test_plain_glyphs_are_ascii_and_take_the_same_cells() -> None:
    for glyph, twin in glyphs.PLAIN.items():
        assert str(twin).isascii()
        assert cell_len(chr(glyph)) == cell_len(str(twin)) == 1


def test_sparks_show_growth_and_no_noise() -> None:
    assert glyphs.spark([1, 2, 3, 8], 9) == "▁▂▃█"
    assert len(set(glyphs.spark([1000, 1001, 1000, 999], 9))) == 1
    assert glyphs.spark([], 9) == ""
    assert glyphs.spark([0, 0], 9) == "▁▁"


@pytest.mark.parametrize(
    ("seconds", "said"), [(3, "3s"), (59.9, "59s"), (240, "4m"), (21_480, "5h58m"), (90_000, "1d01h"), (None, "?")]
)
def test_durations_are_short_and_seldom_change(seconds: float | None, said: str) -> None:
    assert figures.duration(seconds) == said


@pytest.mark.parametrize(
    ("asked", "environment", "colors"),
    [
        ("auto", {}, Colors.FULL),
        ("auto", {"NO_COLOR": ""}, Colors.FULL),
        ("auto", {"NO_COLOR": "1"}, Colors.NONE),
        ("auto", {"TERM": "linux"}, Colors.SIXTEEN),
        ("16", {"NO_COLOR": ""}, Colors.SIXTEEN),
        ("light", {"TERM": "linux"}, Colors.LIGHT),
        ("none", {}, Colors.NONE),
    ],
)
def test_colors_by_flag_and_environment(asked: str, environment: dict[str, str], colors: Colors) -> None:
    assert choose(asked, environment) is colors


@pytest.mark.parametrize("screen", SCREENS)
def test_no_key_that_tmux_or_a_terminal_swallows(screen: type[Screen[Any]]) -> None:
    forbidden = {f"ctrl+{key}" for key in ("m", "i", "h", "left_square_bracket", "b", "a", "s", "q")}
    for cls in (screen, ConsoleApp):
        for binding in cls._merged_bindings.key_to_bindings if cls._merged_bindings else ():
            assert binding not in forbidden


def test_every_key_says_what_it_is_for() -> None:
    for screen in SCREENS:
        for binding in screen.BINDINGS:
            assert isinstance(binding, Binding)
            assert binding.tooltip, (screen, binding.key)
            assert binding.id, (screen, binding.key)


@pytest.mark.parametrize("width", [80, 120])
async def test_the_bar_has_at_most_six_keys_help_and_the_way_out_first(console: MakeApp, width: int) -> None:
    app = console()
    async with app.run_test(size=(width, 40)) as pilot:
        app.take(*samples.incident())
        for key, way_out in (("", "Quit"), ("a", "Back"), ("b", "Back"), ("w", "Back"), ("o", "Back")):
            if key:
                await pilot.press(key)
            await settled(pilot)
            bar = shown(app).splitlines()[-1]
            assert bar.startswith(" ? Help  ")
            assert way_out in bar[:20]
            assert cell_len(bar) <= width
            if key:
                await pilot.press("escape")
                await settled(pilot)


@pytest.mark.parametrize("colors", [Colors.FULL, Colors.LIGHT])
def test_every_text_can_be_read_on_its_background(colors: Colors) -> None:
    """WCAG: 7:1 for text, 4.5:1 for what is dimmed or stands on a bar or a mark."""
    theme = make_theme(colors, styles_dir()).variables
    for name, background, least in (
        ("foreground", "background", 7.0), ("strong", "background", 7.0), ("accent", "background", 5.5),
        ("ok", "background", 5.5), ("warn", "background", 5.5), ("bad", "background", 5.0),
        ("muted", "background", 4.5), ("cursor", "cursor-background", 4.5), ("strong", "field-background", 4.5),
        ("mark", "mark-background", 4.5), ("diff", "diff-background", 4.5), ("bar-text", "ok-bar", 4.5),
        ("bar-text", "warn-bar", 4.5), ("bar-text", "bad-bar", 4.5),
    ):  # fmt: skip
        ratio = _contrast(theme[name], theme[background])
        assert ratio >= least, (name, background, ratio)
    meanings = [theme[name] for name in ("ok", "accent", "warn", "bad", "cursor-background")]
    assert len(set(meanings)) == len(meanings)  # one meaning each


def _contrast(one: str, other: str) -> float:
    def luminance(color: str) -> float:
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_key_labels() -> None:
    assert [key_label(key) for key in ("question_mark", "f2", "pagedown", "a")] == ["?", "F2", "PgDn", "a"]


@pytest.mark.parametrize("name", ["\x1b[31mred\x1b[0m", "a\x1b]0;title\x07b", "x\u202ey", "c\rd", "e\x9b2Jf", "g\nh"])
async def test_what_could_move_the_cursor_is_never_drawn(console: MakeApp, name: str) -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        report = replace(samples.INCIDENT, tables=(replace(samples.ORDERBOOK, table=name),))
        app.take(samples.sample("tables", report))
        await settled(pilot)
        rows = [strip.text for strip in app.screen._compositor.render_strips()]
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for row in rows for c in row)
        assert all(cell_len(row) == 80 for row in rows)


@pytest.mark.parametrize("width", range(56, 170, 2))
def test_a_figure_is_never_cut(width: int) -> None:
    """Names give way: what waits, what is lost when, and how many rows wait stand there whole at every width."""
    room = Room(width, 200, True)
    nearing, other = samples.BACKLOG.streams
    nearing = replace(nearing, lag=428_733, rate_in=204.5, rate_out=0.0, seconds_to_loss=346.0)
    losing = replace(other, lag=500_048, losing=True, lost=199_084)
    queue = backlog.build(Source(replace(samples.BACKLOG, streams=(nearing, losing)), 1.0, now=samples.NOW), room)
    drawn = "\n".join(plain(row) for row in queue.lines)
    for words in (
        f"{figures.count(nearing.waiting)} waiting",
        f"{figures.count(losing.waiting)} waiting",
        "trims in 5m",
        "LOSING NOW",
        "+204/s",
    ):
        assert words in drawn
    found = tables.build(tables.TablesView(Source(samples.INCIDENT, 1.0, now=samples.NOW)), room)
    drawn = " ".join("\n".join(plain(row) for row in found.lines).split())
    table = samples.ORDERBOOK
    applied, logged, rows, unapplied = (
        re.escape(figures.count(number))
        for number in (table.applied_txn, table.logged_txn, table.rows_applied, table.rows_unapplied)
    )
    wanted = rf"applied {applied} (· )?logged {logged} (· )?rows {rows} (· )?unapplied {unapplied}"
    assert re.search(wanted, drawn), drawn


async def test_a_sample_that_comes_before_a_screen_is_laid_out_waits_for_it(console: MakeApp) -> None:
    """On a busy machine a screen is on top a moment before it has widgets to draw on."""
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        screen = JournalScreen()
        laid_out = app.push_screen(screen)
        assert app.screen is screen
        assert not screen.stands
        app.take(*samples.incident())
        await laid_out
        await settled(pilot)
        assert screen.stands

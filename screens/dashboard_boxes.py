"""Where the dashboard's panes stand: one stack at 80 columns, two columns where there is room. Pure geometry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.widgets.frames import Box

TWO_COLUMNS = 150  # cells from which on the panes stand in two columns
SIDE_BY_SIDE, ALL_PANES = 80, 17  # cells and lines below which only the panes that say most are shown
_LEFT_OUT = ("journal", "backlog", "crashes")  # in this order, until the others fit
_FIRST = ("tables", "services", "flow", "crashes", "backlog")  # who gets the lines to spare, in this order
OPEN_HEIGHT = 30  # lines from which on the panes open their details
PANES = ("tables", "crashes", "services", "backlog", "flow", "journal")

Need = Callable[[str, int], int]  # pane, cells of text -> lines of text it would like


@dataclass(frozen=True, slots=True)
class _Row:
    """Boxes side by side. `least` lines of text they must have, `wanted` what they would like."""

    panes: tuple[tuple[str, int, int], ...]  # name, x, width
    least: int
    wanted: int


def dashboard_boxes(width: int, height: int, need: Need) -> list[Box]:
    if width >= TWO_COLUMNS:
        split = width * 3 // 5
        first = [
            _row(need, (("tables", 0, split),), least=4, most=999),
            _row(need, (("flow", 0, split),), least=2, most=6),
            _row(need, (("journal", 0, split),), least=2, most=999),
        ]
        second = [
            _row(need, (("services", split, width - split),), least=4, most=12),
            _row(need, (("crashes", split, width - split),), least=3, most=999),
            _row(need, (("backlog", split, width - split),), least=2, most=12),
        ]
        # What is left over goes where more can come: the journal at the left, the charts of the backlog at the right.
        return [*_stack(first, height, (1, 0), grow=2), *_stack(second, height, (0, 2, 1), grow=2, edge_from=split)]
    if width < SIDE_BY_SIDE or height < ALL_PANES:
        return _what_fits(need, width, height)
    split = width * 3 // 8
    tall = height >= OPEN_HEIGHT
    rows = [
        _row(need, (("tables", 0, width),), least=8 if tall else 4, most=999 if tall else max(6, height // 2)),
        _row(need, (("crashes", 0, split), ("services", split, width - split)), least=7 if tall else 3, most=14),
        _row(need, (("backlog", 0, width),), least=4 if tall else 2, most=9),
        _row(need, (("flow", 0, width),), least=3 if tall else 2, most=4),
        _row(need, (("journal", 0, width),), least=3 if tall else 1, most=999),
    ]
    return _stack(rows, height, (0, 3, 1, 2), grow=4)


def _what_fits(need: Need, width: int, height: int) -> list[Box]:
    """Return the panes one below the other, those that say most first: the others have the whole screen by a digit."""
    least = {"tables": 3, "crashes": 1, "services": 2, "backlog": 1, "flow": 2, "journal": 1}
    shown = list(PANES)
    for name in _LEFT_OUT:
        if sum(least[each] + 1 for each in shown) > height:
            shown.remove(name)
    rows = [_row(need, ((name, 0, width),), least=least[name], most=999) for name in shown]
    return _stack(rows, height, [shown.index(name) for name in _FIRST if name in shown], grow=len(rows) - 1)


def whole(name: str, width: int, height: int) -> list[Box]:
    return [Box(name, 0, 0, width, height)]


def _row(need: Need, panes: tuple[tuple[str, int, int], ...], *, least: int, most: int) -> _Row:
    wants = [need(name, Box(name, x, 0, width, 1, edge=x > 0).inner_width) for name, x, width in panes]
    wanted = min(most, max(wants))
    return _Row(panes, min(least, wanted), wanted)


def _stack(
    rows: Sequence[_Row], height: int, first: Sequence[int], *, grow: int, edge_from: int | None = None
) -> list[Box]:
    """Return the boxes of `rows` from top to bottom.

    Lines to spare go to the rows `first` in this order, as many as each wants, and the rest to the row `grow`.
    """
    texts = [row.least for row in rows]
    spare = height - sum(texts) - len(rows)
    for number in first:
        more = max(0, min(rows[number].wanted - texts[number], spare))
        texts[number] += more
        spare -= more
    texts[grow] += max(0, spare)
    boxes = []
    y = 0
    for row, text in zip(rows, texts, strict=True):
        tall = max(0, min(text + 1, height - y))
        for name, x, width in row.panes:
            edge = x > 0 if edge_from is None else x >= edge_from
            boxes.append(Box(name, x, y, width, tall, edge=edge))
        y += tall
    return boxes

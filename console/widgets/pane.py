"""Widgets that draw lines of spans: a bar of one line, and a pane under a rule. Only what changed is drawn again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat, zip_longest
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import Layout, WidgetPlacement
from textual.strip import Strip
from textual.widget import Widget

from console.widgets import glyphs
from console.widgets.frames import Box, Frame, frames
from console.widgets.line import (
    BLANK,
    UNBOUNDED,
    Line,
    Role,
    Span,
    bounded,
    cells,
    crop,
    fold,
    left,
    line,
    plain,
    recast,
)

ROLE_CLASSES = frozenset(f"line--{role.value}" for role in Role)
"""The component classes that a screen with line widgets has: once a screen, since each costs at every start."""


class LineWidget(Widget):
    """A widget whose rows are lines of spans; the base of all that the console draws itself."""

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.rows: list[Line] = []
        self._role_styles: dict[Role, Style] = {}

    def role_style(self, role: Role) -> Style:
        style = self._role_styles.get(role)
        if style is None:
            # Reckoned from the styles of all parents: kept, since it is most of the cost of a paint.
            style = self.rich_style + self.screen.get_component_rich_style(f"line--{role.value}", partial=True)
            self._role_styles[role] = style
        return style

    def notify_style_update(self) -> None:
        """Forget the styles of roles: a theme or a class has changed."""
        self._role_styles.clear()
        super().notify_style_update()

    def strip(self, content: Line, width: int) -> Strip:
        """Return `content` as exactly `width` cells; blanks are styled too, else they would lose the background."""
        drawn = glyphs.DRAWN_PLAIN if getattr(self.app, "plain_glyphs", False) else glyphs.DRAWN
        safe = tuple(Span(span.text.translate(drawn), span.role) for span in content)
        segments = [Segment(span.text, self.role_style(span.role)) for span in left(safe, width)]
        return Strip(segments, width)

    def render_line(self, y: int) -> Strip:
        return self.strip(self.rows[y] if y < len(self.rows) else BLANK, self.size.width)

    def put(self, rows: list[Line]) -> None:
        """Show `rows`; only the cells that differ from what is shown are drawn again."""
        old, self.rows = self.rows, rows
        for y in range(max(len(old), len(rows))):
            before = old[y] if y < len(old) else BLANK
            after = rows[y] if y < len(rows) else BLANK
            if before != after:
                self.refresh(*_differences(before, after, y, self.size.width))


_APART = 8  # equal cells that are worth an interruption of a paint


def _differences(before: Line, after: Line, y: int, width: int) -> list[Region]:
    """Return the cells of row `y` in which two lines differ; the whole row where a wide character is in it."""
    old, new = plain(before), plain(after)
    if len(old) != cells(before) or len(new) != cells(after):
        return [Region(0, y, width, 1)]
    cell_pairs = zip_longest(old, new, _roles(before), _roles(after))
    runs: list[tuple[int, int]] = []
    for x, (was, now, role, role_now) in enumerate(cell_pairs):
        if was == now and role is role_now:
            continue
        if runs and x - runs[-1][1] < _APART:
            runs[-1] = (runs[-1][0], x + 1)
        else:
            runs.append((x, x + 1))
    return [Region(first, y, end - first, 1) for first, end in runs]


def _roles(content: Line) -> Iterator[Role]:
    return chain.from_iterable(repeat(span.role, len(span.text)) for span in content)


class Bar(LineWidget):
    """One line across the screen: the header, the keys."""

    def show(self, content: Line) -> None:
        self.put([content])


@dataclass(frozen=True, slots=True)
class Room:
    """The space for a pane's text, whether there is enough of it to open the details, whether all of it is this pane's.

    A pane that has the whole screen can be scrolled: it gives all it has.
    """

    width: int
    height: int
    open: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """What a pane shows. `note` (or `brief`) stands at the right end of the rule, `alert` last; `faded` dims all."""

    title: str
    lines: tuple[Line, ...] = ()
    note: Line = BLANK
    alert: Line = BLANK
    faded: bool = False
    more: str = "more"
    brief: Line = BLANK  # in place of a note that has no room: half a number would be another number


def _alert(content: Content, width: int) -> list[Line]:
    return fold(content.alert, width) if content.alert else []


Builder = Callable[[Any, Room], Content]


class Pane(LineWidget):
    """A titled rule, text below it, and an edge at its left where a neighbour is. `builder` makes the text."""

    def __init__(self, builder: Builder, *, id: str) -> None:
        super().__init__(id=id)
        self._builder = builder
        self._view: Any = None
        self._frame = Frame(Box(id, 0, 0, 0, 0))
        self._open = False
        self._whole = False
        self._active = False
        self.scroll_line = 0

    def wanted(self, width: int, *, open: bool) -> int:
        """Return how many lines of text the pane would like at `width` cells of text."""
        if self._view is None:
            return 1
        content = self._builder(self._view, Room(width, UNBOUNDED, open))
        return len(content.lines) + len(_alert(content, width))

    def place(self, frame: Frame, *, open: bool, whole: bool) -> None:
        """Take a place on the screen, `whole` where no other pane has one, and draw the text for it."""
        if (frame, open, whole) != (self._frame, self._open, self._whole):
            self._frame, self._open, self._whole = frame, open, whole
            self._draw()

    def show(self, view: Any) -> None:
        self._view = view
        self._draw()

    def highlight(self, active: bool) -> None:
        if active != self._active:
            self._active = active
            self._draw()

    def move_text(self, lines: int) -> bool:
        """Move the text by `lines`, as far as there is any; return whether it moved."""
        total = self.wanted(self._frame.box.inner_width, open=self._open)
        last = max(0, total - self._frame.box.inner_height)
        before, self.scroll_line = self.scroll_line, min(max(0, self.scroll_line + lines), last)
        self._draw()
        return self.scroll_line != before

    def _draw(self) -> None:
        box = self._frame.box
        if self._view is None or box.width <= 0:
            return
        height = box.inner_height
        room = Room(max(1, box.inner_width), max(1, height) + self.scroll_line, self._open, self._whole)
        content = self._builder(self._view, room)
        text = list(content.lines)[self.scroll_line :]
        alert = _alert(content, box.inner_width)
        if len(text) + len(alert) > height and len(alert) > 1:
            alert = [crop(content.alert, box.inner_width)]
        if content.faded:
            text = [recast(row, Role.DIM) for row in text]
        if alert:
            # What was last known stays in sight as far as it can: no line is spent on saying that there is more.
            text = [*text[: max(0, height - len(alert))], *alert]
        text = bounded(text, height, content.more, box.inner_width)
        rows = [self._rule(content)] if box.rule else []
        for y in range(box.rule, box.height):
            row = text[y - box.rule] if y - box.rule < len(text) else BLANK
            edge = line(Span(self._frame.in_edge.get(y, "│"), Role.RULE)) if box.edge else BLANK
            rows.append(line(edge, " ", left(row, box.inner_width), " "))
        self.put(rows)

    def _rule(self, content: Content) -> Line:
        width = self._frame.box.width
        start = "──" if not self._frame.box.edge else "─"
        title = (
            line(Span(start, Role.RULE), Span(f" {content.title} ", Role.KEY if self._active else Role.TITLE))
            if content.title
            else BLANK
        )
        title = crop(title, max(0, width - 2))
        room = max(0, width - cells(title) - 6)
        note = content.brief if content.brief and cells(content.note) > room else content.note
        note = crop(note, room)
        note = line(" ", note, " ", Span("──", Role.RULE)) if note else BLANK
        gap = width - cells(title) - cells(note)
        characters = ["─"] * width
        for x, joint in self._frame.in_rule.items():
            characters[x] = joint
        offset = 1 if self._frame.box.edge else 0
        first = line(Span(characters[0], Role.RULE)) if offset else BLANK
        middle = "".join(characters[cells(title) + offset : cells(title) + gap])
        return line(first, title, Span(middle, Role.RULE), note)


class FramedLayout(Layout):
    """Places panes where `arrange_boxes` says, and tells each pane how its rule and edge are joined."""

    name = "framed"

    def __init__(self, arrange_boxes: Callable[[Size], list[Box]], is_open: Callable[[Size], bool]) -> None:
        self._boxes = arrange_boxes
        self._is_open = is_open

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> list[WidgetPlacement]:
        """Return the placements; a child without a box is not shown."""
        placed = {frame.box.name: frame for frame in frames(self._boxes(size))}
        placements = []
        for child in children:
            frame = placed.get(child.id or "")
            if frame is None or frame.box.width <= 0 or frame.box.height <= 0:  # a terminal of a few cells
                continue
            if isinstance(child, Pane):
                child.place(frame, open=self._is_open(size), whole=len(placed) == 1)
            box = frame.box
            region = Region(box.x, box.y, box.width, box.height)
            placements.append(WidgetPlacement(region, NULL_OFFSET, NULL_SPACING, child))
        return placements


class Framed(Widget):
    """Holds panes; `arrange` gives their boxes for a size, `is_open` whether there is room for details."""

    def __init__(
        self, *panes: Widget, arrange: Callable[[Size], list[Box]], is_open: Callable[[Size], bool], id: str
    ) -> None:
        super().__init__(*panes, id=id)
        self._framed = FramedLayout(arrange, is_open)

    @property
    def layout(self) -> Layout:
        """Return the layout by boxes: styles can only name Textual's own layouts."""
        return self._framed

    def rearrange(self) -> None:
        """Ask for the boxes anew. Textual forgets the arrangement of a widget's parents, hence the child."""
        for pane in list(self.children)[:1]:
            pane.refresh(layout=True)

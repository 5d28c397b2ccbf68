"""The dashboard: one verdict per table, whether it still bleeds, and all sources with their age."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.widgets.frames import Box
from console.widgets.line import Role, Span, line
from console.widgets.pane import Builder, Content, Framed, Pane, Room
from screens.dashboard_boxes import OPEN_HEIGHT, PANES, dashboard_boxes, whole
from screens.frame import FramedScreen
from screens.keys import scrolling_keys

if TYPE_CHECKING:
    from screens.dashboard_shown import Shown

_USUAL = {"tables": 4, "crashes": 5, "services": 5, "backlog": 2}


def _builder(name: str) -> Builder:
    """Return what draws a pane: nothing but its name before the first sample."""

    def build(view: Any, room: Room) -> Content:
        if view is _UNREAD:
            return Content(name, note=line(Span("reading…", Role.DIM)))
        from screens.dashboard_shown import BUILDERS

        return BUILDERS[name](view, room)

    return build


_UNREAD = object()


class Dashboard(FramedScreen):
    """All panes of the station; a digit gives one of them the whole screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "narrow", "Back", id="all-panes", show=False, tooltip="show all panes again"),
        Binding("q", "app.quit", "Quit", id="quit", tooltip="leave the console; a running action continues"),
        Binding("a", "app.actions", "Actions", id="actions", tooltip="actions: what is possible now, and why not"),
        Binding("b", "app.browser", "Browser", id="browser", tooltip="the files of txn_seq and the WAL, byte by byte"),
        Binding("j", "app.journal", "Journal", id="journal", tooltip="actions taken, by whom, and how they ended"),
        Binding("t", "app.timeline", "Timeline", id="timeline", show=False, tooltip="timeline of the incident"),
        Binding("s", "app.bundle", "Support", id="bundle", show=False, tooltip="support bundle"),
        Binding("S", "app.stations", "Stations", id="stations", show=False, tooltip="go to another station"),
        Binding("o", "app.operate", "Operate", id="operate", tooltip="arm operate mode, or disarm it"),
        Binding("l", "log", "Log", id="log", show=False, tooltip="service log (failing one first)"),
        Binding("enter", "log", "Open", id="open", show=False, tooltip="the log of the service under the cursor (3)"),
        Binding(
            "w", "app.why_not", "Why not", id="why-not", show=False, tooltip="steps that would destroy data, and why"
        ),
        Binding(
            "space", "app.pause", "Pause", id="pause", show=False, tooltip="hold the screen; sources are still read"
        ),
        Binding("r", "app.refresh_now", "Read now", id="read-now", show=False, tooltip="read all sources again now"),
        Binding("y", "app.copy_screen", "Copy", id="copy", show=False, tooltip="copy the screen as text"),
        Binding(
            "e", "app.export", "Export", id="export", show=False, tooltip="save the screen and the samples as files"
        ),
        Binding("slash", "filter", "Filter", id="filter", show=False, tooltip="filter by name"),
        Binding("z", "sort", "Sort", id="sort", show=False, tooltip="sort the services (after 3), else the tables"),
        Binding("tab", "pane(1)", "Next pane", id="pane-next", show=False, tooltip="next pane"),
        Binding("shift+tab", "pane(-1)", "Previous pane", id="pane-before", show=False, tooltip="previous pane"),
        Binding("f", "whole", "Whole screen", id="whole", show=False, tooltip="this pane full screen"),
        *(
            Binding(str(number), f"whole('{name}')", name, id=f"pane-{name}", show=False, tooltip=f"{name} full screen")
            for number, name in enumerate(PANES, 1)
        ),
        *scrolling_keys("move down by a page", hint=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._panes = {name: Pane(_builder(name), id=name) for name in PANES}
        self._alone = ""
        self._boxes: list[Box] = []
        self._at = ""  # the pane that Tab went to
        self._drawn_now = False  # the panes were drawn within the last second

    @functools.cached_property
    def _showing(self) -> Shown:
        """What the panes show. Imported with the first sample, or the first key: it would delay the first paint."""
        from screens.dashboard_shown import Shown

        return Shown(self.console)

    def body(self) -> list[Widget]:
        return [Framed(*self._panes.values(), arrange=self._arrange, is_open=self._is_open, id="panes")]

    def clock(self) -> None:
        """Draw the panes every other second: at rest they are most of what the console costs."""
        if self._drawn_now:
            self._drawn_now = False
            self._draw_title()
        else:
            self.tick()

    def _draw_title(self) -> None:
        self.draw_header(self._showing.filter_title() if self.console.state.readings else "")

    def tick(self) -> None:
        self._drawn_now = True
        self._draw_title()
        read = bool(self.console.state.readings)
        if self.console.paused and not self.prompt.asks:
            return
        for name, view in (self._showing.views() if read else dict.fromkeys(PANES, _UNREAD)).items():
            self._panes[name].show(view)
        framed = self.query_one("#panes", Framed)
        shown = self._boxes
        if framed.size and self._arrange(framed.size) != shown:
            framed.rearrange()

    @property
    def _here(self) -> str:
        """The pane that the keys go to: the one that has the whole screen, else the one that Tab went to."""
        return self._alone or self._at

    def action_whole(self, name: str = "") -> None:
        """Give a pane the whole screen, or take it back; the one with the cursor where none is named."""
        wanted = name or self._here or PANES[0]
        self._alone = "" if self._alone == wanted else wanted
        self._go_to_pane(self._alone)

    def open_pane(self, name: str) -> None:
        self._alone = name
        self._go_to_pane(name)

    def action_pane(self, steps: int) -> None:
        """Go to the next pane, or to the one before; it keeps the whole screen if there was one that had it."""
        at = (PANES.index(self._here) + steps) % len(PANES) if self._here else (0 if steps > 0 else -1)
        self._alone = PANES[at] if self._alone else ""
        self._go_to_pane(PANES[at])

    def _go_to_pane(self, name: str) -> None:
        self._at = name
        self._showing.choose_worst(self._here == "services")
        for each, pane in self._panes.items():
            pane.highlight(each == name)
        self._relayout()
        self.tick()

    def action_narrow(self) -> None:
        """From the field to the panes, from one pane to all, from a pane to none, from a filter to everything."""
        if self.prompt.asks:
            self.prompt.leave()
            self._showing.text = ""
        elif self._alone or self._at:
            self._alone = ""
            self._go_to_pane("")
        else:
            self._showing.text = ""
        self.tick()

    def action_scroll(self, lines: int) -> None:
        """Move the cursor over the services, or the text of whatever other pane the keys go to."""
        if self._here == "services":
            self._showing.move(lines)
            self.tick()
        elif self._here:
            self._panes[self._here].move_text(lines)

    def action_filter(self) -> None:
        self.prompt.ask("filter by name:", self._filter, typed=self._filter, text=self._showing.text)

    def _filter(self, text: str) -> None:
        self._showing.text = text
        self.tick()

    def action_sort(self) -> None:
        """Go to the next order of the services where the keys are theirs, else of the tables."""
        self._showing.sort("services" if self._here == "services" else "tables")
        self.tick()

    def action_log(self) -> None:
        """Open the log of the service under the cursor, else of the one that needs the operator most."""
        self.console.action_unit_log(self._showing.service())

    def _relayout(self) -> None:
        for pane in self._panes.values():
            pane.scroll_line = 0
        self.query_one("#panes", Framed).rearrange()

    def _is_open(self, size: Size) -> bool:
        return size.height >= OPEN_HEIGHT or bool(self._alone)

    def _arrange(self, size: Size) -> list[Box]:
        if self._alone:
            self._boxes = whole(self._alone, size.width, size.height)
        else:
            self._boxes = dashboard_boxes(size.width, size.height, functools.partial(self._need, self._is_open(size)))
        return self._boxes

    def _need(self, is_open: bool, name: str, width: int) -> int:
        """Return the lines that a pane would like; what it usually has while nothing is known, so that little moves."""
        if name in _USUAL and self.console.state.reading(name).data is None:
            return _USUAL[name]
        return self._panes[name].wanted(width, open=is_open)

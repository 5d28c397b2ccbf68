"""The dashboard: one verdict per table, whether it still bleeds, and all sources with their age."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.probes.aftermath import aftermath
from console.probes.flow import flow as flow_of
from console.probes.headline import stopped_roles
from console.probes.sample import Status, UnitState
from console.probes.state import StationState
from console.settings import Role, Settings
from console.widgets.frames import Box
from console.widgets.pane import Builder, Framed, Pane
from screens.dashboard_boxes import OPEN_HEIGHT, PANES, dashboard_boxes, whole
from screens.dashboard_filter import filtered, hidden
from screens.dashboard_order import ORDERS, Order, ordered
from screens.frame import FramedScreen
from screens.keys import scrolling_keys
from screens.panes import backlog, crashes, flow, journal, services, tables
from screens.panes.reading import Source

_USUAL = {"tables": 4, "crashes": 5, "services": 5, "backlog": 2}
_BUILDERS: dict[str, Builder] = {
    "tables": tables.build,
    "crashes": crashes.build,
    "services": services.build,
    "backlog": backlog.build,
    "flow": flow.build,
    "journal": journal.build,
}


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
        self._panes = {name: Pane(builder, id=name) for name, builder in _BUILDERS.items()}
        self._alone = ""
        self._boxes: list[Box] = []
        self._service = ""
        self._at = ""  # the pane that Tab went to
        self._filtered = ""
        self._orders = dict.fromkeys(ORDERS, 0)

    def body(self) -> list[Widget]:
        """Return the panes."""
        return [Framed(*self._panes.values(), arrange=self._arrange, is_open=self._is_open, id="panes")]

    def tick(self) -> None:
        """Draw header, ages and whatever a new sample brought."""
        title = f"/{self._filtered}: {self._hidden()} hidden" if self._filtered else ""
        self.draw_header(title)
        if self.console.paused and not self.prompt.asks:
            return
        for name, view in self._views().items():
            self._panes[name].show(view)
        framed = self.query_one("#panes", Framed)
        shown = self._boxes
        if framed.size and self._arrange(framed.size) != shown:
            framed.rearrange()

    def _hidden(self) -> int:
        """Return how much the filter hides."""
        state = self.console.state
        readings = {name: state.reading(name).data for name in ("tables", "services", "backlog", "journal")}
        return sum(hidden(name, data, filtered(name, data, self._filtered)) for name, data in readings.items())

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
        """Give a pane the whole screen."""
        self._alone = name
        self._go_to_pane(name)

    def action_pane(self, steps: int) -> None:
        """Go to the next pane, or to the one before; it keeps the whole screen if there was one that had it."""
        at = (PANES.index(self._here) + steps) % len(PANES) if self._here else (0 if steps > 0 else -1)
        self._alone = PANES[at] if self._alone else ""
        self._go_to_pane(PANES[at])

    def _go_to_pane(self, name: str) -> None:
        self._at = name
        self._service = services.worst(self.console.state.services.data) if self._here == "services" else ""
        for each, pane in self._panes.items():
            pane.highlight(each == name)
        self._relayout()
        self.tick()

    def action_narrow(self) -> None:
        """From the field to the panes, from one pane to all, from a pane to none, from a filter to everything."""
        if self.prompt.asks:
            self.prompt.leave()
            self._filtered = ""
        elif self._alone or self._at:
            self._alone = ""
            self._go_to_pane("")
        else:
            self._filtered = ""
        self.tick()

    def action_scroll(self, lines: int) -> None:
        """Move the cursor over the services, or the text of whatever other pane the keys go to."""
        if self._here == "services":
            shown = ordered("services", self.console.state.services.data, self._order("services"))
            self._service = services.next_to(shown, self._service, lines)
            self.tick()
        elif self._here:
            self._panes[self._here].move_text(lines)

    def action_filter(self) -> None:
        """Ask for words that names must have."""
        self.prompt.ask("filter by name:", self._filter, typed=self._filter, text=self._filtered)

    def _filter(self, text: str) -> None:
        self._filtered = text
        self.tick()

    def action_sort(self) -> None:
        """Go to the next order of the services where the keys are theirs, else of the tables."""
        name = "services" if self._here == "services" else "tables"
        self._orders[name] = (self._orders[name] + 1) % len(ORDERS[name])
        self.tick()

    def _order(self, name: str) -> Order:
        return ORDERS[name][self._orders[name]] if name in ORDERS else Order("")

    def action_log(self) -> None:
        """Open the log of the service under the cursor, else of the one that needs the operator most."""
        self.console.action_unit_log(self._service or services.worst(self.console.state.services.data))

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

    def _views(self) -> Mapping[str, Any]:
        """Return what each pane is to show at this moment."""
        state, settings = self.console.state, self.console.settings
        now, monotonic = self.console.wall_clock(), self.console.monotonic()

        def source(name: str, asked: bool = True) -> Source[Any]:
            found: Source[Any] = Source.of(state.reading(name), now=now, monotonic=monotonic, asked=asked)
            return replace(found, data=ordered(name, filtered(name, found.data, self._filtered), self._order(name)))

        return {
            "tables": tables.TablesView(
                source("tables"),
                source("wal"),
                source("server", not settings.bare),
                down=state.server.status is Status.DOWN,
                order=self._order("tables").name,
            ),
            "crashes": crashes.CrashesView(source("crashes"), aftermath(state), stopped=_stopped(state)),
            "services": services.ServicesView(
                source("services", _has_services(settings)),
                self._service,
                self._order("services").name,
                stopped_roles(self.console.way),
            ),
            "backlog": source("backlog", bool(settings.redis.streams)),
            "flow": flow_of(state, settings, now) if state.readings else None,
            "journal": source("journal"),
        }


def _stopped(state: StationState) -> bool:
    """Return whether the database is down and nothing is about to start it."""
    units = state.services.data.units if state.services.data is not None else ()
    found = [unit for unit in units if unit.role == Role.DATABASE]
    return bool(found) and all(unit.state is UnitState.DOWN and not unit.loop for unit in found)


def _has_services(settings: Settings) -> bool:
    return settings.services.backend != "none"

"""What the panes of the dashboard show: the state, filtered and in an order. Imported with the first sample."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from console.probes.aftermath import aftermath
from console.probes.contents import UnitState
from console.probes.flow import flow as flow_of
from console.probes.headline import stopped_roles
from console.probes.sample import Status
from console.probes.state import StationState
from console.settings import Role
from console.widgets.pane import Builder
from screens.dashboard_filter import filtered, hidden
from screens.dashboard_order import ORDERS, Order, ordered
from screens.panes import backlog, crashes, flow, journal, services, tables
from screens.panes.reading import Source
from screens.port import ConsolePort

BUILDERS: dict[str, Builder] = {
    "tables": tables.build,
    "crashes": crashes.build,
    "services": services.build,
    "backlog": backlog.build,
    "flow": flow.build,
    "journal": journal.build,
}


class Shown:
    """What is shown of the state: `text` filters names, the orders list them, and a cursor may stand on a service."""

    def __init__(self, console: ConsolePort) -> None:
        self._console = console
        self._chosen = ""
        self._orders = dict.fromkeys(ORDERS, 0)
        self.text = ""

    def filter_title(self) -> str:
        """Return the filter and how much it hides, empty without one."""
        state = self._console.state
        readings = {name: state.reading(name).data for name in ("tables", "services", "backlog", "journal")}
        count = sum(hidden(name, data, filtered(name, data, self.text)) for name, data in readings.items())
        return f"/{self.text}: {count} hidden" if self.text else ""

    def sort(self, name: str) -> None:
        self._orders[name] = (self._orders[name] + 1) % len(ORDERS[name])

    def _order(self, name: str) -> Order:
        return ORDERS[name][self._orders[name]] if name in ORDERS else Order("")

    def choose_worst(self, asked: bool) -> None:
        """Put the cursor on the service that needs the operator most, or take it away."""
        self._chosen = services.worst(self._console.state.services.data) if asked else ""

    def move(self, lines: int) -> None:
        shown = ordered("services", self._console.state.services.data, self._order("services"))
        self._chosen = services.next_to(shown, self._chosen, lines)

    def service(self) -> str:
        return self._chosen or services.worst(self._console.state.services.data)

    def views(self) -> Mapping[str, Any]:
        console = self._console
        state, settings = console.state, console.settings
        now, monotonic = console.wall_clock(), console.monotonic()

        def source(name: str, asked: bool = True) -> Source[Any]:
            found: Source[Any] = Source.of(state.reading(name), now=now, monotonic=monotonic, asked=asked)
            return replace(found, data=ordered(name, filtered(name, found.data, self.text), self._order(name)))

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
                source("services", settings.services.backend != "none"),
                self._chosen,
                self._order("services").name,
                stopped_roles(console.way),
            ),
            "backlog": source("backlog", bool(settings.redis.streams)),
            "flow": flow_of(state, settings, now),
            "journal": source("journal"),
        }


def _stopped(state: StationState) -> bool:
    units = state.services.data.units if state.services.data is not None else ()
    found = [unit for unit in units if unit.role == Role.DATABASE]
    return bool(found) and all(unit.state is UnitState.DOWN and not unit.loop for unit in found)

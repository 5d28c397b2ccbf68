"""What the panes of the dashboard show: the state, filtered and in an order. Imported with the first sample."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from console.diagnosis.model import DatabaseReport, TableReport, Verdict
from console.probes.aftermath import aftermath
from console.probes.contents import JournalLine, ServicesSample, StreamSample, UnitSample, UnitState
from console.probes.flow import flow as flow_of
from console.probes.headline import stopped_roles
from console.probes.sample import Status
from console.probes.state import StationState
from console.settings import Role
from console.widgets.pane import Builder
from screens.panes import backlog, crashes, flow, journal, services, tables
from screens.panes.reading import Source
from screens.panes.services import urgency
from screens.port import ConsolePort

BUILDERS: dict[str, Builder] = {
    "tables": tables.build,
    "crashes": crashes.build,
    "services": services.build,
    "backlog": backlog.build,
    "flow": flow.build,
    "journal": journal.build,
}


_LISTS = {"tables": ("tables", ("table", "directory")), "services": ("units", ("name",)),
          "backlog": ("streams", ("stream", "table")), "journal": ("lines", ("action", "target"))}  # fmt: skip


def filtered(probe: str, data: Any, text: str) -> Any:
    """Return the data of a probe with only the items that `text` names; what is no list of items stays whole."""
    words = text.lower().split()
    if data is None or not words or probe not in _LISTS:
        return data
    items, names = _LISTS[probe]

    def matches(item: Any) -> bool:
        known = {each.name for each in fields(item)}
        haystack = " ".join(str(getattr(item, name) or "") for name in names if name in known).lower()
        return all(word in haystack for word in words)

    listed = getattr(data, items)
    newest = listed[:1] if probe == "journal" else ()
    return replace(data, **{items: tuple(item for item in listed if matches(item) or item in newest or _matters(item))})


def hidden(probe: str, data: Any, shown: Any) -> int:
    if data is None or shown is None or probe not in _LISTS:
        return 0
    items, _ = _LISTS[probe]
    return len(getattr(data, items)) - len(getattr(shown, items))


def _matters(item: Any) -> bool:
    match item:
        case TableReport():
            return item.verdict is not Verdict.HEALTHY
        case UnitSample():
            return item.state is not UnitState.UP or bool(item.loop)
        case StreamSample():
            return item.losing or bool(item.error)
        case JournalLine():
            return item.outcome in {"running", "unfinished"}
    return False


@dataclass(frozen=True, slots=True)
class Order:
    """A way to list things; `key` makes what is sorted by, None keeps the order of the source."""

    name: str
    key: Callable[[Any], Any] | None = None


def _rows(table: TableReport) -> tuple[bool, int]:
    return table.rows_applied is not None, -(table.rows_applied or 0)


def _unapplied(table: TableReport) -> tuple[bool, int]:
    return table.rows_unapplied is not None, -(table.rows_unapplied or 0)  # unknown ones first


def _restarts(unit: UnitSample) -> tuple[bool, int]:
    return unit.restarts is not None, -(unit.restarts or 0)


ORDERS = {
    "tables": (Order(""), Order("by name", lambda table: table.table), Order("by rows", _rows),
               Order("by unapplied rows", _unapplied)),
    "services": (Order(""), Order("worst first", urgency), Order("by name", lambda unit: unit.name),
                 Order("by restarts", _restarts)),
}  # fmt: skip
"""The orders of a pane, in the sequence in which the key goes through them."""


def ordered(name: str, data: Any, order: Order) -> Any:
    """Return the data of a pane in an order; data of another pane as it is."""
    if order.key is None:
        return data
    if name == "services" and isinstance(data, ServicesSample):
        return replace(data, units=tuple(sorted(data.units, key=order.key)))
    if name == "tables" and isinstance(data, DatabaseReport):
        return replace(data, tables=tuple(sorted(data.tables, key=order.key)))
    return data


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
            "flow": replace(flow_of(state, settings, now, console.way), held=stopped_roles(console.way)),
            "journal": source("journal"),
        }


def _stopped(state: StationState) -> bool:
    units = state.services.data.units if state.services.data is not None else ()
    found = [unit for unit in units if unit.role == Role.DATABASE]
    return bool(found) and all(unit.state is UnitState.DOWN and not unit.loop for unit in found)

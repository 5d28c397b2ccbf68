"""The orders in which the dashboard lists tables and services; what needs the operator most comes first by default."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from console.diagnosis.model import DatabaseReport, TableReport
from console.probes.contents import ServicesSample, UnitSample
from screens.panes.services import urgency


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

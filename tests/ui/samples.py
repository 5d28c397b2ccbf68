"""Stations for the interface's tests, made of what real ones gave (captured/), at a frozen time."""

from typing import Any

from console.probes.sample import Sample, Status
from tests.ui import captured

NOW = captured.INCIDENT_AT
CLOCK = 50_000.0

INCIDENT = captured.INCIDENT_TABLES
HEALTHY = captured.HEALTHY_TABLES
BACKLOG = captured.INCIDENT_BACKLOG
SERVICES = captured.INCIDENT_SERVICES
ORDERBOOK = next(table for table in INCIDENT.tables if table.table == "market_orderbook")


def sample(probe: str, data: Any, age: float = 1.0) -> Sample[Any]:
    """Return a good sample of `probe`, `age` seconds old."""
    return Sample(probe, Status.OK, data, taken_at=NOW - age, monotonic=CLOCK - age)


def down(probe: str, error: str) -> Sample[Any]:
    """Return what a probe brings when its source does not answer."""
    return Sample(probe, Status.DOWN, None, error, taken_at=NOW, monotonic=CLOCK)


def incident() -> list[Sample[Any]]:
    """Return the station in the incident's end state."""
    return [
        sample("server", captured.INCIDENT_SERVER),
        sample("tables", INCIDENT),
        sample("crashes", captured.INCIDENT_CRASHES),
        sample("services", SERVICES),
        sample("backlog", BACKLOG),
        sample("journal", captured.INCIDENT_JOURNAL),
    ]


def recovered() -> list[Sample[Any]]:
    """Return the tables healthy again, and the journal of how they became so."""
    return [*incident(), sample("tables", HEALTHY), sample("journal", captured.RECOVERED_JOURNAL)]


def healthy() -> list[Sample[Any]]:
    """Return a station on which nothing is wrong; its clock is its own."""
    return [
        sample("server", captured.HEALTHY_SERVER),
        sample("tables", HEALTHY),
        sample("crashes", captured.HEALTHY_CRASHES),
        sample("services", captured.HEALTHY_SERVICES),
        sample("backlog", captured.HEALTHY_BACKLOG),
        sample("journal", captured.HEALTHY_JOURNAL),
    ]


def crash_loop() -> list[Sample[Any]]:
    """Return a station whose server crashes at every start; the clock is captured.CRASH_LOOP_AT."""
    return [
        down("server", captured.CRASH_LOOP_SERVER_ERROR),
        sample("tables", captured.CRASH_LOOP_TABLES),
        sample("crashes", captured.CRASH_LOOP_CRASHES),
        sample("services", captured.CRASH_LOOP_SERVICES),
        sample("backlog", captured.CRASH_LOOP_BACKLOG),
        sample("journal", captured.CRASH_LOOP_JOURNAL),
    ]

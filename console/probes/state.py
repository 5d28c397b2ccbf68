"""What is known of the station now: the newest sample of each probe, and the last good data with its age. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from console.probes.sample import Sample, Status

if TYPE_CHECKING:  # what is imported before the first paint delays it
    from console.diagnosis.model import DatabaseReport
    from console.probes.contents import (
        BacklogSample,
        CrashesSample,
        JournalSample,
        ServerSample,
        ServicesSample,
        WalSample,
    )

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """One source: its newest sample, and the newest one that carried data (the same one while all is well)."""

    latest: Sample[T] | None = None
    good: Sample[T] | None = None
    down_since: float | None = None  # epoch seconds of the first failure in a row

    @property
    def data(self) -> T | None:
        """Return the last data there was, however old."""
        return self.good.data if self.good else None

    @property
    def status(self) -> Status:
        return self.latest.status if self.latest else Status.UNKNOWN

    @property
    def error(self) -> str:
        return self.latest.error if self.latest else ""

    @property
    def stale(self) -> bool:
        """Return whether the data is older than the last try to read it."""
        return self.good is not None and self.latest is not self.good

    def age(self, now: float | None = None) -> float | None:
        """Return the seconds since the data was read; `now` is of time.monotonic()."""
        if self.good is None:
            return None
        return max(0.0, (time.monotonic() if now is None else now) - self.good.monotonic)

    def taking(self, sample: Sample[T]) -> Reading[T]:
        down = sample.status is Status.DOWN
        since = (self.down_since if self.down_since is not None else sample.taken_at) if down else None
        return Reading(sample, sample if sample.data is not None else self.good, since)


_NOTHING: Reading[Any] = Reading()


@dataclass(frozen=True, slots=True)
class StationState:
    """One value for all sources; a new sample makes a new value. It never grows: nothing but the newest is kept."""

    readings: Mapping[str, Reading[Any]] = field(default_factory=lambda: MappingProxyType({}))

    def taking(self, sample: Sample[Any]) -> StationState:
        before = self.readings.get(sample.probe, _NOTHING)
        return replace(self, readings=MappingProxyType({**self.readings, sample.probe: before.taking(sample)}))

    def reading(self, name: str) -> Reading[Any]:
        return self.readings.get(name, _NOTHING)

    @property
    def at_work(self) -> tuple[str, str] | None:
        """The action that runs now, and what it works on."""
        journal = self.journal.data
        for entry in journal.lines if journal is not None else ():
            if entry.outcome == "running":
                return entry.action, entry.target
        return None

    def crashed_since(self, before: StationState) -> int:
        """Return how many crashes there are if QuestDB has crashed since `before`; 0 if not, or at the first look."""
        was, found = before.crashes.data, self.crashes.data
        return found.total if was is not None and found is not None and found.total > was.total else 0

    @property
    def services(self) -> Reading[ServicesSample]:
        return self.reading("services")

    @property
    def crashes(self) -> Reading[CrashesSample]:
        return self.reading("crashes")

    @property
    def server(self) -> Reading[ServerSample]:
        return self.reading("server")

    @property
    def tables(self) -> Reading[DatabaseReport]:
        return self.reading("tables")

    @property
    def wal(self) -> Reading[WalSample]:
        """How far the tables are behind, and the disk."""
        return self.reading("wal")

    @property
    def backlog(self) -> Reading[BacklogSample]:
        return self.reading("backlog")

    @property
    def journal(self) -> Reading[JournalSample]:
        return self.reading("journal")

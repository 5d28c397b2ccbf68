"""What the console is wired to: the scheduler over the station's probes, its engine, its logs. Imported when used."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from console.settings import Settings

if TYPE_CHECKING:  # what is imported before the first paint delays it
    from console.probes.log_tail import LogLine
    from console.probes.scheduler import OnSample, Scheduler
    from screens.station_engine import StationEngine

FollowUnit = Callable[[Settings, str], AsyncGenerator["LogLine", None]]


def station_sources(settings: Settings, on_sample: OnSample) -> Scheduler:
    """Return the scheduler over all probes of the station. Imports the drivers: not before the first paint."""
    from console.probes.scheduler import Scheduler
    from console.probes.station import station_probes

    return Scheduler(station_probes(settings), on_sample)


def station_log(settings: Settings, unit: str) -> AsyncGenerator[LogLine, None]:
    """Return the last lines of a service's log and then each new one, from what runs the service."""
    from console.probes.unit_log import unit_log

    return unit_log(settings, unit)


def station_engine(settings: Settings) -> StationEngine:
    """Return the recovery engine of the station. Imports all of it: not before the first paint."""
    from screens.station_engine import StationEngine

    return StationEngine(settings)

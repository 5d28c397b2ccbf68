"""The services probe: state of every configured service, from whatever runs them."""

import dataclasses
import time
from collections import deque

from console.probes.sample import Sample, ServicesSample, Status, UnitSample, UnitState
from console.probes.worker import Worker
from console.services.control import ServiceControl, control_for
from console.services.model import ServiceError
from console.settings import ServicesSettings, Settings

_RATE_WINDOW = 600.0  # seconds over which the restart rate is counted
_SAMPLES_KEPT = 300


class ServicesProbe:
    """Reads all services in one call of their backend."""

    name = "services"
    interval = 2.0
    deadline = 10.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._control: ServiceControl | None = None
        self._worker = Worker(self.name)
        self._restarts: dict[str, deque[tuple[float, int]]] = {}

    async def read(self) -> Sample[ServicesSample]:
        """Take one sample."""
        wanted: ServicesSettings = self._settings.services
        if wanted.backend == "none" or not wanted.units:
            return Sample(self.name, Status.UNKNOWN, None, "no services are configured (settings: services.units)")
        try:
            if self._control is None:
                self._control = control_for(self._settings)
            assert self._control is not None  # noqa: S101 - a backend other than `none` has a control
            units = await self._worker.call(self._control.states, wanted.units)
        except ServiceError as error:
            return Sample(self.name, Status.DOWN, None, str(error))
        now = time.monotonic()
        rated = tuple(self._rated(unit, now) for unit in units)
        well = all(unit.state is not UnitState.UNKNOWN for unit in rated)
        return Sample(
            self.name,
            Status.OK if well else Status.DEGRADED,
            ServicesSample(wanted.backend, rated),
            "" if well else f"not known to {wanted.backend}: {', '.join(_unknown(rated))}",
        )

    async def close(self) -> None:
        """Nothing is held open between readings."""

    def _rated(self, unit: UnitSample, now: float) -> UnitSample:
        """Return `unit` with its restarts per minute, counted over the last ten minutes that were watched."""
        if unit.restarts is None:
            return unit
        seen = self._restarts.setdefault(unit.name, deque(maxlen=_SAMPLES_KEPT))
        if seen and unit.restarts < seen[-1][1]:
            seen.clear()  # the count began anew
        seen.append((now, unit.restarts))
        while now - seen[0][0] > _RATE_WINDOW:
            seen.popleft()
        (since, before), elapsed = seen[0], now - seen[0][0]
        if elapsed < 1.0:
            return unit
        return dataclasses.replace(unit, restart_rate=(unit.restarts - before) / (now - since) * 60)


def _unknown(units: tuple[UnitSample, ...]) -> list[str]:
    return [unit.name for unit in units if unit.state is UnitState.UNKNOWN]

"""The services probe: state of every configured service, from whatever runs them."""

import dataclasses
import time

from console.probes.contents import ServicesSample, UnitSample, UnitState
from console.probes.rates import Slope
from console.probes.sample import Sample, Status
from console.probes.worker import ThreadProbe
from console.services.control import control_for
from console.services.model import ServiceControl
from console.settings import Settings

_RATE_WINDOW = 600.0  # seconds over which restarts are counted to a rate
_SAMPLES_KEPT = 300


class ServicesProbe(ThreadProbe[ServicesSample]):
    """Reads all services in one call of their backend."""

    name = "services"
    interval = 2.0
    deadline = 10.0

    def __init__(self, settings: Settings) -> None:
        self._settings, self._wanted = settings, settings.services
        configured = self._wanted.backend != "none" and bool(self._wanted.units)
        super().__init__("" if configured else "no services are configured (settings: services.units)")
        self._control: ServiceControl | None = None
        self._restarts: dict[str, Slope] = {}
        self._ended: dict[str, str] = {}
        self._pids: dict[str, tuple[int | None, int | None]] = {}  # the newest process, and the one before it

    def _sample(self) -> Sample[ServicesSample]:
        if self._control is None:
            self._control = control_for(self._settings)
        assert self._control is not None  # noqa: S101 - a backend other than `none` has a control
        units = self._control.states(self._wanted.units)
        now = time.monotonic()
        rated = tuple(self._followed(unit, now) for unit in units)
        well = all(unit.state is not UnitState.UNKNOWN for unit in rated)
        return Sample(
            self.name,
            Status.OK if well else Status.DEGRADED,
            ServicesSample(self._wanted.backend, rated),
            "" if well else f"not known to {self._wanted.backend}: {', '.join(_unknown(rated))}",
        )

    def _followed(self, unit: UnitSample, now: float) -> UnitSample:
        """Return `unit` with its restarts per minute, and with how its last run ended where only we still know it.

        A service that runs again has forgotten that: systemd tells the end of a run until the next one begins.
        """
        if unit.result and unit.state is not UnitState.UP:
            self._ended[unit.name] = unit.result
        rate = self._restarts.setdefault(unit.name, Slope(_RATE_WINDOW, _SAMPLES_KEPT)).rate(now, unit.restarts)
        last, before = self._pids.get(unit.name, (None, None))
        if unit.pid is not None and unit.pid != last:
            last, before = unit.pid, last
            self._pids[unit.name] = last, before
        return dataclasses.replace(
            unit,
            pid_before=last if unit.pid is None else before,
            result=unit.result or self._ended.get(unit.name, ""),
            restart_rate=None if rate is None else rate * 60,
        )


def _unknown(units: tuple[UnitSample, ...]) -> list[str]:
    return [unit.name for unit in units if unit.state is UnitState.UNKNOWN]

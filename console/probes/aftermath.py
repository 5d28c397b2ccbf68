"""What followed the last crash: whether the database came up again, as which process, after how long. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from console.probes.contents import CrashesSample, UnitSample, UnitState
from console.probes.state import StationState
from console.settings import Role

_CLOCK = 2.0  # seconds by which the time in a crash log may be later than the start of the next process
_NEXT = 300.0  # seconds after which a start is not taken for the one that followed


@dataclass(frozen=True, slots=True)
class Aftermath:
    """One sentence; `up` says whether the service runs now, `certain` whether the process ids prove the connection."""

    message: str
    up: bool
    certain: bool


def aftermath(state: StationState) -> Aftermath | None:
    """Return what followed the last crash, None where there was none or no service is known as the database."""
    crashes, services = state.crashes.data, state.services.good
    if crashes is None or crashes.last_at is None or services is None or services.data is None:
        return None
    unit = _database(services.data.units)
    return None if unit is None else _follow(crashes, crashes.last_at, unit, services.taken_at)


def _database(units: Iterable[UnitSample]) -> UnitSample | None:
    return next((unit for unit in units if unit.role == Role.DATABASE.value), None)


def _follow(crashes: CrashesSample, crashed_at: float, unit: UnitSample, seen_at: float) -> Aftermath:
    who = f"pid {crashes.last_pid}" if crashes.last_pid is not None else "the process"
    certain = crashes.last_pid is not None and crashes.last_pid == unit.pid_before
    count = f", restart {unit.restarts:,}" if unit.restarts else ""
    if unit.state is UnitState.UP and unit.uptime is not None:
        started = seen_at - unit.uptime
        if unit.pid is not None and unit.pid == crashes.last_pid:
            return Aftermath(f"{unit.name} still has {who}, which crashed: it has not ended yet", True, True)
        if started < crashed_at - _CLOCK:
            return Aftermath(f"{unit.name} (pid {unit.pid}) ran before {who} crashed and runs on", True, False)
        gap = max(0.0, started - crashed_at)
        if not certain and (unit.pid_before is not None or gap > _NEXT):
            return Aftermath(
                f"{who} crashed; {unit.name} was started again since, now it is pid {unit.pid}", True, True
            )
        message = f"{who} crashed; {unit.name} started again after {_span(gap)} as pid {unit.pid}{count}"
        return Aftermath(message, True, certain)
    if unit.state is UnitState.STARTING:
        return Aftermath(f"{who} crashed; {unit.name} is being started again{count}", False, certain)
    why = f": {unit.loop}" if unit.loop else ""
    return Aftermath(f"{who} crashed; no start followed, {unit.name} is {unit.state}{why}", False, certain)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"

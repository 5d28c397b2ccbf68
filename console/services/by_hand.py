"""Services that nobody but the operator commands: walmedic says what to do, waits, and sees that it happened.

Whether QuestDB runs is told by its lock and files (`liveness`), whether another service runs by the command line of its
process.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from console.diagnosis.server.liveness import Life, hides_processes, liveness
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.services.holds import Holds
from console.services.model import ServiceControl, ServiceError, UnitSample, UnitState
from console.settings import Role, Settings, Unit
from console.waiting import looks

Ask = Callable[[str], None]
PATIENCE = 900.0  # seconds that a person gets to do what is asked
_STAYS = 5.0  # seconds for which a service must stay down: whatever restarts it has done so by then
_PAUSE = 0.25


class ByHandControl(ServiceControl):
    """The operator. `ask` gets each sentence that says what to do; `patience` is in seconds."""

    backend = "by-hand"

    def __init__(self, settings: Settings, ask: Ask, patience: float = PATIENCE) -> None:
        self._settings = settings
        self._units = {unit.name: unit for unit in settings.services.units}
        self._ask = ask
        self._patience = patience
        self._holds = Holds(settings)

    def states(self, units: Iterable[Unit]) -> tuple[UnitSample, ...]:
        return tuple(self._sample(self._units.get(unit.name, unit)) for unit in units)

    def stop(self, unit: str, timeout: float = 60.0) -> None:
        """Ask for a stop and wait until the unit has been down for five seconds. Nothing is asked if it is down."""
        del timeout
        asked, down, came_back = False, 0.0, False
        for late in looks(self._patience, _PAUSE):
            sample = self._known(unit)
            if sample.state is UnitState.DOWN:
                down += _PAUSE
                if down > _STAYS:
                    return
                continue
            if down and asked and not came_back:
                came_back = True
                self._ask(f"{unit} was started again by something: stop what restarts it as well, and keep {unit} down")
            down = 0.0
            if not asked:
                asked = True
                self._ask(f"stop {unit} now{_seen(sample)}, and keep it down; waiting {self._minutes()} for that")
            if late:
                raise ServiceError(f"{unit} still runs after {self._minutes()}{_seen(sample)}; nothing was changed")

    def start(self, unit: str, timeout: float = 60.0) -> None:
        """Ask for a start and wait until the unit is up in two looks. Nothing is asked if it is up."""
        del timeout
        asked, alive = False, 0
        for late in looks(self._patience, _PAUSE):
            sample = self._known(unit)
            alive = alive + 1 if sample.state is UnitState.UP else 0
            if alive == 2:
                return
            if not alive and not asked:
                asked = True
                self._ask(f"start {unit} now; waiting {self._minutes()} for that")
            if late:
                raise ServiceError(f"{unit} was not started within {self._minutes()}")

    def mask_runtime(self, unit: str) -> None:
        self._holds.note(unit, {})

    def unmask(self, unit: str) -> None:
        self._holds.forget(unit)

    def command_line(self, verb: str, unit: str) -> str:
        """Return what the operator is asked to do; empty for mask and unmask."""
        return "" if verb in ("mask", "unmask") else f"by hand: {verb} {unit}"

    def _minutes(self) -> str:
        return f"{self._patience / 60:.0f} min" if self._patience >= 60 else f"{self._patience:.0f} s"

    def _known(self, unit: str) -> UnitSample:
        """Return the state of `unit`. Raises ServiceError where it cannot be known."""
        if unit not in self._units:
            raise ServiceError(f"{unit} is no unit of the settings (services.units)")
        sample = self._sample(self._units[unit])
        if sample.state is UnitState.UNKNOWN:
            raise ServiceError(f"it cannot be known whether {unit} runs: {sample.result}")
        return sample

    def _sample(self, unit: Unit) -> UnitSample:
        state, pid, why = self._database() if unit.role is Role.DATABASE else _process(unit)
        down = state is UnitState.DOWN
        held = down and self._holds.noted(unit.name) is not None
        return UnitSample(unit.name, unit.role.value, state, pid=pid, result=why, held=held)

    def _database(self) -> tuple[UnitState, int | None, str]:
        """Return whether a server lives on the data root: the answer of check, doctor and policy."""
        try:
            database = DatabaseRoot.locate(Path(self._settings.questdb.db_root))
        except WalmedicError as error:
            return UnitState.UNKNOWN, None, str(error)
        found = liveness(database.db, self._settings.questdb)
        if found.life is Life.UNKNOWN:
            return UnitState.UNKNOWN, None, found.sentence
        state = UnitState.UP if found.life is Life.ALIVE else UnitState.DOWN
        return state, next(iter(found.pids), None), ""


def _process(unit: Unit) -> tuple[UnitState, int | None, str]:
    """Return whether a process with the unit's text in its command line lives, other than this one and its parents."""
    if not unit.process:
        return UnitState.UNKNOWN, None, f"set process of {unit.name} in services.units to text in its command line"
    own = {psutil.Process().pid, *(each.pid for each in psutil.Process().parents())}
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if (
            process.pid not in own
            and process.info["status"] != psutil.STATUS_ZOMBIE
            and unit.process in " ".join(words)
        ):
            return UnitState.UP, process.pid, ""
    if hides_processes():
        return UnitState.UNKNOWN, None, "processes of other containers cannot be seen from here; run it on the host"
    return UnitState.DOWN, None, ""


def _seen(sample: UnitSample) -> str:
    return f" (pid {sample.pid})" if sample.pid is not None else ""

"""Services that any program commands: the settings name an argv for status, stop, start and log of each unit.

For runit, s6, OpenRC, Nomad, a remote manager over ssh, or a script of one's own. No shell is involved.
"""

import shlex
from collections.abc import Iterable

from console.services.command import Finished, run
from console.services.model import ServiceControl, ServiceError, UnitSample, UnitState
from console.settings import Settings, Unit
from console.text import clean_line
from console.waiting import looks

_ANSWER = 8.0  # seconds for a status
_LAST_DOWN = 3  # LSB: exit status 1 to 3 of `status` is "not running"; 4 and more (255 of ssh) is no answer
_STAYS = 2.0  # seconds for which a unit must stay down after a stop
_PAUSE = 0.2


class CommandControl(ServiceControl):
    """The station's own commands. After `stop` nothing may start the unit again: there is no mask."""

    backend = "command"

    def __init__(self, settings: Settings) -> None:
        self._units = {unit.name: unit for unit in settings.services.units}

    def states(self, units: Iterable[Unit]) -> tuple[UnitSample, ...]:
        return tuple(self._sample(self._units.get(unit.name, unit)) for unit in units)

    def stop(self, unit: str, timeout: float = 60.0) -> None:
        """Run `stop` and wait until `status` has said for two seconds that the unit is down."""
        self._run("stop", unit, timeout)
        down = 0.0
        for late in looks(timeout, _PAUSE):
            sample = self._sample(self._unit(unit))
            down = down + _PAUSE if sample.state is UnitState.DOWN else 0.0
            if down >= _STAYS:
                return
            if late:
                said = f" ({sample.result})" if sample.result else ""
                raise ServiceError(f"{unit} is {sample.state}{said} after `{self.command_line('stop', unit)}`")

    def start(self, unit: str, timeout: float = 60.0) -> None:
        """Run `start` and wait until `status` says in two looks that the unit is up."""
        self._run("start", unit, timeout)
        alive = 0
        for late in looks(timeout, _PAUSE):
            sample = self._sample(self._unit(unit))
            alive = alive + 1 if sample.state is UnitState.UP else 0
            if alive == 2:
                return
            if late:
                raise ServiceError(f"{unit} is {sample.state} {timeout:.0f} s after its start")

    def command_line(self, verb: str, unit: str) -> str:
        """Return the configured command of `verb`; of `restart` both; empty for mask and unmask."""
        if verb == "restart":
            return f"{self.command_line('stop', unit)} && {self.command_line('start', unit)}"
        argv = {"stop": self._unit(unit).stop, "start": self._unit(unit).start}.get(verb, ())
        return shlex.join(argv)

    def _unit(self, name: str) -> Unit:
        try:
            return self._units[name]
        except KeyError:
            raise ServiceError(f"{name} is no unit of the settings (services.units)") from None

    def _run(self, verb: str, unit: str, timeout: float) -> None:
        argv = self._unit(unit).stop if verb == "stop" else self._unit(unit).start
        if not argv:
            raise ServiceError(f'{unit} has no {verb} command: set {verb} = ["…"] of this unit in services.units')
        finished = run(argv, timeout)
        if finished.status:
            raise ServiceError(f"`{shlex.join(argv)}` failed: {_said(finished)}")

    def _sample(self, unit: Unit) -> UnitSample:
        """Return what its status command says; UNKNOWN, with the reason, if that is no answer."""
        if not unit.status:
            why = 'set status = ["…"] of this unit in services.units'
            return UnitSample(unit.name, unit.role.value, UnitState.UNKNOWN, result=why, sub_state="not-found")
        finished = run(unit.status, _ANSWER)
        if finished.status < 0 or finished.status > _LAST_DOWN:
            return UnitSample(unit.name, unit.role.value, UnitState.UNKNOWN, result=_said(finished))
        up = unit.up in finished.output if unit.up else finished.status == 0
        state = UnitState.UP if up else UnitState.DOWN
        said = clean_line(finished.output.strip(), 60)
        return UnitSample(unit.name, unit.role.value, state, sub_state=said, held=not up)


def _said(finished: Finished) -> str:
    return clean_line(finished.error or finished.output, 200) or f"exit {finished.status}"

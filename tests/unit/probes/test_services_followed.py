"""The services probe over time: restart rate, and how the last run ended once a service runs again."""

from collections.abc import Iterable
from typing import Any

import pytest

from console.probes.services import ServicesProbe
from console.services.model import UnitSample, UnitState
from console.settings import Role, ServicesSettings, Settings, Unit

SETTINGS = Settings(services=ServicesSettings("systemd", units=(Unit("writer", Role.WRITER),)))


class Control:
    """Answers with the next of `samples`."""

    def __init__(self, *samples: UnitSample) -> None:
        self.samples = list(samples)

    def states(self, units: Iterable[Unit]) -> tuple[UnitSample, ...]:
        return (self.samples.pop(0),)


async def test_a_service_that_runs_again_keeps_how_its_last_run_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("console.probes.services.time.monotonic", lambda: clock[0])
    probe = ServicesProbe(SETTINGS)
    control: Any = Control(
        UnitSample("writer", "writer", UnitState.STARTING, restarts=3, result="exit 1"),
        UnitSample("writer", "writer", UnitState.UP, pid=7, restarts=4),
        UnitSample("writer", "writer", UnitState.FAILED, restarts=6, result="SIGSEGV, core dumped"),
        UnitSample("writer", "writer", UnitState.UP, pid=9, restarts=0),
    )
    probe._control = control
    seen = []
    for _ in range(4):
        sample = await probe.read()
        assert sample.data is not None
        seen.append(sample.data.units[0])
        clock[0] += 30
    assert [unit.result for unit in seen] == ["exit 1", "exit 1", "SIGSEGV, core dumped", "SIGSEGV, core dumped"]
    assert [unit.restart_rate for unit in seen] == [None, 2.0, 3.0, None]

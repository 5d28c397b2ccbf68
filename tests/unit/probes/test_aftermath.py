"""What followed the last crash: by process ids where they were seen, else by times."""

from typing import Any

import pytest

from console.probes.aftermath import Aftermath, aftermath
from console.probes.contents import CrashesSample, ServicesSample, UnitSample, UnitState
from console.probes.sample import Sample, Status
from console.probes.state import StationState

SEEN = 10_000.0
CRASHED = SEEN - 60


def station(crashed_pid: int | None = 11, **unit: Any) -> StationState:
    known = {"name": "questdb", "role": "database", "state": UnitState.UP, "pid": 12, "uptime": 57.0, "restarts": 261}
    services = ServicesSample("systemd", (UnitSample(**{**known, **unit}),))
    crashes = CrashesSample(261, (), CRASHED, (), crashed_pid)
    state = StationState().taking(Sample("crashes", Status.OK, crashes))
    return state.taking(Sample("services", Status.OK, services, taken_at=SEEN))


def followed(**given: Any) -> Aftermath:
    found = aftermath(station(**given))
    assert found is not None
    return found


def test_the_restart_that_followed() -> None:
    found = followed(pid_before=11)
    assert found.message == "pid 11 crashed; questdb started again after 3 s as pid 12, restart 261"
    assert (found.up, found.certain) == (True, True)


def test_without_the_process_before_it_rests_on_times() -> None:
    found = followed()
    assert "started again after 3 s as pid 12" in found.message
    assert not found.certain


@pytest.mark.parametrize("unit", [{"pid_before": 10}, {"uptime": 57.0 - 500.0}], ids=["another process", "long after"])
def test_a_later_start_is_not_the_one_that_followed(unit: dict[str, Any]) -> None:
    assert followed(**unit).message == "pid 11 crashed; questdb was started again since, now it is pid 12"


def test_a_service_that_ran_before_the_crash_is_not_what_followed() -> None:
    found = followed(uptime=500.0)
    assert found.message == "questdb (pid 12) ran before pid 11 crashed and runs on"


def test_the_process_that_writes_its_log_has_not_ended() -> None:
    assert "has not ended yet" in followed(pid=11, uptime=500.0).message


def test_no_start_followed() -> None:
    failed = followed(state=UnitState.FAILED, pid=None, uptime=None, loop="gave up after 5 restarts: limit 5 in 10s")
    assert (
        failed.message
        == "pid 11 crashed; no start followed, questdb is failed: gave up after 5 restarts: limit 5 in 10s"
    )
    assert not failed.up
    starting = followed(state=UnitState.STARTING, pid=None, uptime=None)
    assert starting.message == "pid 11 crashed; questdb is being started again, restart 261"


def test_nothing_is_reported_where_nothing_is_known() -> None:
    assert aftermath(StationState()) is None
    assert aftermath(station(role="feed")) is None
    assert "the process crashed" in followed(crashed_pid=None).message

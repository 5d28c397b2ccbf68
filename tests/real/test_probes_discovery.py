"""`init` on a real station: everything that a person would have written is found by itself."""

import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.commands.init import init, render
from console.errors import WalmedicError
from console.probes.checks import Level
from console.probes.checkup import checkup
from console.probes.discovery import discover
from console.probes.found_services import found_services
from console.probes.running import owner_of
from console.questdb.server_processes import ServerProcess
from console.services.supervisor import SupervisorControl
from console.settings import RedisSettings, Role, Settings, load
from console.station.build import station
from console.station.scenario import Scenario
from tests.real.supervisord import Supervisord


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with station(Scenario.HEALTHY, directory=tmp_path_factory.mktemp("station"), scale=5_000) as built:
        yield built.settings()


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WALMEDIC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_the_station_is_found_as_its_builder_described_it(running: Settings) -> None:
    found = discover(running.questdb.db_root).settings
    quest, wanted = found.questdb, running.questdb
    assert (quest.db_root, quest.pg_port, quest.http_port, quest.health_port, quest.jar) == (
        wanted.db_root, wanted.pg_port, wanted.http_port, wanted.health_port, wanted.jar,
    )  # fmt: skip
    assert Path(quest.java).samefile(wanted.java)
    assert (quest.log, found.sources["questdb.log"]) == (wanted.log, "where its output goes")
    assert found.station in (socket.gethostname().partition(".")[0], running.station_name, Path(quest.db_root).name)
    assert found.redis.port == running.redis.port
    assert {(s.name, s.group, s.table) for s in found.redis.streams} == {
        (s.name, s.group, s.table) for s in running.redis.streams
    }
    assert all(s.max_length == 0 for s in found.redis.streams)  # what was never trimmed shows no MAXLEN
    assert (found.services.backend, found.services.socket) == (running.services.backend, running.services.socket)
    assert set(found.services.units) == set(running.services.units)
    assert all(found.sources[key] for key in ("questdb.db_root", "questdb.pg_port", "redis.port", "services.units"))


async def test_what_is_written_can_be_worked_with(running: Settings, tmp_path: Path) -> None:
    arguments = ["--db-root", running.questdb.db_root, "--output", str(tmp_path / "new/walmedic.toml")]
    result = CliRunner().invoke(init, arguments, standalone_mode=False)
    assert result.exception is None, result.output
    assert result.return_value == 0
    written = tmp_path / "new/walmedic.toml"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    settings = load(written, environment={"WALMEDIC_STATE_DIR": str(tmp_path / "state")})
    checks = await checkup(settings)
    assert [check for check in checks if check.level is Level.PROBLEM] == []
    messages = {check.subject: check.said for check in checks if check.subject in ("rehearsal", "clock")}
    assert messages["rehearsal"].startswith(f"with {Path(running.questdb.jar).name} and ")
    assert "agree" in messages["clock"]
    assert any(check.said.startswith(f"its health port {running.questdb.health_port} answers") for check in checks)
    before = written.read_bytes()
    again = CliRunner().invoke(init, arguments, standalone_mode=False)
    assert isinstance(again.exception, WalmedicError)
    assert "is not overwritten" in str(again.exception)
    assert written.read_bytes() == before


def test_printing_writes_nothing(running: Settings, tmp_path: Path) -> None:
    result = CliRunner().invoke(init, ["--db-root", running.questdb.db_root, "--print"], standalone_mode=False)
    assert result.return_value == 0
    assert running.questdb.db_root in result.output
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_what_does_not_run_is_a_doubt_and_never_a_guess(running: Settings) -> None:
    control = SupervisorControl(running.services.socket)
    (writer,) = running.services.named(Role.WRITER)
    control.stop(writer)
    try:
        found = discover(running.questdb.db_root)
    finally:
        control.start(writer)
    assert found.settings.services.named(Role.WRITER) == ()
    assert any("no unit was seen that reads the streams" in doubt for doubt in found.doubts)


def test_a_directory_without_a_server_gives_what_its_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "db/trades~1").mkdir(parents=True)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/server.conf").write_text(
        "# comment\npg.net.bind.to = 0.0.0.0:9812\nhttp.bind.to=0.0.0.0:nonsense\n"
    )
    found = discover(str(tmp_path))
    assert (found.settings.questdb.pg_port, found.settings.questdb.http_port) == (9812, 9000)
    assert found.settings.services.backend == "none"
    assert any("it cannot be known whether QuestDB is running on it" in doubt for doubt in found.doubts)
    with pytest.raises(WalmedicError):
        discover(str(tmp_path / "nothing"))


def test_a_name_that_settings_refuse_is_not_written(tmp_path: Path) -> None:
    """supervisord itself refuses a space in a name, and takes what systemd does not: `init` leaves that out."""
    supervised = Supervisord(tmp_path, "[program:my+fééd]\ncommand=sleep 1000\n")
    supervised.start()
    try:
        control = SupervisorControl(str(supervised.socket))
        deadline = time.monotonic() + 15
        while not (pids := control.names_by_pid()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ((pid, name),) = pids.items()
        owner = owner_of(pid)
        assert owner is not None
        assert (owner.unit, name) == ("my+fééd", "my+fééd")
        server = ServerProcess(pid, str(tmp_path), tmp_path, "java", "questdb.jar", frozenset())
        doubts: list[str] = []
        found = found_services(server, None, RedisSettings(), owner, {}, doubts)
        assert found.units == ()
        assert r"the database runs as 'my+f\xe9\xe9d', which is no name for settings: rename it there" in doubts
        file = tmp_path / "walmedic.toml"
        file.write_text(render(Settings(services=found)))
        assert load(file, environment={}).services == found
    finally:
        supervised.stop()

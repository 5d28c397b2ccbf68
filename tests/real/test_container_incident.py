"""The whole incident on a station in Podman containers: found, diagnosed, recovered, every row accounted for.

Once as text, once by keys in a tmux pane, and once with an operator who stops and starts the containers when asked.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.settings import Settings, load
from tests.real.container_station import INSIDE, UID, UNITS, ContainerStation, container_station
from tests.real.incident_steps import STEPS, all_is_back
from tests.real.podman import remove
from tests.real.tmux_pane import Pane, brought_back

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module", params=["text", "keys", "by-hand"])
def manner(request: pytest.FixtureRequest) -> str:
    """How it is recovered."""
    return str(request.param)


@pytest.fixture(scope="module")
def backend(manner: str) -> str:
    return "by-hand" if manner == "by-hand" else "podman"


@pytest.fixture(scope="module")
def place(backend: str) -> Iterator[ContainerStation]:
    """A folder that uid 10001 can enter, which pytest's own are not."""
    folder = tempfile.mkdtemp(prefix=f"walmedic-{backend}-")
    Path(folder).chmod(0o755)
    try:
        with container_station(Path(folder)) as made:
            yield made
    finally:
        remove(Path(folder))


class Walmedic:
    """The command line on that machine, as an operator types it."""

    def __init__(self, place: ContainerStation) -> None:
        self.folder = place.podman.folder.parent
        self.settings_file = self.folder / "walmedic.toml"
        self.podman = place.podman
        self.asked: list[str] = []
        ours = {name: value for name, value in os.environ.items() if not name.startswith("WALMEDIC_")}
        self.environment = {
            **ours,
            "PATH": f"{place.podman.bin}:{ours['PATH']}",
            "HOME": str(self.folder),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "NO_COLOR": "1",
        }

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end; what it asks an operator to do is done."""
        process = subprocess.Popen(
            [sys.executable, "-m", "console", *words, "--config", str(self.settings_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        told: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        errors = process.stderr
        reader = threading.Thread(target=lambda: told.extend(self._obeyed(line) for line in errors))
        reader.start()
        output = process.stdout.read()
        status = process.wait(300)
        reader.join()
        return subprocess.CompletedProcess(words, status, output, "".join(told))

    def _obeyed(self, line: str) -> str:
        if line.startswith("[your turn]"):
            verb, unit = line.partition(": ")[2].split(" ")[:2]
            self.asked.append(f"{verb} {unit}")
            threading.Thread(target=self.podman, args=(verb, unit)).start()
        return line

    def json(self, *words: str) -> Any:
        finished = self(*words, "--json")
        return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def walmedic(place: ContainerStation) -> Walmedic:
    return Walmedic(place)


@pytest.fixture(scope="module")
def settings(place: ContainerStation, walmedic: Walmedic, backend: str) -> Settings:
    """What `init` finds; then the state directory, and by hand the backend, as a person would change them."""
    root = place.station.layout.data_root
    command = [sys.executable, "-m", "console", "init", "--db-root", str(root), "--output", str(walmedic.settings_file)]
    done = subprocess.run(command, env=walmedic.environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    text = walmedic.settings_file.read_text()
    if backend == "by-hand":
        text = text.replace('backend = "podman"', 'backend = "by-hand"')
        # Other stations of this machine have a writer too.
        process = f"console.station.batch_writer --redis-port {place.station.layout.redis_port}"
        text = text.replace('role = "writer"', f'role = "writer"\nprocess = "{process}"')
    walmedic.settings_file.write_text(f'state_dir = "{walmedic.folder}/state"\n{text}')
    return load(walmedic.settings_file, environment={})


def test_the_station_is_found(settings: Settings, place: ContainerStation, backend: str) -> None:
    layout = place.station.layout
    quest = settings.questdb
    assert (quest.pg_port, quest.http_port, quest.health_port) == (
        layout.pg_port, layout.http_port, layout.health_port,
    )  # fmt: skip
    assert Path(quest.db_root) == layout.data_root
    assert Path(quest.jar).name == "questdb.jar"
    assert settings.redis.port == layout.redis_port
    assert settings.services.backend == backend
    assert {unit.name: unit.role.value for unit in settings.services.units} == UNITS
    text = Path(settings.file).read_text()
    assert f"container questdb of market/questdb, there {INSIDE}" in text
    assert "QDB_PG_NET_BIND_TO of pid" in text


def test_what_is_said_about_the_server_is_true(settings: Settings, walmedic: Walmedic, backend: str) -> None:
    checked = walmedic("check")
    assert checked.returncode == 1, checked.stderr
    assert "not this directory" not in checked.stdout
    assert "cannot be proven" not in checked.stdout
    checks = walmedic.json("doctor")["checks"]
    said = {check["subject"]: check["said"] for check in checks}
    assert "QuestDB is running on it (pid" in said["server lock"]
    assert f"uid {UID}" in " ".join(check["said"] for check in checks)
    if backend == "podman":
        assert any("restart policy always" in check["said"] for check in checks), said


def test_the_incident_is_recovered(
    settings: Settings, walmedic: Walmedic, place: ContainerStation, manner: str
) -> None:
    if manner == "keys":
        _recover_by_keys(walmedic)
    else:
        _recover_as_text(walmedic, place)
    all_is_back(place.station)
    owners = {(each.lstat().st_uid, each.lstat().st_gid) for each in (place.station.layout.data_root / "db").rglob("*")}
    assert owners == {(UID, UID)}
    if manner == "by-hand":
        assert walmedic.asked[:2] == ["stop batch-writer", "stop questdb"]
        assert walmedic.asked[2:] == ["start questdb", "start batch-writer"]
    assert walmedic("check").returncode == 0


def _recover_by_keys(walmedic: Walmedic) -> None:
    command = [sys.executable, "-m", "console", "--config", str(walmedic.settings_file)]
    pane = Pane(command, walmedic.folder, (80, 23), walmedic.environment)
    try:
        pane.until(lambda s: "BROKEN" in s and "next 1 freeze-writer" in s)
        brought_back(pane, "The station is back: 6,359 rows recovered, 0 lost", most=7)
    finally:
        pane.close()


def _recover_as_text(walmedic: Walmedic, place: ContainerStation) -> None:
    for action, table, _ in STEPS:
        words = [action, *([table] if table else [])]
        plan = walmedic.json("plan", *words)
        assert not plan["refused"], plan["refused"]
        done = walmedic("run", *words, "--confirm", plan["confirmation"])
        assert "DONE" in done.stdout.upper(), (done.returncode, done.stdout, done.stderr)
        if action == "stop-server":
            assert place.podman.inspect("questdb")["State"]["Running"] is False

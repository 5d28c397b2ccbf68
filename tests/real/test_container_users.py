"""A QuestDB of uid 10001 in a container: what root, the owner of the data, a stranger and a sidecar are told."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from console.diagnosis.server.answer import answers
from console.probes import running
from console.recovery.server.jvm import ServerBinary, server_command
from console.recovery.server.private_server import free_ports
from console.settings import QuestDBSettings
from console.station import downloads
from console.waiting import wait_until
from tests.other_user import CHECKOUT, USER, as_user
from tests.real.container_station import INSIDE, UID
from tests.real.podman import Podman, remove

pytestmark = pytest.mark.faults
_LABELS = {"com.docker.compose.project": "market", "com.docker.compose.service": "questdb"}


@dataclass(frozen=True)
class Place:
    """A folder with the data, and the engine that runs QuestDB on it."""

    folder: Path
    podman: Podman
    settings: QuestDBSettings

    @property
    def root(self) -> Path:
        return Path(self.settings.db_root)

    def walmedic(self, uid: int, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it as `uid` with a state directory of its own."""
        home = self.folder / f"home-{uid}"
        if not home.exists():
            home.mkdir()
            os.chown(home, uid, uid)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("WALMEDIC_", "XDG_"))}
        environment |= {"HOME": str(home), "PATH": f"{self.podman.bin}:{environment['PATH']}"}
        argv = [*(as_user(uid, self.folder / "mounts") if uid else []), sys.executable, "-m", "console", *words]
        return subprocess.run(
            argv, env=environment | {"PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}, cwd=CHECKOUT,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def configure(self, data: str) -> None:
        """Write the settings of the sidecar."""
        quest = self.settings
        ports = f"pg_port = {quest.pg_port}\nhttp_port = {quest.http_port}\nhealth_port = {quest.health_port}\n"
        text = f'state_dir = "/sidecar/state"\n[questdb]\ndb_root = "{data}"\n{ports}'
        (self.folder / "sidecar" / "walmedic.toml").write_text(text)

    def sidecar(self, *words: str, data: str) -> subprocess.CompletedProcess[str]:
        """Run it in a container of its own, with the data at the path `data`."""
        ours = {str(each): str(each) for each in (sys.prefix, sys.base_prefix, CHECKOUT)}
        volumes = {**ours, str(self.root): data, str(self.folder / "sidecar"): "/sidecar"}
        command = [sys.executable, "-m", "console", *words, "--config", "/sidecar/walmedic.toml"]
        self.podman.run(
            "sidecar", command, volumes=volumes, restart="no", start=False, environment={"HOME": "/sidecar"}
        )
        try:
            argv = [str(self.podman.bin / "podman"), "start", "--attach", "sidecar"]
            return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
        finally:
            self.podman("rm", "--force", "sidecar")
            shutil.rmtree(self.podman.folder / "roots" / "sidecar")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="walmedic-users-"))
    folder.chmod(0o755)
    for name in ("engine", "program", "data", "mounts", "sidecar"):
        (folder / name).mkdir()
    os.chown(folder / "data", UID, UID)
    podman = Podman(folder / "engine")
    binary = downloads.questdb_binary()
    shutil.copy(binary.jar, folder / "program" / "questdb.jar")
    pg, http, health = free_ports(3)
    server = server_command(ServerBinary(Path("/opt/questdb/questdb.jar"), binary.java), Path("/var/lib"))
    variables = {
        "QDB_PG_NET_BIND_TO": f"127.0.0.1:{pg}", "QDB_HTTP_BIND_TO": f"127.0.0.1:{http}",
        "QDB_HTTP_MIN_BIND_TO": f"127.0.0.1:{health}", "QDB_LINE_TCP_ENABLED": "false",
    }  # fmt: skip
    settings = QuestDBSettings(db_root=str(folder / "data"), pg_port=pg, http_port=http, health_port=health)
    try:
        podman.run(
            "questdb", [word.replace("/var/lib", INSIDE) for word in server], user=UID, environment=variables,
            labels=_LABELS, volumes={str(folder / "data"): INSIDE, str(folder / "program"): "/opt/questdb"},
        )  # fmt: skip
        assert wait_until(lambda: answers(settings, folder / "data" / "db"), 90)
        yield Place(folder, podman, settings)
    finally:
        podman.close()
        remove(folder)


def _checks(document: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for check in json.loads(document)["checks"]:
        found.setdefault(check["subject"], []).append(check)
    return found


@pytest.mark.parametrize("uid", [0, UID])
def test_init_finds_the_server_in_its_container(place: Place, uid: int) -> None:
    """Root sees all of it; the owner of the data sees as much, but for who runs the container."""
    done = place.walmedic(uid, "init", "--print", "--db-root", str(place.root))
    assert done.returncode == 0, done.stderr
    for key in ("pg_port", "http_port", "health_port"):
        assert re.search(rf"^{key} = {getattr(place.settings, key)}\b", done.stdout, re.MULTILINE), done.stdout
    if uid == 0:
        assert f"container questdb of market/questdb, there {INSIDE}" in done.stdout
        assert 'backend = "podman"' in done.stdout
    assert "no server that this user may see runs on it" not in done.stdout + done.stderr


def test_a_container_of_a_quadlet_is_commanded_by_its_unit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """`podman stop` alone would not last: systemd starts the unit again."""
    monkeypatch.setenv("PATH", f"{place.podman.bin}:{os.environ['PATH']}")
    for name, labels in (("plain", {}), ("quadlet", {"PODMAN_SYSTEMD_UNIT": "market-questdb.service"})):
        place.podman.run(name, ["sleep", "1000"], labels=labels)
        owner = running.owner_of(place.podman.inspect(name)["State"]["Pid"])
        assert owner is not None
        expected = ("systemd", "market-questdb.service") if labels else ("podman", name)
        assert (owner.manager.backend, owner.unit) == expected


def test_init_as_a_stranger_says_what_it_may_not_see(place: Place) -> None:
    done = place.walmedic(USER, "init", "--print")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "as root (sudo -E)" in done.stderr, done.stderr


def test_doctor_says_which_user_to_be(place: Place) -> None:
    words = ("doctor", "--db-root", str(place.root), "--json")
    said = {uid: _checks(place.walmedic(uid, *words).stdout)["user"][0] for uid in (0, UID, USER)}
    assert (said[0]["level"], said[UID]["level"], said[USER]["level"]) == ("ok", "ok", "note")
    assert said[0]["said"] == f"root may read and repair the data; repaired files keep their owner, uid {UID}"
    assert said[UID]["said"] == f"uid {UID} owns the data, and may read and repair it"
    assert re.fullmatch(
        rf"\S+ \(uid {USER}\) may look but not repair; the data belongs to uid {UID}; "
        rf"to repair: sudo -E \S+ doctor --db-root {place.root}",
        said[USER]["said"],
    ), said[USER]["said"]
    for uid in (0, UID, USER):
        lock = _checks(place.walmedic(uid, *words).stdout)["server lock"][0]
        assert lock["said"].startswith("QuestDB is running on it"), (uid, lock)


def test_a_root_that_others_may_not_enter_is_said_with_the_command(place: Place) -> None:
    place.root.chmod(0o700)
    try:
        done = place.walmedic(USER, "doctor", "--db-root", str(place.root), "--json")
        checks = _checks(done.stdout)
    finally:
        place.root.chmod(0o755)
    assert checks["data root"][0]["level"] == checks["user"][0]["level"] == "problem"
    assert "may not read the data" in checks["user"][0]["said"]
    assert "sudo -E " in checks["user"][0]["said"]


def test_all_that_a_sidecar_is_told_about_the_server_is_true(place: Place) -> None:
    """With the data at the server's own path all of it is proven, at another one what is not proven is said so."""
    for data in (INSIDE, "/data"):
        place.configure(data)
        up = place.sidecar("doctor", "--json", data=data)
        checks = _checks(up.stdout)
        assert checks["server lock"][0]["said"].startswith("QuestDB is running on it"), checks
        assert checks["QuestDB"][0]["level"] == "ok", checks["QuestDB"]
        checked = place.sidecar("check", data=data)
        assert "not this directory" not in up.stdout + checked.stdout
        unproven = "cannot be proven" in up.stdout + checked.stdout
        assert unproven is (data != INSIDE), (up.stdout, checked.stdout)
    place.podman("stop", "questdb")
    down = _checks(place.sidecar("doctor", "--json", data=data).stdout)
    assert down["server lock"][0]["said"] == "no QuestDB is running on it"
    assert down["QuestDB"][0]["level"] == "problem"

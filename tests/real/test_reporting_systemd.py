"""Timeline, bundle and evidence from a real journald: how services ended, the boot's excerpt, no secret anywhere."""

import gzip
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.reporting.bundle import archive, prepare
from console.reporting.events import Event
from console.reporting.service_logs import service_logs
from console.settings import Role, ServicesSettings, Settings, Unit
from tests.data.samples import sample_database
from tests.real.systemd_user import SystemdUser
from tests.unit.reporting.place import settings_of

CANARIES = tuple(f"CaNaRyUnit{n}x9" for n in range(6))
UNITS = (Unit("questdb", Role.DATABASE), Unit("batch-writer.service", Role.WRITER), Unit("feed", Role.FEED))


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdUser]:
    """A manager with a server that runs, a writer that dies of a signal, a feed that reached its start limit."""
    folder = tmp_path_factory.mktemp("systemd")
    (folder / "journal").mkdir()
    manager = SystemdUser(folder, folder / "journal", tells=True)
    manager.start()
    says = folder / "says"
    says.write_text(
        f"echo 'I server-main Server is ready to be started'\necho 'I pg connect [password={CANARIES[0]}]'\n"
        f"echo 'reached redis://:{CANARIES[1]}@localhost:6379'\nprintf 'red \\033[31mred\\n'\n"
        f"echo 'C could not process line data [mangledLine=`trades price=1.5`, errno=2]'\nexec sleep 1000\n"
    )
    environment = f'Environment="QDB_PG_PASSWORD={CANARIES[2]}" DSN={CANARIES[3]} LANG=C'
    manager.write(manager.units, "questdb.service", f"{environment}\nExecStart=/bin/bash {says} --token {CANARIES[4]}")
    (manager.units / "questdb.service.d").mkdir()
    (manager.units / "questdb.service.d" / "more.conf").write_text(f"[Service]\nEnvironment=MORE={CANARIES[5]}\n")
    manager.write(manager.units, "batch-writer.service", "ExecStart=/bin/sh -c 'kill -SEGV $$$$'")
    manager.write(manager.units, "feed.service", "ExecStart=/bin/false\nRestart=always\nRestartSec=10ms")
    for unit in ("questdb", "batch-writer", "feed"):
        manager.systemctl("start", unit)
    deadline = time.monotonic() + 20
    while "failed" not in manager.systemctl("is-active", "feed").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield manager
    manager.stop()


@pytest.fixture
def settings(systemd: SystemdUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a station under that manager."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(systemd.run))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    made = settings_of(tmp_path.resolve())
    sample_database("v1", Path(made.questdb.db_root))
    return replace(made, services=ServicesSettings("systemd-user", units=UNITS))


def events_of(settings: Settings, systemd: SystemdUser, wanted: set[str]) -> list[Event]:
    """Return the events once all of `wanted` are among them: journald writes a moment later."""
    deadline = time.monotonic() + 20
    while True:
        logs = service_logs(settings, directory=systemd.journal)
        if wanted <= {event.what for event in logs.events}:
            assert logs.missing == ()
            return sorted(logs.events, key=lambda event: event.at)
        assert time.monotonic() < deadline, logs.events
        time.sleep(0.2)


def test_starts_ends_and_limits_come_from_the_manager(settings: Settings, systemd: SystemdUser) -> None:
    wanted = {
        "questdb started", "batch-writer.service ended: SIGSEGV", "feed ended: exit 1",
        "feed was given up: its start limit was hit",
    }  # fmt: skip
    # A core dump is told as such where the machine makes them.
    events = events_of(settings, systemd, wanted - {"batch-writer.service ended: SIGSEGV"})
    told = [event.what for event in events]
    assert any(what.startswith("batch-writer.service ended: SIGSEGV") for what in told)
    assert told.count("feed ended: exit 1") >= 5
    now = time.time()
    assert all(now - 600 < event.at <= now for event in events)
    before = len(events)
    systemd.systemctl("stop", "questdb")
    events = events_of(settings, systemd, {"questdb stopped"})
    assert len(events) > before
    assert systemd.systemctl("start", "questdb").returncode == 0
    later = service_logs(settings, since=time.time() + 60, directory=systemd.journal)
    assert later.events == ()


def test_the_excerpt_is_that_of_the_unit_and_this_boot(settings: Settings, systemd: SystemdUser) -> None:
    """In its own control group namespace the manager's services look to journald like the system's."""
    system = replace(settings, services=ServicesSettings("systemd", units=UNITS[:1]))
    deadline = time.monotonic() + 20
    while "errno=2" not in (text := service_logs(system, directory=systemd.journal).excerpts[0].text):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "Server is ready to be started" in text
    assert "\x1b" not in text
    assert service_logs(system, directory=systemd.journal).excerpts[0].source == "journalctl -u questdb -b"


def test_no_secret_of_a_unit_is_in_the_bundle(settings: Settings, systemd: SystemdUser) -> None:
    made = prepare(settings, journal_directory=systemd.journal)
    parts = {part.name: part.content.decode() for part in made.parts}
    everything = gzip.decompress(archive(made)).decode("utf-8", "replace") + "".join(parts.values())
    assert [canary for canary in CANARIES if canary in everything] == []
    assert "trades price" not in everything
    unit = parts["units/questdb.service"]
    assert 'Environment="QDB_PG_PASSWORD=***" DSN=*** LANG=C' in unit
    assert "--token ***" in unit
    assert parts["units/questdb.service.d/more.conf"] == "[Service]\nEnvironment=MORE=***\n"
    assert "Started" in parts["logs/journal.questdb.txt"]
    assert "feed is failed" in parts["report.md"] or "feed gave up" in parts["report.md"]


def test_the_evidence_holds_unit_file_and_journal_of_the_server(
    settings: Settings, systemd: SystemdUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are, without their secrets. journalctl is the real one, told where this manager's journal lies."""
    real = shutil.which("journalctl")
    assert real is not None
    folder = tmp_path / "bin"
    folder.mkdir()
    # To journald the manager's services are the system's: see above.
    wrapper = '#!/bin/bash\nwords=()\nfor each; do [ "$each" = --user ] || words+=("$each"); done\n'
    (folder / "journalctl").write_text(f'{wrapper}exec {real} -D {systemd.journal} "${{words[@]}}"\n')
    (folder / "journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    engine = Engine(settings)
    plan = engine.plan("capture-evidence")
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    kept = {path.name: path.read_text() for path in settings.state_path.rglob("server/*") if path.is_file()}
    unit, journal = kept["unit.questdb.service"], kept["journal.questdb.txt"]
    assert "ExecStart=/bin/bash" in unit
    assert "Server is ready to be started" in journal
    assert "errno=2" in journal
    assert not [canary for canary in CANARIES for text in kept.values() if canary in text]


_ASKED = """
import dataclasses, pathlib, sys
from console.reporting.service_logs import service_logs
from console.services.systemd import SystemdControl
from console.settings import Role, ServicesSettings, Unit
from tests.unit.reporting.place import settings_of
unit = Unit("questdb", Role.DATABASE)
print(SystemdControl(user=True).states([unit])[0].state)
asked = ServicesSettings("systemd-user", units=(unit,))
made = dataclasses.replace(settings_of(pathlib.Path(sys.argv[1])), services=asked)
print(len(service_logs(made, directory=pathlib.Path(sys.argv[2])).events))
"""


def test_systemctl_and_journalctl_get_no_password(settings: Settings, systemd: SystemdUser, tmp_path: Path) -> None:
    """Every execve() is traced: neither the arguments nor the environment of either has one."""
    trace = tmp_path / "trace"
    secret = {f"WALMEDIC_{name}_PASSWORD": f"canary-{name}" for name in ("QUESTDB", "QUESTDB_READONLY", "REDIS")}
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-v", "-s", "1000000", "-e", "trace=execve", "-o", str(trace)]
    done = subprocess.run(
        [*strace, sys.executable, "-c", _ASKED, str(tmp_path), str(systemd.journal)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **secret},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.startswith("up\n"), done
    calls = [line for line in trace.read_text(errors="replace").splitlines() if "execve(" in line]
    python, *others = calls
    assert "canary-REDIS" in python  # they were there to be handed on
    assert any("systemctl" in call for call in others)
    assert any("journalctl" in call for call in others)
    assert not [call for call in others if "canary" in call]


def test_a_journal_that_cannot_be_read_is_missing(settings: Settings, tmp_path: Path) -> None:
    logs = service_logs(settings, directory=tmp_path / "nowhere")
    assert logs.events == ()
    assert {each.split(":")[0] for each in logs.missing} == {f"the journal of {unit.name}" for unit in UNITS}
    assert DatabaseRoot.locate(Path(settings.questdb.db_root)).tables()

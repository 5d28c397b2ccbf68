"""Passwords that are right, given by the environment: no program that is started is told them, no file keeps them.

Every execve() of the commands and of all that they start is traced, so that the shortest-lived one is seen too.
"""

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from console.recovery.server.sql import Server
from console.settings import QuestDBSettings
from console.station.build import Station

WRITES, LOOKS, QUEUE = "canary-may-write-5b1f", "canary-may-look-77c0", "canary-of-the-queue-a93e"
STRACE = ["strace", "-f", "--seccomp-bpf", "-qq", "-v", "-s", "1000000", "-e", "trace=execve"]
_UNEXPECTED = """
import sys, psycopg
from console.cli import run
def connect(*given, **named):
    raise RuntimeError("nobody expected this")
psycopg.connect = connect
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def environment(incident_station: Station, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The station with passwords, and the environment of an operator who knows them."""
    layout = incident_station.layout
    conf = layout.data_root / "conf/server.conf"
    without = conf.read_text()
    conf.write_text(f"{without}\npg.password={WRITES}\npg.readonly.user.enabled=true\npg.readonly.password={LOOKS}\n")
    old = Server(QuestDBSettings(pg_port=layout.pg_port))
    assert old.rows("select reload_config() done") == [{"done": True}]
    redis.Redis(port=layout.redis_port).config_set("requirepass", QUEUE)
    place = tmp_path_factory.mktemp("operator")
    yield {
        **{key: value for key, value in os.environ.items() if not key.startswith("WALMEDIC_")},
        "XDG_STATE_HOME": str(place / "home"),
        "WALMEDIC_STATE_DIR": str(place / "state"),
        "WALMEDIC_CONFIG": str(layout.settings_file),
        "WALMEDIC_QUESTDB_PASSWORD": WRITES,
        "WALMEDIC_QUESTDB_READONLY_USER": "user",
        "WALMEDIC_QUESTDB_READONLY_PASSWORD": LOOKS,
        "WALMEDIC_REDIS_PASSWORD": QUEUE,
    }
    conf.write_text(without)
    new = Server(QuestDBSettings(pg_port=layout.pg_port, password=WRITES))
    assert new.rows("select reload_config() done") == [{"done": True}]
    redis.Redis(port=layout.redis_port, password=QUEUE).config_set("requirepass", "")
    incident_station.processes.start("batch-writer")  # which a test here froze


def called(
    environment: dict[str, str], trace: Path, *words: str, program: tuple[str, ...] = ("-m", "console")
) -> tuple[int, str]:
    """Return exit status and output of one command, traced."""
    command = [*STRACE, "-o", str(trace), sys.executable, *program, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    return done.returncode, done.stdout + done.stderr


def executed(trace: Path) -> list[tuple[str, str]]:
    """Return (arguments, environment) of each program that was started, as strace writes them."""
    text = trace.read_text(errors="replace")
    found = re.findall(r"execve\(\".*?\", \[(.*?)\], \[(.*)\]?(?:\) = 0| <unfinished)", text)
    assert found, text[:500]
    return found


def test_nothing_that_is_started_gets_a_password(
    incident_station: Station, environment: dict[str, str], tmp_path: Path
) -> None:
    name = incident_station.settings().station_name
    # What the passwords are for works with them; doctor would say so otherwise.
    commands = {
        "doctor": (["doctor"], 0),
        "check": (["check", "--json"], 1),
        "freeze": (["run", "freeze-writer", "--confirm", f"freeze-writer {name}"], 0),
        "plan": (["plan", "restore-sequencer", "market_trades"], None),
        "rehearse": (["rehearse", "restore-sequencer", "market_trades"], None),
        "bundle": (["bundle", "--yes", "--to", str(tmp_path / "bundle.tar.gz")], 0),
        "report": (["report"], 0),
        "journal": (["journal", "--verify"], 0),
    }
    said, programs = {}, []
    for key, (words, status) in commands.items():
        exit_status, said[key] = called(environment, tmp_path / f"{key}.strace", *words)
        assert status is None or exit_status == status, said[key]
        programs += executed(tmp_path / f"{key}.strace")
    assert "observe as 'user', operate as 'admin': both let in" in said["doctor"]
    assert sum("io.questdb.ServerMain" in arguments for arguments, _ in programs) >= 1, said["rehearse"]
    for arguments, variables in programs:
        assert "canary" not in arguments
        if "canary" in variables:  # walmedic itself, and none else
            assert '"-m", "console"' in arguments, arguments
    assert not any("canary" in each for each in said.values())
    kept = [path for path in Path(environment["WALMEDIC_STATE_DIR"]).rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"canary" in path.read_bytes()]
    with tarfile.open(tmp_path / "bundle.tar.gz") as bundle:
        members = [bundle.extractfile(member) for member in bundle if member.isfile()]
        assert len(members) > 5
        assert not any(b"canary" in member.read() for member in members if member is not None)


def test_the_traceback_of_the_unexpected_keeps_them_out(environment: dict[str, str], tmp_path: Path) -> None:
    status, said = called(environment, tmp_path / "strace", "check", "--json", program=("-c", _UNEXPECTED))
    log = Path(environment["XDG_STATE_HOME"], "walmedic/walmedic.log").read_text()
    assert status == 8
    assert "an unexpected RuntimeError" in said
    assert "nobody expected this" in log
    assert "Traceback" in log
    assert "canary" not in said + log

"""`doctor`: each setting with its source, what can be done here, and never a secret."""

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from console.commands.doctor import doctor
from console.probes.checkup import known_settings
from console.settings import load


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WALMEDIC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(doctor, arguments, standalone_mode=False)


def database(tmp_path: Path) -> Path:
    table = tmp_path / "root/db/trades~1"
    table.mkdir(parents=True)
    (table / "_txn").write_bytes(bytes(64))
    return tmp_path / "root"


def test_a_bare_directory_is_no_problem_and_says_what_is_left_out(tmp_path: Path) -> None:
    result = run("--db-root", str(database(tmp_path)), "--json")
    assert result.return_value == 0
    document = json.loads(result.output)
    assert document["schema"] == 1
    levels = {check["subject"]: check["level"] for check in document["checks"]}
    assert levels["data root"] == "ok"
    assert levels["server lock"] == "note"  # a copy without it: nobody can know
    assert levels["QuestDB"] == levels["Redis"] == levels["services"] == "note"
    assert set(levels.values()) <= {"ok", "note"}
    sources = {each["key"]: each["source"] for each in document["settings"]}
    assert sources["questdb.db_root"] == "command line"


def test_what_to_rehearse_with_is_named_or_missed(tmp_path: Path) -> None:
    root = str(database(tmp_path))
    said = {}
    for jar in ("", str(tmp_path / "none.jar"), __file__):
        file = tmp_path / "walmedic.toml"
        file.write_text(f'[questdb]\ndb_root = "{root}"\njar = "{jar}"\njava = "{sys.executable}"\n')
        document = json.loads(run("--config", str(file), "--json").output)
        said[jar] = next((c["level"], c["said"]) for c in document["checks"] if c["subject"] == "rehearsal")
    assert [level for level, _ in said.values()] == ["note", "problem", "ok"]
    assert "set questdb.jar" in said[""][1]


def test_what_is_configured_and_cannot_be_reached_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "walmedic.toml"
    file.write_text(
        f'[questdb]\ndb_root = "{database(tmp_path)}"\npg_port = 1\nhealth_port = 1\n'
        '[redis]\nport = 1\n[[redis.streams]]\nname = "trades"\n'
        f'[services]\nbackend = "supervisor"\nsocket = "{tmp_path}/none.sock"\n'
        '[[services.units]]\nname = "questdb"\nrole = "database"\n'
    )
    result = run("--config", str(file), "--json")
    assert result.return_value == 8
    found = {check["subject"]: check for check in json.loads(result.output)["checks"]}
    assert {name for name, check in found.items() if check["level"] == "problem"} == {"QuestDB", "Redis", "services"}
    assert "nothing listens there" in found["Redis"]["said"]
    text = run("--config", str(file))
    assert text.return_value == 8
    assert f"questdb.pg_port            1  ({file})" in text.output
    assert "✗ problem  services" in text.output


def test_a_root_that_is_none_and_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    result = run("--db-root", str(tmp_path / "nothing"), "--json")
    assert result.return_value == 8
    found = {check["subject"]: check for check in json.loads(result.output)["checks"]}
    assert found["data root"]["level"] == "problem"
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    result = run("--db-root", str(database(tmp_path)), "--state-dir", str(open_to_all), "--json")
    found = {check["subject"]: check for check in json.loads(result.output)["checks"]}
    assert found["state directory"]["level"] == "problem"
    assert "chmod 700" in found["state directory"]["said"]


def test_looking_changes_nothing(tmp_path: Path) -> None:
    root = database(tmp_path)
    before = sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    run("--db-root", str(root), "--state-dir", str(tmp_path / "not/there/yet"))
    assert sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_no_secret_is_ever_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("QUESTDB_PASSWORD", "QUESTDB_READONLY_PASSWORD", "REDIS_PASSWORD")
    for number, name in enumerate(secrets):
        monkeypatch.setenv(f"WALMEDIC_{name}", f"canary-{number}")
    monkeypatch.setenv("WALMEDIC_QUESTDB_PG_PORT", "1")
    file = tmp_path / "walmedic.toml"
    file.write_text(f'[questdb]\ndb_root = "{database(tmp_path)}"\n')
    for arguments in ([], ["--json"]):
        assert "canary" not in run("--config", str(file), *arguments).output
    shown = {each.key: each for each in known_settings(load(file))}
    assert (shown["redis.password"].value, shown["redis.password"].source) == ("set, not shown", "environment")

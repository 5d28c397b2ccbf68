"""Settings: which source wins, what is refused and how it is said, and that secrets stay secret."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import paths
from console import settings as module
from console.settings import RedisSettings, Role, Settings, SettingsError, Stream, Unit, for_db_root, load

NOWHERE: dict[str, str] = {}
FULL = """
station = "ai-trading-station"
state_dir = "/var/lib/walmedic"

[questdb]
db_root = "/srv/questdb"
pg_port = 8813

[redis]
port = 6380

[[redis.streams]]
name = "market_trades_stream"
table = "market_trades"
max_length = 5000000

[[redis.streams]]
name = "market_orderbook_stream"
group = "writers"

[services]
backend = "systemd-user"

[[services.units]]
name = "questdb"
role = "database"

[[services.units]]
name = "batch-writer"
role = "writer"
"""


@pytest.fixture(autouse=True)
def no_file_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "default_settings_file", lambda: tmp_path / "none.toml")


def written(tmp_path: Path, text: str, mode: int = 0o644) -> Path:
    file = tmp_path / "walmedic.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_defaults_are_those_of_questdb_and_redis() -> None:
    found = load(environment=NOWHERE)
    assert found == Settings()
    assert (found.questdb.pg_port, found.questdb.http_port, found.redis.port) == (8812, 9000, 6379)
    assert found.services.backend == "none"
    assert found.station_name == "station"


def test_a_whole_file(tmp_path: Path) -> None:
    file = written(tmp_path, FULL)
    found = load(file, environment=NOWHERE)
    assert found.file == str(file)
    assert found.redis.streams == (
        Stream("market_trades_stream", "batch-writer", "market_trades", 5_000_000),
        Stream("market_orderbook_stream", "writers"),
    )
    assert found.services.units == (Unit("questdb", Role.DATABASE), Unit("batch-writer", Role.WRITER))
    assert found.services.named(Role.WRITER) == ("batch-writer",)
    assert found.state_path == Path("/var/lib/walmedic")
    assert found.sources["questdb.pg_port"] == str(file)
    assert "questdb.http_port" not in found.sources


def test_file_then_environment_then_flags(tmp_path: Path) -> None:
    file = written(tmp_path, '[questdb]\npg_port = 1\nhttp_port = 1\nhealth_port = 1\nuser = "file"\n')
    environment = {"WALMEDIC_QUESTDB_HTTP_PORT": "2", "WALMEDIC_QUESTDB_HEALTH_PORT": "2", "PATH": "/bin"}
    found = load(file, {"questdb": {"health_port": 3}}, environment)
    assert (found.questdb.pg_port, found.questdb.http_port, found.questdb.health_port) == (1, 2, 3)
    assert found.questdb.user == "file"
    assert [found.sources[f"questdb.{key}"] for key in ("pg_port", "http_port", "health_port")] == [
        str(file), "environment", "command line",
    ]  # fmt: skip


@given(st.tuples(*[st.none() | st.integers(1, 65_535)] * 3))
def test_the_strongest_source_that_speaks_wins(
    tmp_path_factory: pytest.TempPathFactory, ports: tuple[int | None, ...]
) -> None:
    in_file, in_environment, in_flag = ports
    file = tmp_path_factory.getbasetemp() / "precedence.toml"
    file.write_text(f"[redis]\nport = {in_file}\n" if in_file else "")
    environment = {"WALMEDIC_REDIS_PORT": str(in_environment)} if in_environment else {}
    flags = {"redis": {"port": in_flag}} if in_flag else None
    assert load(file, flags, environment).redis.port == (in_flag or in_environment or in_file or 6379)


def test_the_environment_names_the_file_and_a_flag_another(tmp_path: Path) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text('station = "one"')
    other.write_text('station = "other"')
    assert load(environment={"WALMEDIC_CONFIG": str(one)}).station == "one"
    assert load(other, environment={"WALMEDIC_CONFIG": str(one)}).station == "other"


def test_the_default_file_is_read_where_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, 'station = "default"')
    monkeypatch.setattr(paths, "default_settings_file", lambda: file)
    assert load(environment=NOWHERE).station == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("statoin = 'x'", "there is no setting 'statoin'"),
        ("[questdb]\nport = 1", "there is no setting 'questdb.port'; known here: database, db_root"),
        ("[questdb]\npg_port = 'many'", "questdb.pg_port must be a whole number, not 'many'"),
        ("[questdb]\ndb_root = 3", "questdb.db_root must be text, not 3"),
        ("questdb = 3", "questdb must be a table"),
        ("[redis]\nport = 70000", "redis.port must be a port from 1 to 65535, not 70000"),
        ("[redis]\nport = true", "redis.port must be a whole number, not True"),
        (
            "[services]\nbackend = 'upstart'",
            "services.backend must be one of systemd, systemd-user, supervisor",
        ),
        ("[[services.units]]\nname = 'x'\nrole = 'feed'\nstop = 'sv stop x'", "stop must be a list of words"),
        ("[[services.units]]\nname = 'pod/x'\nrole = 'feed'", "'pod/x' is no name of a unit"),
        ("[[services.units]]\nname = 'x'\nrole = 'king'", "role must be one of database, writer, feed, queue"),
        ("[[services.units]]\nrole = 'feed'", "every entry of services.units needs a name"),
        *(
            (f"[[services.units]]\nname = {json.dumps(name)}\nrole = 'feed'", f"{name!a} is no name of a unit")
            for name in (
                "../../etc/x",
                "--force",
                "a b",
                "[/b]",
                "\x1b[2J",
                "x\ny",
                "q'uote",
                "",
                "qu\u0435stdb",
                "x" * 256,
            )
        ),
        ("[[redis.streams]]\nname = 'x'\nmaxlen = 3", "redis.streams has no key 'maxlen'"),
        ("[redis]\nstreams = 'x'", "redis.streams must be a list of tables such as [[redis.streams]]"),
        ("bare = true", "there is no setting 'bare'"),
        ("a = [", "is not valid TOML"),
    ],
)
def test_what_cannot_be_used_is_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        load(file, environment=NOWHERE)
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(file))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "missing.toml", environment=NOWHERE)
    with pytest.raises(SettingsError, match=r"there is no setting 'redis\.prot'"):
        load(environment={"WALMEDIC_REDIS_PROT": "1"})


@pytest.mark.parametrize("key", sorted(module._SECRETS))
def test_a_file_with_a_secret_must_be_private(tmp_path: Path, key: str) -> None:
    section, name = key.split(".")
    text = f'[{section}]\n{name} = "canary-secret"\n'
    for mode in (0o644, 0o640, 0o604, 0o602):
        with pytest.raises(SettingsError, match="chmod 600") as refused:
            load(written(tmp_path, text, mode), environment=NOWHERE)
        assert "canary" not in str(refused.value)
    found = load(written(tmp_path, text, 0o600), environment=NOWHERE)
    assert getattr(getattr(found, section), name) == "canary-secret"


def test_a_secret_of_the_wrong_kind_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, "[redis]\npassword = 4711\n", 0o600), environment=NOWHERE)
    assert str(refused.value).endswith("redis.password must be text")


def test_secrets_by_systemd_credential(tmp_path: Path) -> None:
    """Stronger than a file, weaker than the environment; what cannot be read is said, and never what it held."""
    for section, name in module._SECRET_KEYS:
        (tmp_path / f"walmedic.{section}.{name}").write_text(f"canary-{name}\n")
    found = load(environment={**NOWHERE, "CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (found.redis.password, found.questdb.readonly_password) == ("canary-password", "canary-readonly_password")
    assert found.sources["redis.password"] == "systemd credential"
    assert "canary" not in repr(found)
    stronger = {**NOWHERE, "CREDENTIALS_DIRECTORY": str(tmp_path), "WALMEDIC_REDIS_PASSWORD": "other"}
    assert load(environment=stronger).redis.password == "other"
    (tmp_path / "walmedic.redis.password").write_bytes(b"canary\xff")
    with pytest.raises(SettingsError, match=r"walmedic\.redis\.password is no text") as refused:
        load(environment={**NOWHERE, "CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_secrets_never_show() -> None:
    environment = {"WALMEDIC_QUESTDB_PASSWORD": "canary-1", "WALMEDIC_REDIS_PASSWORD": "canary-2"}
    found = load(environment={**environment, "WALMEDIC_QUESTDB_READONLY_PASSWORD": "canary-3"})
    assert found.redis.password == "canary-2"
    assert "canary" not in repr(found)
    assert "canary" not in repr(found.sources)
    secret = {
        f"{section}.{f.name}"
        for section in ("questdb", "redis")
        for f in dataclasses.fields(getattr(found, section))
        if not f.repr
    }
    assert secret == module._SECRETS


def test_a_copy_is_never_taken_for_the_station(tmp_path: Path) -> None:
    station = load(written(tmp_path, FULL.replace("/srv/questdb", str(tmp_path / "station"))), environment=NOWHERE)
    (tmp_path / "station/db").mkdir(parents=True)
    (tmp_path / "alias").symlink_to(tmp_path / "station")
    for same in ("station", "station/db", "alias", "alias/db"):
        assert for_db_root(station, str(tmp_path / same)) is station
    copy = for_db_root(station, str(tmp_path / "copy"))
    assert copy.bare
    assert (copy.services, copy.redis) == (Settings().services, Settings().redis)
    assert copy.state_dir == station.state_dir
    assert copy.station_name == "copy"


@pytest.mark.parametrize(("root", "name"), [("/srv/qdb", "qdb"), ("/srv/qdb/db", "qdb"), ("", "station")])
def test_a_station_without_a_name_is_called_after_its_directory(root: str, name: str) -> None:
    assert load(flags={"questdb": {"db_root": root}}, environment=NOWHERE).station_name == name


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://queue", {"host": "queue"}),
        ("redis://queue:6380/3", {"host": "queue", "port": 6380, "database": 3}),
        ("redis://[::1]:6380", {"host": "::1", "port": 6380}),
        ("valkeys://u@queue", {"host": "queue", "user": "u", "tls": True}),
        ("rediss://me:p%40ss@queue/1", {"host": "queue", "user": "me", "password": "p@ss", "database": 1, "tls": True}),
        ("redis://:p@queue", {"host": "queue", "password": "p"}),
        ("unix:///run/redis.sock?db=2", {"socket": "/run/redis.sock", "database": 2}),
    ],
)
def test_a_url_says_where_redis_is(tmp_path: Path, url: str, expected: dict[str, Any]) -> None:
    file = written(tmp_path, f'[redis]\nurl = "{url}"\n', 0o600)
    found = load(file, environment=NOWHERE).redis
    assert found == dataclasses.replace(RedisSettings(url=found.url), **expected)
    assert "p%40ss" not in found.url
    assert ":p@" not in found.url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('url = "http://queue"', "redis.url must be redis://HOST:PORT/DATABASE"),
        ('url = "redis://"', "redis.url must be redis://HOST:PORT/DATABASE"),
        ('url = "redis://queue:port"', "host or port cannot be read"),
        ('url = "redis://queue/first"', "the database must be a number, not 'first'"),
        ('url = "redis://queue?ssl=true"', "redis.url takes no parameter 'ssl'"),
        ('url = "unix://run/redis.sock"', "a path begins with three slashes"),
        ('url = "redis://queue"\nhost = "other"', "redis.url says what redis.host says: keep one of them"),
        ('url = "rediss://queue"\ntls = false', "redis.url says what redis.tls says: keep one of them"),
        ('nodes = ["queue"]', "redis.nodes must be HOST:PORT each, not 'queue'"),
        ('nodes = "queue:1"', "redis.nodes must be a list of words"),
        ('cluster = "maybe"', "redis.cluster must be true or false, not 'maybe'"),
        ('cluster = true\nsentinel_master = "m"', "redis.sentinel_master and redis.cluster are both set"),
    ],
)
def test_a_redis_that_cannot_be_meant_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, f"[redis]\n{text}\n", 0o600), environment=NOWHERE)
    assert message in str(refused.value)


def test_a_password_in_a_url_is_a_secret(tmp_path: Path) -> None:
    file = written(tmp_path, '[redis]\nurl = "redis://me:canary@queue"\n', 0o644)
    with pytest.raises(SettingsError, match="holds a password and can be read by others"):
        load(file, environment=NOWHERE)
    file.chmod(0o600)
    found = load(file, environment=NOWHERE)
    assert found.redis.url == "redis://me@queue"
    assert "canary" not in repr(found)
    with pytest.raises(SettingsError) as refused:
        load(file, environment={**NOWHERE, "WALMEDIC_REDIS_PASSWORD": "other"})
    assert "canary" not in str(refused.value)

"""Who connects as whom: one who looks never brings the password of the one who may write, on a real server."""

import contextlib
import dataclasses
import gc
import os
import signal
import time
import types
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import console.questdb_client.connect as client
from console.diagnosis.server.facts import ServerFacts, read_server_facts
from console.diagnosis.server.sql import NoAnswer, server_of
from console.probes.checks import Level
from console.probes.checkup import checkup
from console.probes.sample import Status
from console.probes.scheduler import read_once
from console.probes.server import ServerProbe
from console.probes.station import station_probes
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server, SqlError
from console.settings import QuestDBSettings, Settings

CANARY = "canary-of-the-one-who-may-write"
SLOW = "select count() from long_sequence(100000000000) where rnd_int() > 2000000000"


@pytest.fixture(scope="module")
def server(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    settings = {"pg.readonly.user.enabled": "true", "pg.readonly.user": "watch", "pg.readonly.password": "looking"}
    with PrivateServer(tmp_path_factory.mktemp("roles"), questdb, settings=settings, http=True) as running:
        running.query("create table trades (ts timestamp, price double) timestamp(ts) partition by day wal")
        running.query("insert into trades values ('2025-01-01', 1)")
        yield running


@pytest.fixture
def settings(server: PrivateServer, tmp_path: Path) -> Settings:
    """Both users; the password of the one who may write is wrong: whoever brought it would be sent away."""
    quest = QuestDBSettings(
        str(server.root),
        pg_port=server.pg_port,
        health_port=server.http_port,
        password=CANARY,
        readonly_user="watch",
        readonly_password="looking",
    )
    return Settings(state_dir=str(tmp_path / "state"), questdb=quest)


def operating(settings: Settings) -> QuestDBSettings:
    return dataclasses.replace(settings.questdb, password="quest")


def held(root: object) -> set[int]:
    """Return the identities of all that can be reached from `root`, code aside."""
    seen, left = set(), [root]
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, type | types.ModuleType | types.FunctionType | types.CodeType):
            continue
        seen.add(id(each))
        left += gc.get_referents(each)
    return seen


async def test_all_that_looks_does_it_as_the_read_only_user(server: PrivateServer, settings: Settings) -> None:
    database = DatabaseRoot.locate(server.root)
    with pytest.raises(SqlError, match="invalid username/password"):
        Server(settings.questdb).rows("select 1")
    assert Server(settings.questdb.observing()).rows("select 1 one") == [{"one": 1}]
    assert isinstance(read_server_facts(settings.questdb, database), ServerFacts)
    probe = ServerProbe(settings)
    sample = await probe.read()
    assert sample.status is Status.OK
    assert sample.data is not None
    assert sample.data.read_only_user
    await probe.close()
    plan = Engine(settings).plan("resume-wal", "trades")
    assert not plan.refused, plan.refused
    assert "not suspended" in plan.why


async def test_no_probe_holds_the_other_password(settings: Settings) -> None:
    own = next(value for value in [settings.questdb.password] if value == CANARY)
    assert id(own) in held(settings)  # what the search would find
    probes = station_probes(settings)
    for probe in probes:
        await read_once(probe)
    assert id(own) not in held(probes)
    for probe in probes:
        await probe.close()


def test_the_read_only_user_changes_nothing(server: PrivateServer, settings: Settings) -> None:
    looking = Server(settings.questdb.observing())
    before = looking.rows("select count() n from trades")
    for statement in (
        "insert into trades values ('2025-01-02', 1)",
        "alter table trades resume wal",
        "create table other (v long)",
        "drop table trades",
        "truncate table trades",
    ):
        with pytest.raises(SqlError, match="denied"):
            looking.rows(statement)
    assert looking.rows("select count() n from trades") == before
    Server(operating(settings)).rows("insert into trades values ('2025-01-02', 1)")


async def test_doctor_tries_both_logins(settings: Settings) -> None:
    right = dataclasses.replace(settings, questdb=operating(settings))
    found_checks = [each for each in await checkup(right) if each.subject == "QuestDB"]
    assert any("observe as 'watch', operate as 'admin': both let in" in each.said for each in found_checks)
    wrong = [each for each in await checkup(settings) if each.level is Level.PROBLEM]
    assert any("operate as 'admin' cannot work" in each.said for each in wrong)
    assert not any(CANARY in each.said for each in wrong)


@contextlib.contextmanager
def stopped(server: PrivateServer) -> Iterator[None]:
    """A process that hangs: its kernel goes on to take what is sent to it."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    threads = psutil.Process(server.pid).threads()
    while any(_state(server.pid, thread.id) != "T" for thread in threads):
        time.sleep(0.01)  # one that runs at this moment stops a little later
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def _state(process: int, thread: int) -> str:
    return Path(f"/proc/{process}/task/{thread}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_statement_ends_at_its_deadline(
    server: PrivateServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cancelled on the server, which gets long enough for that on any machine."""
    monkeypatch.setattr(client, "_CANCEL", 30.0)
    with pytest.raises(SqlError, match=r"did not answer .* within 0\.3 s"):
        Server(operating(settings)).rows(SLOW, deadline=0.3)
    database = DatabaseRoot.locate(server.root)
    with server_of(settings.questdb, database) as looking:
        with pytest.raises(NoAnswer, match=r"no answer within 0\.3 s"):
            looking.rows(SLOW, 0.3)
        assert looking.rows("select 1 one") == [{"one": 1}]  # the connection survives that
        running = looking.rows("select query from query_activity()")
        assert not any("100000000000" in str(row["query"]) for row in running), running


def test_a_server_that_hangs_is_cut_off(server: PrivateServer, settings: Settings) -> None:
    with server_of(settings.questdb, DatabaseRoot.locate(server.root)) as looking, stopped(server):
        started = time.monotonic()
        with pytest.raises(NoAnswer, match=r"no answer within 0\.3 s"):
            looking.rows("wal_tables()", 0.3)
        assert time.monotonic() - started < 30  # it would wait for as long as the server hangs

"""The QuestDB, tables and crash probes on a real server: used, killed, back, crashed, damaged while it is watched."""

import asyncio
import dataclasses
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.diagnosis.model import Code, DatabaseReport, TableReport, Verdict
from console.errors import WalmedicError
from console.probes.backlog import BacklogProbe
from console.probes.contents import ServerSample, WalTable
from console.probes.crashes import CrashesProbe
from console.probes.sample import Sample, Status
from console.probes.server import ServerProbe
from console.probes.tables import TablesProbe
from console.probes.wal import WalProbe
from console.questdb_client import watch
from console.questdb_client.watch import PgWire, ServerUnreachable
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, RedisSettings, Settings, Stream


@pytest.fixture(scope="module")
def server(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    root = tmp_path_factory.mktemp("questdb")
    settings = {"pg.readonly.user.enabled": "true", "cairo.wal.purge.interval": "1000"}
    running = PrivateServer(root, questdb, settings=settings, http=True)
    running.start()
    running.query("create table trades (ts timestamp, price double) timestamp(ts) partition by day wal")
    yield running
    running.stop()


def settings_of(server: PrivateServer, **changes: object) -> Settings:
    plain = QuestDBSettings(
        str(server.root), pg_port=server.pg_port, http_port=server.http_port, health_port=server.http_port
    )
    return Settings(questdb=dataclasses.replace(plain, **changes))  # type: ignore[arg-type]


def data_of(sample: Sample[ServerSample]) -> ServerSample:
    assert sample.data is not None, sample.error
    return sample.data


def insert(server: PrivateServer, rows: int) -> None:
    server.query(f"insert into trades select ('2025-01-01'::timestamp + x * 1000000L), x from long_sequence({rows})")


async def table_of(probe: TablesProbe, name: str = "trades") -> TableReport:
    sample = await probe.read()
    assert sample.data is not None, sample.error
    return next(table for table in sample.data.tables if table.table == name)


async def wal_of(probe: WalProbe, name: str = "trades") -> WalTable:
    sample = await probe.read()
    assert sample.data is not None, sample.error
    assert sample.data.disk is not None
    assert 0 < sample.data.disk.free < sample.data.disk.total
    found = sample.data.of(name)
    assert found is not None
    return found


async def test_what_the_server_says(server: PrivateServer) -> None:
    probe = ServerProbe(settings_of(server))
    first = await probe.read()
    data = data_of(first)
    assert (first.status, first.error) == (Status.OK, "")
    assert data.version.startswith("9.1")
    assert data.ours is True
    assert Path(data.root) == server.root / "db"
    assert not data.read_only_user
    assert data.warnings[0].startswith("cairo.commit.mode is nosync")
    assert "the server has a read-only user 'user'" in data.warnings[1]
    assert 0 < data.round_trip < 2
    before = next(table for table in data.wal_tables if table.name == "trades")
    await asyncio.sleep(1.1)
    for _ in range(3):
        insert(server, 10)
    await asyncio.sleep(0.5)
    after = next(table for table in data_of(await probe.read()).wal_tables if table.name == "trades")
    assert after.sequencer_txn == before.sequencer_txn + 3
    await probe.close()


async def test_the_read_only_user_is_held_to_it_by_the_server(server: PrivateServer) -> None:
    settings = settings_of(server, readonly_user="user", readonly_password="quest")
    probe = ServerProbe(settings)
    data = data_of(await probe.read())
    assert data.read_only_user
    assert not any("read-only user" in warning for warning in data.warnings)
    await probe.close()
    wire = PgWire(settings.questdb)
    with pytest.raises(WalmedicError, match="denied"):
        await wire.query("insert into trades values (now(), 1)", 2)
    await wire.close()


async def test_a_statement_that_takes_too_long_is_cancelled_and_the_connection_lives(
    server: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_CANCEL", 30.0)  # a busy machine takes its time
    wire = PgWire(settings_of(server).questdb)
    started = time.monotonic()
    with pytest.raises(ServerUnreachable, match=r"did not answer within 0\.3 s"):
        await wire.query("select count() from long_sequence(100000000000) where rnd_int() > 2000000000", 0.3)
    assert time.monotonic() - started < 60
    assert wire.connected
    assert await wire.query("select 1 one", 2) == [{"one": 1}]
    await wire.close()


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"password": "canary-wrong"}, Status.REFUSED, "refuses the user 'admin'"),
        ({"host": "no.such.host.invalid"}, Status.DOWN, "cannot be found"),
        ({"db_root": "/"}, Status.DOWN, "questdb.pg_port and questdb.db_root"),
    ],
    ids=["password", "host", "another root"],
)
async def test_what_is_in_the_way_is_one_sentence(
    server: PrivateServer, changes: dict[str, str], status: Status, said: str
) -> None:
    probe = ServerProbe(settings_of(server, **changes))
    sample = await probe.read()
    assert (sample.status, sample.data) == (status, None)
    assert said in sample.error
    assert "canary" not in sample.error
    assert "\n" not in sample.error
    assert probe.facts(60) is None
    await probe.close()


async def test_a_server_whose_directory_is_not_to_be_seen_here_is_doubted(server: PrivateServer) -> None:
    probe = ServerProbe(settings_of(server, db_root="/srv/in/a/container"))
    sample = await probe.read()
    assert sample.status is Status.DEGRADED
    assert data_of(sample).ours is None
    assert "cannot be proven" in sample.error
    await probe.close()


async def test_an_endpoint_that_never_answers_is_given_up_in_time() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = deaf.getsockname()[1]
        probe = ServerProbe(Settings(questdb=QuestDBSettings("/", pg_port=port, health_port=port)))
        started = time.monotonic()
        sample = await probe.read()
        assert time.monotonic() - started < probe.deadline
        assert sample.status is Status.DOWN
        assert "does not answer within" in sample.error
        await probe.close()


async def test_the_loop_stays_free_while_sources_hang_and_tables_are_read(server: PrivateServer) -> None:
    """The interface lives in the same loop: nothing holds it up for a tenth of a second.

    The best of three tries counts: a machine that is busy with something else holds everything up.
    """
    longest = [await longest_pause(settings_of(server)) for _ in range(3)]
    assert min(longest) < 0.1, longest


async def longest_pause(settings: Settings) -> float:
    """Return the longest time (seconds) that the loop was held while one source hung and the tables were read."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = deaf.getsockname()[1]
        hanging = BacklogProbe(Settings(redis=RedisSettings(port=port, streams=(Stream("trades"),))))
        tables = TablesProbe(settings)
        readings = [asyncio.create_task(hanging.read()), asyncio.create_task(tables.read())]
        longest, before = 0.0, time.monotonic()
        for _ in range(100):
            await asyncio.sleep(0.005)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()
        for reading in readings:
            reading.cancel()
        await hanging.close()
        return longest


async def test_tables_are_followed_though_no_file_time_moves(server: PrivateServer) -> None:
    """The server writes through mappings: what was read before is taken again only while nothing moved."""
    probe = TablesProbe(settings_of(server))
    before = await table_of(probe)
    again = await table_of(probe)
    assert again.rows_applied == before.rows_applied
    for _ in range(3):
        insert(server, 100)
        deadline = time.monotonic() + 10
        while (now := await table_of(probe)).rows_applied != (before.rows_applied or 0) + 100:
            assert time.monotonic() < deadline, now
            await asyncio.sleep(0.05)
        before = now
    assert before.verdict is Verdict.HEALTHY
    await probe.close()


async def test_killed_and_back_while_watched(server: PrivateServer, questdb: ServerBinary) -> None:
    """In between a server that applies nothing: what is logged and not applied is told in transactions and in time."""
    settings = settings_of(server)
    probe = ServerProbe(settings)
    tables = TablesProbe(settings, probe)
    assert (await probe.read()).status is Status.OK
    assert (await tables.read()).data.left_out == ()  # type: ignore[union-attr]
    server.kill()
    gone = [await probe.read() for _ in range(2)]
    assert {sample.status for sample in gone} == {Status.DOWN}
    assert "nothing listens there" in gone[-1].error
    assert (await tables.read()).data.left_out[0].startswith("SQL:")  # type: ignore[union-attr]
    wal = WalProbe(settings)
    level = await wal_of(wal)
    assert (level.behind, level.seconds_behind) == (0, 0.0)
    rows = (await table_of(tables)).rows_applied or 0
    with PrivateServer(server.root, questdb, settings={"cairo.wal.apply.enabled": "false"}) as idle:
        for _ in range(3):
            insert(idle, 100)
        behind = await wal_of(wal)
        assert (behind.behind, (behind.logged or 0) - (level.logged or 0)) == (3, 3)
        assert behind.seconds_behind is not None
        assert 0 < behind.seconds_behind < 60
        assert (await table_of(tables)).rows_unapplied == 300
        deadline = time.monotonic() + 20
        while (later := await wal_of(wal)).rate_in is None:  # a rate is told from a second on
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert later.rate_in > 0
        assert later.rate_out == 0
    await asyncio.to_thread(server.start)
    back = await probe.read()
    assert back.status is Status.OK
    assert data_of(back).ours is True
    deadline = time.monotonic() + 20
    while (now := await wal_of(wal)).behind:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert now.rate_out is not None
    assert now.rate_out > 0
    assert (await table_of(tables)).rows_applied == rows + 300
    await probe.close()


async def test_crashes_are_counted_while_they_happen(server: PrivateServer) -> None:
    """Two real crashes of the JVM: the second one joins the first, and what is no crash log is said to be none."""
    probe = CrashesProbe(settings_of(server))
    before = (await probe.read()).data
    assert before is not None
    assert before.total == 0
    for count in (1, 2):
        started = time.time()
        assert server.pid is not None
        crashed = server.pid
        os.kill(crashed, signal.SIGSEGV)
        assert server.wait_for_exit(30) is not None
        sample = await probe.read()
        assert sample.data is not None
        assert sample.data.total == count
        assert sum(cause.count for cause in sample.data.causes) == count
        assert sum(sample.data.per_bucket) == count
        assert sample.data.last_at is not None
        assert sample.data.last_pid == crashed
        assert started - 2 <= sample.data.last_at <= time.time() + 1
        await asyncio.to_thread(server.start)
    (server.root / "hs_err_pid1.log").write_text("not a crash\x1b[31m log\n")
    doubted = await probe.read()
    assert doubted.status is Status.DEGRADED
    assert doubted.data is not None
    assert doubted.data.total == 2
    assert "\x1b" not in doubted.error
    for log in server.root.glob("hs_err_pid*.log"):
        log.unlink()
    assert (await probe.read()).data.total == 0  # type: ignore[union-attr]


async def test_a_sequencer_that_is_gone_is_seen_from_disk_and_from_sql(server: PrivateServer) -> None:
    """The incident's end state: reads work, writes do not, and the server no longer lists the table."""
    settings = settings_of(server)
    probe = ServerProbe(settings)
    tables = TablesProbe(settings, probe)
    await probe.read()
    healthy = await table_of(tables)
    server.stop()
    directory = next((server.root / "db").glob("trades~*"))
    shutil.rmtree(directory / "txn_seq")
    broken = await table_of(tables)
    assert (broken.verdict, broken.can_read, broken.can_write) == (Verdict.BROKEN, True, False)
    assert broken.has(Code.SEQUENCER_MISSING)
    assert not broken.has(Code.UNLISTED_BY_SERVER)
    assert broken.rows_applied == healthy.rows_applied
    await asyncio.to_thread(server.start)
    await probe.read()
    report: DatabaseReport | None = (await tables.read()).data
    assert report is not None
    assert report.left_out == ()
    assert next(table for table in report.tables if table.table == "trades").has(Code.UNLISTED_BY_SERVER)
    await probe.close()

"""The health port of a real server, with metrics and without: what it says beside SQL and disk, where they differ."""

import asyncio
import json
import shutil
import time
from pathlib import Path

import pytest

from console.cli import run
from console.diagnosis.model import Code, Verdict
from console.probes.checks import Level
from console.probes.checkup import checkup
from console.probes.contents import SecondOpinion, ServerSample
from console.probes.scheduler import read_once
from console.probes.second_opinion import HealthPort, contradictions, get
from console.probes.server import ServerProbe
from console.probes.tables import TablesProbe
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer, free_ports
from console.settings import QuestDBSettings, Settings
from console.widgets.line import plain
from screens.panes import server as pane
from screens.panes.reading import UNREAD, Source

WITH = {"metrics.enabled": "true", "dev.mode.enabled": "true"}


def make(root: Path, binary: ServerBinary, **settings: str) -> tuple[PrivateServer, Settings]:
    (port,) = free_ports(1)
    own = {"http.min.enabled": "true", "http.min.net.bind.to": f"127.0.0.1:{port}"}
    server = PrivateServer(root, binary, settings={**own, **settings}, http=True)
    server.start()
    quest = QuestDBSettings(str(root), pg_port=server.pg_port, http_port=server.http_port, health_port=port)
    return server, Settings(state_dir=str(root.parent / "state"), questdb=quest)


@pytest.fixture(scope="module")
def root(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of three tables, the sequencer of the first one removed while the server was down."""
    root = tmp_path_factory.mktemp("opinion") / "root"
    root.mkdir()
    server, _ = make(root, questdb, **WITH)
    for name in ("gone", "held", "well"):
        server.query(f"create table {name} (ts timestamp, v long) timestamp(ts) partition by day wal")
        server.query(f"insert into {name} values ('2025-01-01', 1)")
    server.stop()
    (directory,) = (each for each in (root / "db").glob("gone~*") if each.is_dir())
    shutil.rmtree(directory / "txn_seq")
    return root


async def sampled(settings: Settings) -> ServerSample:
    probe = ServerProbe(settings)
    sample = await probe.read()
    await probe.close()
    assert sample.data is not None, sample.error
    return sample.data


def suspended(sample: ServerSample) -> int:
    return sum(table.suspended for table in sample.wal_tables)


async def test_with_metrics(
    root: Path, questdb: ServerBinary, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, settings = make(root, questdb, **WITH)
    try:
        data = await sampled(settings)
        async with asyncio.timeout(30):
            while not data.opinion.suspended:  # the server finds it missing about a second after its start
                await asyncio.sleep(0.1)
                data = await sampled(settings)
        second = data.opinion
        assert (second.health, second.healthy, second.metrics, second.unhandled_errors) == (
            "Status: Healthy",
            True,
            True,
            0,
        )
        assert second.resident is not None
        assert second.heap_used is not None
        assert second.heap_limit is not None
        assert 0 < second.heap_used < second.heap_limit
        assert second.resident > 50 << 20
        # The table without a sequencer: not listed by SQL, broken on disk, counted as suspended by the metrics.
        report = (await read_once(TablesProbe(settings, None))).data
        assert report is not None
        assert [t.table for t in report.tables if t.verdict is Verdict.BROKEN] == ["gone"]
        assert (second.suspended, suspended(data)) == (1, 0)
        green, hidden = contradictions(second, suspended(data), report)
        assert green == (
            "the health port says 'Status: Healthy', yet 1 table is broken (gone): it does not look at tables"
        )
        assert hidden.startswith("its metrics count 1 suspended table, wal_tables() shows 0: a table that the server")
        shown = "\n".join(map(plain, pane.lines(Source(data), UNREAD, report, 200)))
        assert green in shown
        assert hidden in shown
        assert "Status: Healthy · 0 unhandled errors · 0 failed queries · memory " in shown
        # The command says the same, and which table it is.
        monkeypatch.setenv("XDG_STATE_HOME", str(root.parent / "state"))
        called = ["check", "--db-root", str(root), "--json", *configured(root, settings)]
        assert await asyncio.to_thread(run, called) == 1
        document = json.loads(capsys.readouterr().out)
        opinion = document["second_opinion"]
        assert (opinion["suspended"], opinion["contradictions"][0]) == (1, green)
        assert opinion["contradictions"][1].endswith("is counted and not listed (gone)")
        assert any(f["code"] == Code.UNLISTED_BY_SERVER.value for t in document["tables"] for f in t["findings"])
        # A statement that fails is counted, and a RESUME WAL of a table that is well takes the broken one off.
        with pytest.raises(Exception, match="_wal_index"):
            server.query("insert into gone values (now(), 1)")
        server.query("alter table well resume wal")
        after = await sampled(settings)
        assert (after.opinion.failed_queries, after.opinion.suspended) == (1, 0)
        (only,) = contradictions(after.opinion, suspended(after), report)
        assert "and its metrics count no suspended table, yet 1 table is broken (gone)" in only
        server.query("alter table held suspend wal")
        server.query("alter table well resume wal")
        held = await sampled(settings)
        assert (held.opinion.suspended, suspended(held)) == (0, 1)
        assert "trust wal_tables()" in contradictions(held.opinion, suspended(held), report)[1]
        server.query("alter table held resume wal")
    finally:
        server.stop()


async def test_rows_are_counted_to_a_rate(root: Path, questdb: ServerBinary) -> None:
    server, settings = make(root, questdb, **WITH)
    try:
        port = HealthPort(settings.questdb)
        assert (await port.read()).rows_written is None
        server.query("insert into well select ('2025-01-02'::timestamp + x), x from long_sequence(1000)")
        deadline = time.monotonic() + 30
        while not ((second := await port.read(5.0)).rows_applied and second.rows_written):
            assert time.monotonic() < deadline, second
            await asyncio.sleep(0.3)
    finally:
        server.stop()


async def test_without_metrics_it_answers_healthy_to_everything(root: Path, questdb: ServerBinary) -> None:
    server, settings = make(root, questdb)
    try:
        for path in ("/metrics", "/status", "/no/such/thing"):
            answer = await get("127.0.0.1", settings.questdb.health_port, path, 5.0)
            assert answer == (200, b"Status: Healthy")
        data = await sampled(settings)
        assert data.opinion == SecondOpinion("Status: Healthy", healthy=True)
        shown = "\n".join(map(plain, pane.lines(Source(data), UNREAD, None, 200)))
        assert "Status: Healthy · no metrics (server.conf: metrics.enabled=true)" in shown
        messages = [check.said for check in await checkup(settings) if check.level is Level.OK]
        assert any("without metrics (server.conf: metrics.enabled=true)" in each for each in messages)
        # HTTP that is not the health port: the status counts, and nothing is taken for a number.
        assert await get("127.0.0.1", server.http_port, "/metrics", 5.0) == (404, b"Not Found\r\n")
        assert await get("127.0.0.1", server.pg_port, "/status", 0.5) is None
    finally:
        server.stop()
    silent = SecondOpinion(f"its health port {settings.questdb.health_port} does not answer")
    assert await HealthPort(settings.questdb).read() == silent


def configured(root: Path, settings: Settings) -> list[str]:
    file = root.parent / "walmedic.toml"
    quest = settings.questdb
    file.write_text(f'[questdb]\ndb_root = "{root}"\npg_port = {quest.pg_port}\nhealth_port = {quest.health_port}\n')
    return ["--config", str(file)]

"""Each QuestDB version at work: what walmedic asks of it, and the actions that work through it.

One server of that version on its own database, some of whose tables it suspends.
"""

import shutil
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from console.diagnosis.model import Code
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, Settings
from tests.real.generated_tables import applied_txn
from tests.real.versions import binary_of
from tests.real.waiting import until
from tests.versions.test_versions import CHOSEN
from tests.versions.world import SETTINGS, World, make

pytestmark = pytest.mark.faults

_COPIED = ("every_wal", "keyed", "altered", "kept", "nanos")
_RESUMED = "by_week"


@dataclass(frozen=True)
class Running:
    """A server on a database of its version, and the engine of its station."""

    world: World
    server: PrivateServer
    engine: Engine

    @property
    def copied(self) -> list[str]:
        """The tables that the server cannot apply to."""
        return [name for name in _COPIED if name in self.world.tables]


@pytest.fixture(scope="module", params=CHOSEN)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Break the first waiting record of some tables, start the server, wait until it has suspended them."""
    work: Path = tmp_path_factory.mktemp(request.param).resolve()
    world = make(work / "root", request.param)
    for name in _COPIED:
        if name in world.tables:
            _zero_first_waiting(next(path for path in (world.root / "db").glob(f"{name}~*") if path.is_dir()))
    settings = {**SETTINGS, "dev.mode.enabled": "true"}
    with PrivateServer(world.root, binary_of(world.version), settings=settings) as server:
        questdb = QuestDBSettings(db_root=str(world.root), pg_port=server.pg_port)
        engine = Engine(Settings(state_dir=str(work / "state"), questdb=questdb))
        found = Running(world, server, engine)
        until(lambda: _suspended(server) >= set(found.copied), "the server suspends them")
        until(lambda: not _behind(server), "the server applies the others")
        yield found
    shutil.rmtree(work, ignore_errors=True)


def _zero_first_waiting(table: Path) -> None:
    log = table / "txn_seq" / "_txnlog"
    content = bytearray(log.read_bytes())
    struct.pack_into("<28s", content, 76 + 28 * applied_txn(table), bytes(28))
    log.write_bytes(content)


def _suspended(server: PrivateServer) -> set[str]:
    return {str(row[0]) for row in server.query("SELECT name, suspended FROM wal_tables()") if row[1]}


def _behind(server: PrivateServer) -> bool:
    rows = server.query("SELECT suspended, writerTxn, sequencerTxn FROM wal_tables()")
    return any(row[1] < row[2] for row in rows if not row[0])


def test_what_the_server_says_is_read(running: Running) -> None:
    """From 9.3 a table of nanoseconds has times in tables() that no client can read."""
    report = running.engine.diagnosis()
    assert report.left_out == ()
    told = {table.table for table in report.tables if table.has(Code.TABLE_SUSPENDED)}
    assert told == set(running.copied)
    others = {table.table: table.verdict for table in report.tables if table.table not in running.copied}
    if (8, 1, 0) <= running.world.numbers < (9, 0, 0):
        others.pop("parquet")
    assert set(others.values()) == {"healthy"}, others


def test_a_suspended_table_is_resumed(running: Running) -> None:
    try:
        running.server.query(f"ALTER TABLE {_RESUMED} SUSPEND WAL")
    except psycopg.DatabaseError:
        pytest.skip("this version has no SUSPEND WAL")
    running.server.query(f"INSERT INTO {_RESUMED} (ts) VALUES ('2031-01-01')")
    until(lambda: _RESUMED in _suspended(running.server))
    assert running.engine.diagnosis().tables
    plan = running.engine.plan("resume-wal", _RESUMED)
    result = running.engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, (plan.refused, result)
    until(lambda: not _behind(running.server))


@pytest.mark.parametrize("name", _COPIED)
def test_a_table_that_stands_is_copied_whole(running: Running, name: str) -> None:
    if name not in running.copied:
        pytest.skip("this version has no such table")
    before = Counter(map(repr, running.server.query(f"SELECT * FROM {name}")))
    plan = running.engine.plan("copy-table", name)
    result = running.engine.run(plan, plan.confirmation)
    failed = [claim for claim in result.verification if not claim.ok]
    assert result.outcome is Outcome.DONE, (plan.refused, result.message, failed)
    assert Counter(map(repr, running.server.query(f"SELECT * FROM {name}"))) == before
    running.server.query(f"INSERT INTO {name} (ts) VALUES ('2031-01-01')")
    until(lambda: running.server.query(f"SELECT count() FROM {name}") == [(before.total() + 1,)])

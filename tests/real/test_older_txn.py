"""`_txn` is of before the last commits, or gone with the newest partition: no row of it is lost unannounced.

The WAL is purged, as always once it is applied: what was committed is in the partitions alone.
"""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Code, Severity
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import wait_until_applied
from tests.real.test_convert_table import engine_of
from tests.real.test_sequencer_repairs import captured
from tests.real.waiting import until

_SWEEPS: Final = {"cairo.wal.purge.interval": "500", "cairo.writer.data.append.page.size": "16384"}
_ROWS: Final = (
    "INSERT INTO {} SELECT timestamp_sequence('2024-01-0{}', 1000000L), x, 'k' || (x % 5) FROM long_sequence(100)"
)
_DAYS: Final = {
    "append": ("1", "1T01"), "late": ("1", "2", "1T20"), "days": ("1", "2", "3"), "created": ("1", "2"),
    "emptied": ("1", "2"),
}  # fmt: skip
"""When the rows of each table come; `_txn` becomes the one of before the last of them, or of before them all."""


@dataclass(frozen=True, slots=True)
class World:
    root: Path
    before: dict[str, bytes]
    """`_txn` of each table, as it is put back."""

    def directory(self, table: str) -> Path:
        return DatabaseRoot.locate(self.root).table(table).path

    def engine(self, binary: ServerBinary) -> Engine:
        return captured(engine_of(self.root, self.root.parent / "state", binary))


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("older") / "root"
    before: dict[str, bytes] = {}
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        for table in _DAYS:
            server.query(f"CREATE TABLE {table} (ts TIMESTAMP, id LONG, s SYMBOL) TIMESTAMP(ts) PARTITION BY DAY WAL")
        database = DatabaseRoot.locate(root)
        places = {table: database.table(table).path for table in _DAYS}
        before["created"] = (places["created"] / "_txn").read_bytes()
        for turn in range(3):
            for table, days in _DAYS.items():
                if turn == len(days) - 1:
                    before.setdefault(table, (places[table] / "_txn").read_bytes())
                for day in days[turn : turn + 1]:
                    server.query(_ROWS.format(table, day))
            wait_until_applied(server)
    with PrivateServer(root, questdb, settings=_SWEEPS):  # its writers are new: the segments of before are purged
        until(lambda: not [wal for each in places.values() for wal in each.glob("wal*")], "the WAL is purged", 60)
    before["emptied"] = bytes(len(before["emptied"]))
    for table, path in places.items():
        (path / "_txn").write_bytes(before[table])
    for file in next(places["emptied"].glob("2024-01-02*")).iterdir():
        file.write_bytes(bytes(file.stat().st_size))
    yield World(root, before)
    shutil.rmtree(root.parent)


def test_it_is_seen_and_no_start_is_allowed(world: World, questdb: ServerBinary) -> None:
    engine = world.engine(questdb)
    refused = {each.table for each in engine.plan("start-server").refused}
    for table in _DAYS:
        report = diagnose_table(engine.database, engine.database.table(table))
        code = Code.TABLE_TXN_INVALID if table == "emptied" else Code.TABLE_TXN_BEHIND
        assert report.has(code), (table, report.findings)
        assert (report.next_step.action, table in refused) == ("repair-table-state", True), table


def test_a_newest_partition_of_zeros_is_a_loss_that_nobody_can_count(world: World, questdb: ServerBinary) -> None:
    plan = world.engine(questdb).plan("repair-table-state", "emptied")
    assert plan.rows_lost.phrase == "unknown"
    assert any("2024-01-02" in each for each in plan.warnings)


def test_every_row_comes_back(world: World, questdb: ServerBinary) -> None:
    engine = world.engine(questdb)
    for table in ("append", "late", "days", "created"):
        plan = engine.plan("repair-table-state", table)
        assert (plan.rows_lost.phrase, plan.refused) == ("0", ()), table
        assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
        assert diagnose_table(engine.database, engine.database.table(table)).next_step.action is None
    world.directory("emptied").rename(world.root.parent / "out")
    with PrivateServer(world.root, questdb, settings=_SWEEPS) as server:
        for table in ("append", "late", "days", "created"):
            rows = 100 * len(_DAYS[table])
            assert server.query(f"SELECT count(), sum(id) FROM {table}") == [(rows, rows * 101 // 2)]
            server.query(_ROWS.format(table, 5))
        wait_until_applied(server)
        for table, days in _DAYS.items():
            if table != "emptied":
                assert server.query(f"SELECT count() FROM {table}") == [(100 * len(days) + 100,)]


def test_rows_of_a_page_that_became_zeros_are_no_exact_loss(questdb: ServerBinary, tmp_path: Path) -> None:
    """In any partition: where a writer had room for more, and where a merge wrote the file in its very length."""
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings={"cairo.wal.purge.interval": "500"}) as server:
        server.query("CREATE TABLE one (ts TIMESTAMP, v LONG) TIMESTAMP(ts)")
        for table in ("cut", "days"):
            server.query(f"CREATE TABLE {table} (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY WAL")
        rows = "INSERT INTO {} SELECT timestamp_sequence('2024-01-01', 90000000L), x FROM long_sequence(2000)"
        for table in ("one", "cut", "days"):
            server.query(rows.format(table))
        wait_until_applied(server)
        server.query(
            "INSERT INTO days SELECT timestamp_sequence('2024-01-02T23', 60000000L), x FROM long_sequence(130)"
        )
        wait_until_applied(server)
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    database = DatabaseRoot.locate(root)
    for table, partition in (("one", "default"), ("cut", "2024-01-02"), ("days", "2024-01-02.*")):
        path = database.table(table).path
        (path / "_txn").write_bytes(bytes((path / "_txn").stat().st_size))
        for log in path.glob("wal*"):
            shutil.rmtree(log) if log.is_dir() else log.unlink()
        for file in next(path.glob(partition)).glob("*.d"):
            content = file.read_bytes()
            kept = (len(content.rstrip(b"\0")) - 1) // 4096 * 4096
            file.write_bytes(content[:kept].ljust(0 if table == "cut" else len(content), b"\0"))
    engine = captured(engine_of(root, tmp_path / "state", questdb))
    whole = "ends with a whole page"
    for table, words in (("one", whole), ("cut", whole), ("days", "zeros behind 512 of them")):
        plan = engine.plan("repair-table-state", table)
        assert plan.rows_lost.phrase == "unknown", table
        assert any(words in each for each in plan.warnings), plan.warnings


def test_rows_of_a_dropped_partition_that_is_still_there_are_named(questdb: ServerBinary, tmp_path: Path) -> None:
    """A reader keeps its directory until the crash; without `_txn` nothing but the log says that it was dropped."""
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings={"cairo.wal.purge.interval": "600000"}) as server:
        server.query("CREATE TABLE t (ts TIMESTAMP, id LONG, s SYMBOL) TIMESTAMP(ts) PARTITION BY DAY WAL")
        server.query(_ROWS.format("t", 1))
        server.query(_ROWS.format("t", 2))
        wait_until_applied(server)
        table = DatabaseRoot.locate(root).table("t").path
        shutil.copytree(table / "2024-01-01", tmp_path / "kept")
        server.query("ALTER TABLE t DROP PARTITION LIST '2024-01-01'")
        server.query(_ROWS.format("t", 3))
        wait_until_applied(server)
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    shutil.copytree(tmp_path / "kept", table / "2024-01-01")
    (table / "_txn").unlink()
    plan = captured(engine_of(root, tmp_path / "state", questdb)).plan("repair-table-state", "t")
    (said,) = (each for each in plan.warnings if "DROP PARTITION LIST" in each)
    assert said.startswith("100 rows on disk may be what transaction 3 removed")


def _purge(root: Path, questdb: ServerBinary) -> None:
    with PrivateServer(root, questdb, settings=_SWEEPS):
        until(lambda: not list(root.glob("db/*/wal*/*/_event")))


@pytest.mark.parametrize("waits", [False, True])
def test_rows_of_a_later_state_are_seen_beside_rows_that_wait(
    questdb: ServerBinary, tmp_path: Path, *, waits: bool
) -> None:
    """All small files are of before the last commits: behind the counted rows, or in directories that nothing names."""
    root, small = tmp_path.resolve() / "root", ("_txn", "_meta", "_cv", "txn_seq")
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        for name in ("behind", "day", "cut"):
            server.query(f"CREATE TABLE {name} (ts TIMESTAMP, id LONG, s SYMBOL) TIMESTAMP(ts) PARTITION BY DAY WAL")
            server.query(_ROWS.format(name, 1))
        wait_until_applied(server)
        tables = {table.name: table.path for table in DatabaseRoot.locate(root).tables() if not table.system}
    _purge(root, questdb)
    for path in tables.values():
        for name in small:
            subprocess.run(["cp", "-a", path / name, tmp_path / f"{path.name}{name}"], check=True)
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        server.query(_ROWS.format("behind", "1T20"))
        server.query(_ROWS.format("day", 2))
        wait_until_applied(server)
    _purge(root, questdb)
    if waits:
        settings = {**_SWEEPS, "cairo.wal.apply.enabled": "false"}
        with PrivateServer(root, questdb, settings=settings) as server:
            for name, at in (("behind", "1T23"), ("day", "2T12"), ("cut", "3")):
                server.query(_ROWS.format(name, at))
            server.kill()
        cut = tables["cut"] / "2024-01-03.1"
        shutil.copytree(next(tables["day"].glob("2024-01-02*")), cut)
        written = np.fromfile(next(tables["cut"].glob("wal*/0/ts.d")), "<i8")[:200:2]
        written[:60].tofile(cut / "ts.d")  # a writer was cut off while it applied
    (root / "db" / "tables.d.lock").touch()
    for path in tables.values():
        for name in small:
            shutil.rmtree(path / name) if (path / name).is_dir() else (path / name).unlink()
            subprocess.run(["cp", "-a", tmp_path / f"{path.name}{name}", path / name], check=True)
    engine = captured(engine_of(root, tmp_path / "state", questdb))
    for name, seen in (("day", True), ("behind", False), ("cut", False)):
        report = diagnose_table(engine.database, engine.database.table(name))
        assert report.has(Code.TABLE_TXN_BEHIND) is seen, (name, report.findings)
        notes = [finding for finding in report.findings if finding.code is Code.TABLE_FILES_DISAGREE]
        assert [finding.severity for finding in notes] == [Severity.NOTE] * (name == "behind"), report.findings
    assert "day" in {refusal.table for refusal in engine.plan("start-server").refused}
    if waits:  # rows behind the count can be those of a writer that was cut off, too
        plans = {name: engine.plan("repair-log", name) for name in ("behind", "cut")}
        assert {name: plan.rows_lost.phrase for name, plan in plans.items()} == {"behind": "up-to-100", "cut": "0"}

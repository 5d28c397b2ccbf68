"""Tables with rows in their lag, left there by a real server: what is salvaged, refused, said to be lost, brought back.

The server puts a transaction that is out of order and small into the lag, to commit it with a later one. Where the
later one cannot be applied, the table is suspended with the lag on disk, also over a restart (measured).
"""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from console.questdb.layout import DatabaseRoot
from console.questdb.table_txn import read_table_txn
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan, RunResult
from console.recovery.rehearsal.model import RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse
from console.recovery.server.expectation import expectation_of
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server
from console.recovery.server.verification import table_claims, wait_until_applied
from console.settings import QuestDBSettings, Settings
from tests.real.generated_tables import SERVER, copy_tree, log_records
from tests.real.waiting import until

LAGGING = {
    **SERVER,
    "cairo.wal.segment.rollover.row.count": "6",  # a segment for each transaction
    "cairo.wal.apply.table.time.quota": "0",  # what is applied is written down after each transaction, the lag too
    "cairo.wal.squash.uncommitted.rows.multiplier": "1",
}
NAMES = ("torn", "last", "salvaged", "forgotten", "converted", "copied", "skipped")
COMMITS, EACH = 20, 6
BAD = 9  # the transaction that cannot be applied; the one before it lies in the lag
Values = Counter[int]


@dataclass
class World:
    """A stopped database in which every table has a lag; `seen` is what SELECT showed, `sent` all that was inserted."""

    root: Path
    binary: ServerBinary
    seen: dict[str, Values] = field(default_factory=dict)
    sent: dict[str, Values] = field(default_factory=dict)

    def table(self, name: str, root: Path | None = None) -> Path:
        """Return a table's directory."""
        return DatabaseRoot.locate(root or self.root).table(name).path

    def copy(self, to: Path) -> Path:
        """Return the data root of a copy of its own."""
        copy_tree(self.root, to / "root")
        return to / "root"


def _values(server: PrivateServer, name: str) -> Values:
    return Counter(int(row[0]) for row in server.query(f"SELECT v FROM {name}"))


def _lag(table: Path) -> tuple[int, int]:
    area = read_table_txn(table).current
    assert area is not None
    return area.lag_txns, area.lag_rows


def _fill(server: PrivateServer, name: str, commits: int) -> Values:
    server.query(
        f"CREATE TABLE {name} (ts TIMESTAMP, v LONG, sym SYMBOL) TIMESTAMP(ts) PARTITION BY DAY WAL "
        "WITH maxUncommittedRows=10"
    )
    server.query(f"INSERT INTO {name} VALUES ('2024-01-01T20', 0, 'a')")
    until(lambda: server.query(f"SELECT count() FROM {name}") == [(1,)], seconds=30)
    server.query(f"ALTER TABLE {name} SUSPEND WAL")
    for at in range(1, commits + 1):
        server.query(
            f"INSERT INTO {name} SELECT dateadd('s', ({at * 10} + x * 7)::int, '2024-01-01T01'), {at * 100} + x, "
            f"'s' || x FROM long_sequence({EACH})"
        )
    return Counter([0, *(at * 100 + x for at in range(1, commits + 1) for x in range(1, EACH + 1))])


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Suspend each table in front of a transaction whose column is gone, with the one before it in the lag."""
    folder = tmp_path_factory.mktemp("lag")
    root = folder / "root"
    root.mkdir()
    made = World(root, questdb)
    with PrivateServer(root, questdb, settings=LAGGING) as server:
        for name in NAMES:
            made.sent[name] = _fill(server, name, BAD - 1 if name == "last" else COMMITS)
            table = made.table(name)
            _, wal, segment, _ = log_records(table)[1][BAD - 1]
            (table / f"wal{wal}" / str(segment) / "v.d").unlink()
            server.query(f"ALTER TABLE {name} RESUME WAL")
        for name in NAMES:
            _until_suspended(server, name)
            made.seen[name] = _values(server, name)
    for name in NAMES:
        assert _lag(made.table(name)) == (1, EACH), name
        assert made.seen[name].total() == 1 + (BAD - 3) * EACH
    yield made
    shutil.rmtree(folder, ignore_errors=True)


def _engine(root: Path, state: Path, binary: ServerBinary, port: int | None = None) -> Engine:
    known = QuestDBSettings(db_root=str(root), jar=str(binary.jar), java=str(binary.java))
    if port is None:
        return Engine(Settings(state_dir=str(state), questdb=known, bare=True))
    known = QuestDBSettings(db_root=str(root), jar=str(binary.jar), java=str(binary.java), pg_port=port)
    return Engine(Settings(state_dir=str(state), questdb=known))


def _done(engine: Engine, action: str, table: str | None = None) -> tuple[Plan, RunResult]:
    plan = engine.plan(action, table)
    assert plan.refused == (), plan.refused
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    return plan, result


def _salvaged(engine: Engine, directory: str) -> tuple[Values, dict[str, Any]]:
    """Return the values of the newest salvage of a table (a row of the torn one has none: 0), and its manifest."""
    folder = max((engine.state.root / "salvage").glob(f"{directory}-*"))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    found: Values = Counter()
    for said in manifest["files"]:
        with (folder / said["file"]).open(newline="") as stream:
            found.update(int(row["v"] or 0) for row in csv.DictReader(stream))
    return found, manifest


def _of(commit: int) -> Values:
    return Counter(commit * 100 + x for x in range(1, EACH + 1))


@pytest.mark.parametrize("name", ["salvaged", "forgotten"])
def test_rows_of_the_lag_are_salvaged_with_those_that_wait(world: World, name: str, tmp_path: Path) -> None:
    root = world.copy(tmp_path)
    directory = world.table(name, root)
    if name == "forgotten":
        shutil.rmtree(directory / "txn_seq")  # no log says which they are: one WAL, so the last ones applied
    engine = _engine(root, tmp_path / "state", world.binary)
    plan, _ = _done(engine, "salvage-wal", name)
    assert any(f"{EACH} rows of them lie in a table's lag" in warning for warning in plan.warnings)
    found, manifest = _salvaged(engine, directory.name)
    states = {event["state"] for said in manifest["files"] for event in said["transactions"]}
    assert states == {"lag", "waiting"}
    assert found[0] == EACH  # of the bad transaction: its rows are there, the lost column is null
    del found[0]
    assert found == world.sent[name] - world.seen[name] - _of(BAD - 1)  # commit n is transaction n + 1
    assert _of(BAD - 2) <= found


def test_the_server_skips_one_more_over_a_lag_so_that_is_refused(world: World, tmp_path: Path) -> None:
    """QuestDB #5422, measured: RESUME WAL FROM TXN adds the lag to its number; the good one behind is lost too."""
    root = world.copy(tmp_path)
    with PrivateServer(root, world.binary, settings=LAGGING) as server:
        _until_suspended(server, "skipped")
        assert _lag(world.table("skipped", root)) == (1, EACH)  # a start alone does not commit it
        engine = _engine(root, tmp_path / "state", world.binary, server.pg_port)
        plan = engine.plan("resume-wal", "skipped")
        assert [refusal.code for refusal in plan.refused] == ["lag-not-zero"]
        assert "repair-log" in plan.refused[0].instead
        assert {r.claim: r.holds for r in plan.requirements}["no transaction waits in the table's lag"] is False
        assert engine.run(plan, plan.confirmation).outcome is Outcome.REFUSED
        assert _values(server, "skipped") == world.seen["skipped"]
        server.query(f"ALTER TABLE skipped RESUME WAL FROM TXN {BAD + 1}")  # what walmedic did not do
        until(
            lambda: server.query("SELECT writerTxn FROM wal_tables() WHERE name = 'skipped'") == [(COMMITS + 1,)],
            seconds=30,
        )
        lost = world.sent["skipped"] - _values(server, "skipped")
    assert lost == _of(BAD - 1) + _of(BAD)


@pytest.mark.parametrize("name", [pytest.param("torn", marks=pytest.mark.faults), "last"])
def test_a_repaired_log_brings_the_lag_back(world: World, name: str, tmp_path: Path) -> None:
    root = world.copy(tmp_path)
    engine = _engine(root, tmp_path / "state", world.binary)
    _done(engine, "capture-evidence", name)
    rehearsal = rehearse(engine, "repair-log", name)
    assert rehearsal.outcome is RehearsalOutcome.PASSED, rehearsal.message
    plan, _ = _done(engine, "repair-log", name)
    assert plan.confirmation == f"{name} lose {EACH}"
    expected = expectation_of(engine.database.table(name))
    with PrivateServer(root, world.binary, settings=LAGGING) as server:
        sql = Server(QuestDBSettings(pg_port=server.pg_port))
        claims = table_claims(sql, expected, wait_until_applied(sql, expected, lambda done, total: None))
        assert all(claim.ok for claim in claims), claims
        # with nothing behind it the lag is committed by the next write, and not by a start
        shown = world.seen[name] if name == "last" else world.sent[name] - _of(BAD - 1)
        assert _values(server, name) == shown
        server.query(f"INSERT INTO {name} VALUES ('2024-01-02', -1, 'z')")
        until(lambda: _values(server, name)[-1] == 1, seconds=30)
        assert _values(server, name) == world.sent[name] - _of(BAD - 1) + Counter([-1])


def test_a_conversion_drops_the_lag_and_all_it_drops_is_in_files(world: World, tmp_path: Path) -> None:
    root = world.copy(tmp_path)
    engine = _engine(root, tmp_path / "state", world.binary)
    directory = world.table("converted", root).name
    _done(engine, "capture-evidence", "converted")
    plan, result = _done(engine, "convert-table", "converted")
    assert any("lie in the table's lag" in warning for warning in plan.warnings)
    assert any("rows salvaged" in claim.claim for claim in result.verification)
    found, _ = _salvaged(engine, directory)
    with PrivateServer(root, world.binary, settings=LAGGING) as server:
        now = _values(server, "converted")
    assert now == world.seen["converted"]
    assert plan.rows_lost.kind == "exact"
    assert plan.rows_lost.value == (world.sent["converted"] - now).total() == found.total()


def test_a_copy_says_that_it_has_no_row_of_the_lag(world: World, tmp_path: Path) -> None:
    root = world.copy(tmp_path)
    directory = world.table("copied", root)
    shutil.rmtree(directory / "txn_seq")
    with PrivateServer(root, world.binary, settings=LAGGING) as server:
        engine = _engine(root, tmp_path / "state", world.binary, server.pg_port)
        plan, _ = _done(engine, "copy-table", "copied")
        now = _values(server, "copied_copy")
    found, _ = _salvaged(engine, directory.name)
    assert plan.rows_lost.kind == "exact"
    assert plan.rows_lost.value == (world.sent["copied"] - now).total() == found.total()


def _until_suspended(server: PrivateServer, name: str) -> None:
    until(lambda: (name,) in server.query("SELECT name FROM wal_tables() WHERE suspended"), seconds=30)

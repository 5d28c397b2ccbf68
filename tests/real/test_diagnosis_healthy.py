"""Healthy tables give no damage finding: grown at random, read while the server writes, killed while it writes.

What is predicted of them from disk is what the server shows once it has applied everything.
"""

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.live import LiveDiagnosis
from console.diagnosis.model import Code, DatabaseReport, Severity, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.model import Outcome
from console.recovery.server.expectation import Expectation, expectation_of
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import Batch, Recipe, build, wait_until_applied
from tests.real.sequencer_damage import DAMAGES, READABLE
from tests.real.test_sequencer_repairs import captured, engine_of

SEEDS = range(9000, 9000 + int(os.environ.get("WALMEDIC_FAULT_TABLES", "36")))
"""36 tables in every run; `make faults` has 200, so that what more than a hundred will hold is known exactly."""
WRITERS = 4
LIVELY = (
    "create table ticks (ts timestamp, sym symbol index, px double, note varchar) timestamp(ts) partition by hour wal",
    "create table book (ts timestamp, sym symbol, bid double) timestamp(ts) partition by day wal "
    "dedup upsert keys(ts, sym)",
    "create table emptied (ts timestamp, v long) timestamp(ts) partition by day wal",
    "create table changing (ts timestamp, v int) timestamp(ts) partition by day wal",
    "create materialized view hourly as (select ts, sym, avg(px) px from ticks sample by 1h) partition by day",
)


def grave(report: DatabaseReport, *, without: Container[str] = ()) -> list[str]:
    """Return every finding that is more than a note, in words, but those of the tables named."""
    found = [finding for table in report.tables if table.table not in without for finding in table.findings]
    return [
        f"{finding.code} {finding.file}: {finding.message} ({finding.evidence})"
        for finding in (*found, *report.findings)
        if finding.severity is not Severity.NOTE
    ]


@dataclass(frozen=True)
class Grown:
    """The tables as they were killed, and a copy of them to be broken."""

    batch: Batch
    spare: Batch


@pytest.fixture(scope="module")
def grown(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """Tables of many shapes in both log formats, some rows applied and some not, killed; WAL purged in part."""
    folder = tmp_path_factory.mktemp("grown").resolve()
    batch = build(folder / "root", [Recipe.drawn(seed) for seed in SEEDS], questdb)
    return Grown(batch, batch.copy(folder / "spare"))


def test_what_waits_is_counted_right_or_not_at_all_however_the_log_was_lost(grown: Grown) -> None:
    """Every damage of the recovery's matrix on every shape of table: a count is the one from before, or it is None."""
    database = DatabaseRoot.locate(grown.spare.root)
    before = {table.table: table.rows_unapplied for table in diagnose(database).tables}
    for index, recipe in enumerate(grown.spare.recipes):
        damage = DAMAGES[index % len(DAMAGES)]
        damage.strike(grown.spare.table(recipe.name), random.Random(recipe.seed))
    counted = 0
    for index, recipe in enumerate(grown.spare.recipes):
        table = next(each for each in diagnose(database, [recipe.name]).tables)
        if table.rows_unapplied is None:
            assert any("cannot be known exactly" in finding.message for finding in table.findings), (index, recipe)
            continue
        assert table.rows_unapplied == before[recipe.name], (DAMAGES[index % len(DAMAGES)].name, recipe)
        counted += 1
    assert counted > len(SEEDS) // 2


def test_grown_tables_are_healthy_and_what_they_will_hold_is_known(grown: Grown, questdb: ServerBinary) -> None:
    """Applied to the end, waiting, and a third of all damaged in ways that the server does not notice."""
    batch = grown.batch
    database = DatabaseRoot.locate(batch.root)
    report = diagnose(database)
    assert grave(report) == []
    reports = {table.table: table for table in report.tables}
    assert {recipe.name for recipe in batch.recipes} <= set(reports)
    assert len(batch.recipes) == len(SEEDS)
    assert all(table.verdict is Verdict.HEALTHY and table.rows_at_risk == 0 for table in reports.values())
    struck = {recipe.name: READABLE[index % len(READABLE)] for index, recipe in enumerate(batch.recipes[::3])}
    for recipe in batch.recipes[::3]:
        struck[recipe.name](batch.table(recipe.name), random.Random(recipe.seed))
    expected = {recipe.name: expectation_of(database.table(recipe.name)) for recipe in batch.recipes}
    known: Counter[str] = Counter()
    with PrivateServer(batch.root, questdb) as server:
        wait_until_applied(server)
        for recipe in batch.recipes:
            said = expected[recipe.name]
            if recipe.name not in struck:
                assert reports[recipe.name].rows_unapplied is not None
            kind = "damaged" if recipe.name in struck else "waits" if said.logged_txn > said.applied_txn else "applied"
            known[kind] += _is_as_said(server, recipe, said)
        apart = {*struck, *(recipe.view for recipe in batch.recipes[::3])}  # a view may need what is gone from the log
        assert [f for f in grave(diagnose(database), without=apart) if "server" not in f] == []
    assert known.total() >= 3 * len(SEEDS) // 4, known
    assert min(known[kind] for kind in ("applied", "waits", "damaged")) >= len(SEEDS) // 12, known


def _is_as_said(server: PrivateServer, recipe: Recipe, expected: Expectation) -> bool:
    """Assert that the server shows what was expected; return whether all of it could be known."""
    count, low, high = server.query(f"select count(), min(ts)::long, max(ts)::long from {recipe.name}")[0]
    partitions = server.query(f"select name, numRows from table_partitions('{recipe.name}')")
    by_day: Counter[str] = Counter()
    for name, rows in partitions:
        by_day[str(name)[:10]] += int(rows)  # one that the server has split goes by its first timestamp
    if not expected.exact and "structure change" not in expected.why:  # a column that is added moves no row
        assert count <= expected.rows if recipe.dedup else count == expected.rows, recipe
        return False
    assert (count, low, high) == (expected.rows, expected.min_ts, expected.max_ts), recipe
    assert by_day == Counter(dict(expected.partitions)), recipe
    return True


class Load:
    """Writers of their own connections that commit as fast as they can, until told to stop or the server dies."""

    def __init__(self, server: PrivateServer) -> None:
        self._server = server
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(n,), daemon=True) for n in range(WRITERS)]
        self.commits = 0

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _write(self, number: int) -> None:
        rng = random.Random(number)
        with contextlib.suppress(psycopg.Error, OSError), self._server.connect() as connection:
            while not self._stop.is_set():
                connection.execute(self._statement(rng, number).encode())
                self.commits += 1

    def _statement(self, rng: random.Random, number: int) -> str:
        hour, minute = rng.randrange(24), rng.randrange(60)  # out of order more often than not
        ts = f"timestamp_sequence('2025-01-0{rng.randint(1, 3)}T{hour:02d}:{minute:02d}', 1000000)"
        rows = rng.randint(1, 40)
        if number == 0:
            return rng.choice(
                [
                    f"insert into emptied select {ts}, x from long_sequence({rows})",
                    f"insert into emptied select {ts}, x from long_sequence({rows})",
                    "truncate table emptied",
                    f"update ticks set px = {rng.random()} where sym = 's1'",
                ]
            )
        if number == 1:
            column = f"c{rng.randrange(10**6)}"
            return rng.choice(
                [
                    f"insert into changing (ts, v) select {ts}, x::int from long_sequence({rows})",
                    f"insert into changing (ts, v) select {ts}, x::int from long_sequence({rows})",
                    f"alter table changing add column {column} int",
                ]
            )
        if number == 2:
            return f"insert into book select {ts}, 's' || (x % 5), x * 0.1 from long_sequence({rows})"
        return (
            f"insert into ticks select {ts}, 's' || (x % 9), x * 0.5, rnd_varchar(0, 30, 2) from long_sequence({rows})"
        )


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the tables that are written to while they are read."""
    return tmp_path_factory.mktemp("lively")


def test_tables_read_while_the_server_writes_purges_and_dies(
    lively: Path, questdb: ServerBinary, tmp_path: Path
) -> None:
    settings = {"cairo.wal.purge.interval": "300", "cairo.wal.segment.rollover.row.count": "400"}
    for round_number in range(2):
        with PrivateServer(lively, questdb, settings=settings) as server:
            if not round_number:
                for statement in LIVELY:
                    server.query(statement)
            database = DatabaseRoot.locate(lively)
            live = LiveDiagnosis(again=0.0)
            with Load(server) as load:
                until, looks = time.monotonic() + 3, 0
                while looks < 3 or load.commits < 20 or time.monotonic() < until:
                    assert grave(diagnose(database)) == []
                    assert grave(live.look(database)) == []
                    looks += 1
                server.kill()
        _mended(lively, tmp_path / str(round_number))
        report = diagnose(database)
        assert grave(report) == []
        assert all(table.rows_unapplied is not None for table in report.tables if table.wal)
        assert live.look(database).to_json()["tables"] == report.to_json()["tables"]
    with PrivateServer(lively, questdb, settings=settings) as server:
        wait_until_applied(server)
        server.query("rename table emptied to renamed")
        server.query("insert into renamed values ('2025-02-01', 1)")
        server.query("alter table changing add column last int")
        wait_until_applied(server)
        report = diagnose(database)
        assert grave(report) == []
        assert {table.table for table in report.tables} >= {"renamed", "ticks", "book", "changing", "hourly"}
        counts = {name: server.query(f"select count() from {name}")[0][0] for name in ("ticks", "changing")}
    after = {table.table: table for table in diagnose(database).tables}
    assert grave(diagnose(database)) == []
    assert {name: after[name].rows_applied for name in counts} == counts


def _mended(root: Path, state: Path) -> None:
    """Repair the table whose ALTER the kill cut off while it wrote the sequencer's _meta: it is not healthy.

    tests/real/test_commit_cut.py shows what the server does with such a table.
    """
    report = next(table for table in diagnose(DatabaseRoot.locate(root)).tables if table.table == "changing")
    codes = {finding.code for finding in report.findings if finding.severity is not Severity.NOTE}
    if not codes or not codes <= {Code.LOG_STRUCTURE_VERSION_REGRESS, Code.SEQUENCER_METADATA_INVALID}:
        return
    engine = captured(engine_of(root, state))
    assert report.next_step.action is not None
    plan = engine.plan(report.next_step.action, "changing")
    assert (plan.refused, plan.confirmation) == ((), "changing lose 0")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE

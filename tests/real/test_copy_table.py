"""copy-table on a real server: seeded tables with broken sequencers copied, compared, swapped, undone, and killed.

All tables are in one server. What a SELECT cannot give is what the plan says is lost, and is in the salvaged files.
"""

import hashlib
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from console.questdb.layout import DatabaseRoot
from console.questdb.partition_rows import TableRows
from console.recovery.actions import copy_table
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.execution import OnProgress
from console.recovery.model import Claim, Outcome, Plan, RunResult, Stage
from console.recovery.salvage.steps import folder_of
from console.recovery.salvage.writing import read_manifest
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server
from console.recovery.steps.steps import RunContext, Step
from console.recovery.table_copy import stretches
from console.recovery.table_copy.equality import different
from console.recovery.table_copy.steps import CompareTables, FinishCopy
from console.settings import QuestDBSettings, Settings
from tests.faults.interposed import killed_in_stage, stage_times
from tests.real.generated_tables import SERVER, Recipe, applied_txn, build
from tests.real.waiting import until

_KILLS = int(os.environ.get("WALMEDIC_FAULT_KILLS", "5"))
_CHANGES = ("CREATE", "INSERT", "ALTER", "RENAME", "DROP")


def _recipe(name: str, seed: int, **said: Any) -> Recipe:
    plain = replace(Recipe.drawn(seed), name=name, version=1, purged="none", altered=False, altered_late=False)
    return replace(plain, dedup=False, updates=False, **said) if "dedup" not in said else replace(plain, **said)


RECIPES = (
    # one writer: no log is left, and its own order says what is applied
    _recipe("gone", 41, writers=1, applied_rounds=6, pending_rounds=4),
    _recipe("altered", 43, writers=1, applied_rounds=5, pending_rounds=2),
    _recipe("zeroed", 47, writers=2, applied_rounds=4, pending_rounds=3),
    _recipe("keyed", 53, writers=1, applied_rounds=5, pending_rounds=0, dedup=True),
    _recipe("killed", 59, writers=1, applied_rounds=5, pending_rounds=2),
    _recipe("well", 61, writers=1, applied_rounds=2, pending_rounds=0),
)


@dataclass(frozen=True)
class World:
    """A live server on the tables, and an engine on both."""

    server: PrivateServer
    engine: Engine
    inserted: dict[str, int]

    def rows(self, table: str) -> int:
        """Return the rows that the server counts."""
        return int(self.server.query(f'select count() from "{table}"')[0][0])

    def names(self) -> dict[str, str]:
        """Return table names by directory."""
        return {str(d): str(n) for n, d in self.server.query("select table_name, directoryName from tables()")}


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("copy")
    recipes = [replace(r, altered=True, updates=True) if r.name == "altered" else r for r in RECIPES]
    batch = build(folder / "root", recipes, questdb)
    for name in ("gone", "altered", "keyed"):
        shutil.rmtree(batch.table(name) / "txn_seq")
    for name in ("zeroed", "killed"):
        _zero_first_pending(batch.table(name))
    with PrivateServer(batch.root, questdb, settings=SERVER) as server:
        server.query("alter table well resume wal")
        # Soon after a start the server opens each table to write, one without txn_seq too, and trims its symbol index.
        reserved = int(SERVER["cairo.writer.data.index.value.append.page.size"])
        indexes = [batch.table(name) / "sym.v" for name in ("gone", "killed")]
        until(lambda: all(index.stat().st_size < reserved for index in indexes))
        settings = Settings(
            state_dir=str(folder / "state"), questdb=QuestDBSettings(db_root=str(batch.root), pg_port=server.pg_port)
        )
        yield World(server, Engine(settings), batch.inserted)
    shutil.rmtree(folder, ignore_errors=True)


def _zero_first_pending(table: Path) -> None:
    log = table / "txn_seq" / "_txnlog"
    content = bytearray(log.read_bytes())
    at = 76 + 28 * applied_txn(table)
    content[at : at + 28] = bytes(28)
    log.write_bytes(content)


def _do(world: World, table: str) -> tuple[Plan, RunResult]:
    plan = world.engine.plan("copy-table", table)
    assert plan.refused == ()
    assert plan.confirmation == f"{table} lose {plan.rows_lost.phrase}"
    result = world.engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert all(claim.ok for claim in result.verification)
    return plan, result


def _partitions(table: Path) -> dict[str, str]:
    """Return the hash of every file of the partitions and of what is applied."""
    files = [p for p in table.rglob("*") if p.is_file() and p.parts[len(table.parts)] not in ("txn_seq",)]
    return {str(p.relative_to(table)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_table_without_sequencer_is_copied_and_the_writers_target_named(world: World) -> None:
    directory = world.engine.database.table("gone")
    before = _partitions(directory.path)
    plan, result = _do(world, "gone")
    lost = world.inserted["gone"] - world.rows("gone_copy")
    assert plan.rows_lost.kind == "exact"
    assert plan.rows_lost.value == lost > 0
    salvage = next(stage for stage in plan.stages if stage.step == "salvage-rows")
    run = _RunOf(result.entry)
    assert read_manifest(folder_of(salvage, run))["rows"] == lost  # type: ignore[arg-type]
    assert world.rows("gone") == world.rows("gone_copy")
    assert "gone_copy" in {claim.found for claim in result.verification if claim.claim == "the writer's table"}
    assert any("the writer's new target is gone_copy" in warning for warning in plan.warnings)
    assert _partitions(directory.path) == before
    entry = world.engine.journal.entry(result.entry)
    undo = world.engine.plan_undo(entry.id)
    assert undo.refused == ()
    assert world.engine.undo(entry.id, undo.confirmation).outcome is Outcome.DONE
    assert "gone_copy" not in world.names().values()
    assert _partitions(directory.path) == before


@dataclass(frozen=True)
class _RunOf:
    """What `folder_of` asks of a run."""

    entry: str


def test_an_altered_and_updated_table_is_copied_as_it_is_read(world: World) -> None:
    plan, result = _do(world, "altered")
    assert plan.rows_lost.value == world.inserted["altered"] - world.rows("altered_copy")
    assert any(claim.claim.endswith("value by value") and claim.ok for claim in result.verification)


def test_the_names_are_swapped_and_the_writer_goes_on(world: World) -> None:
    directory = world.engine.database.table("zeroed").directory
    plan, result = _do(world, "zeroed")
    lost = world.inserted["zeroed"] - world.rows("zeroed")
    assert plan.rows_lost.value == lost > 0
    names = world.names()
    assert names[directory] == "zeroed_old"
    assert "zeroed_copy" not in names.values()
    undo = world.engine.plan_undo(result.entry)
    assert undo.refused == ()
    rows = world.rows("zeroed")
    world.server.query("insert into zeroed (ts, sym, px) values ('2024-05-05', 'NEW', 1.5)")
    until(lambda: world.rows("zeroed") == rows + 1)
    assert world.rows("zeroed_old") == rows
    refused = world.engine.plan_undo(result.entry)
    assert {refusal.code for refusal in refused.refused} == {"moved-on"}
    assert world.engine.undo(result.entry, refused.confirmation).outcome is Outcome.REFUSED
    assert world.rows("zeroed") == rows + 1


def test_a_table_with_keys_gets_them_back_and_keeps_one_row_for_each(world: World) -> None:
    _, result = _do(world, "keyed")
    rows = world.rows("keyed_copy")
    assert rows == world.rows("keyed")
    first = world.server.query("select ts, sym from keyed_copy where sym is not null limit 1")[0]
    world.server.query(f"insert into keyed_copy (ts, sym, px) values ('{first[0].isoformat()}', '{first[1]}', 7.5)")
    until(lambda: world.server.query("select count() from keyed_copy where px = 7.5") == [(1,)])
    assert world.rows("keyed_copy") == rows
    assert "moved-on" in {r.code for r in world.engine.plan_undo(result.entry).refused}


def test_what_needs_no_copy_or_cannot_have_one_is_refused(world: World) -> None:
    assert {r.code for r in world.engine.plan("copy-table", "well").refused} == {"takes-writes"}
    world.server.query(
        "create materialized view seen as (select ts, count() n from well sample by 1h) partition by day"
    )
    assert {r.code for r in world.engine.plan("copy-table", "seen").refused} == {"not-wal"}
    world.server.query("drop materialized view seen")
    settings = world.engine.settings
    bare = Engine(replace(settings, bare=True))
    assert {r.code for r in bare.plan("copy-table", "gone").refused} == {"no-station"}
    other = Engine(replace(settings, questdb=replace(settings.questdb, pg_port=1)))
    assert {r.code for r in other.plan("copy-table", "gone").refused} == {"server-down"}


def test_one_changed_value_is_found(world: World, tmp_path: Path) -> None:
    _, result = _do(world, "gone")
    copied = DatabaseRoot.locate(world.engine.database.root).table("gone_copy").path
    mine = tmp_path / "copy"
    shutil.copytree(copied, mine)
    original = TableRows(world.engine.database.table("gone").path)
    assert different(original, TableRows(mine)) == []
    rng = random.Random(5)
    for name in ("px.d", "note.i", "txt.d", "sym.d", "flag.d", "ts.d"):
        path = rng.choice(sorted(mine.glob(f"2023-*/{name}")))
        content = path.read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        found = different(original, TableRows(mine))
        assert len(found) == 1, (name, found)
        path.write_bytes(content)
    undo = world.engine.plan_undo(result.entry)
    assert world.engine.undo(result.entry, undo.confirmation).outcome is Outcome.DONE


def _widened(server: PrivateServer) -> None:
    server.query("ALTER TABLE killed_copy ADD COLUMN extra INT")


def _one_more(server: PrivateServer, table: str = "killed") -> None:
    server.query(f"INSERT INTO {table}_copy SELECT * FROM {table} LIMIT 1")
    until(lambda: _applied(server, f"{table}_copy"))


def _applied(server: PrivateServer, table: str) -> bool:
    return bool(server.query(f"SELECT writerTxn = sequencerTxn FROM wal_tables() WHERE name = '{table}'")[0][0])


# Before which step, what is planted in the copy, and which claim must fail.
_BEFORE_STEPS: tuple[tuple[type[Step], Callable[[PrivateServer], None], ClaimKey], ...] = (
    (CompareTables, _one_more, ClaimKey.ROWS_COPIED),
    (CompareTables, _one_more, ClaimKey.COPY_VALUES),
    (FinishCopy, _widened, ClaimKey.COPY_DEFINITION),
)


@pytest.mark.parametrize(("step", "plant", "key"), _BEFORE_STEPS)
def test_a_fault_planted_in_a_copy_fails_its_claim(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    step: type[Step],
    plant: Callable[[PrivateServer], None],
    key: ClaimKey,
) -> None:
    perform = step.perform

    def planted(self: Step, stage: Stage, run: RunContext) -> None:
        plant(world.server)
        perform(self, stage, run)

    monkeypatch.setattr(step, "perform", planted)
    plan = world.engine.plan("copy-table", "killed")
    assert plan.refused == ()
    result = world.engine.run(plan, plan.confirmation)
    assert result.outcome in (Outcome.ROLLED_BACK, Outcome.FAILED), result
    assert key in {claim.key for claim in result.verification if not claim.ok}, result
    if "killed_copy" in world.names().values():  # others wrote to it, so that it is not dropped
        world.server.query("DROP TABLE killed_copy")


def test_a_fault_planted_after_a_copy_fails_its_claim(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = world.engine.database.table("gone").path / "_txn"
    ask = world.server.query
    plants: dict[ClaimKey, tuple[Callable[[], object], Callable[[], object]]] = {
        ClaimKey.COPY_NAME: (
            lambda: ask("RENAME TABLE gone_copy TO gone_other"),
            lambda: ask("RENAME TABLE gone_other TO gone_copy"),
        ),
        ClaimKey.OLD_DIRECTORY: (
            lambda: old.rename(old.with_name("away")),
            lambda: old.with_name("away").rename(old),
        ),
        ClaimKey.COPY_WRITES: (
            lambda: ask("ALTER TABLE gone_copy SUSPEND WAL"),
            lambda: ask("ALTER TABLE gone_copy RESUME WAL"),
        ),
        ClaimKey.COPY_ROWS: (lambda: _one_more(world.server, "gone"), lambda: None),
    }
    verify, failed = copy_table.verify, {}

    def planted(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
        assert all(claim.ok for claim in verify(plan, run))
        for key, (plant, undo) in plants.items():
            plant()
            failed[key] = {claim.key for claim in verify(plan, run) if not claim.ok}
            undo()
        return verify(plan, run)

    monkeypatch.setattr(copy_table, "verify", planted)
    plan = world.engine.plan("copy-table", "gone")
    result = world.engine.run(plan, plan.confirmation)
    assert result.outcome is not Outcome.DONE, result
    assert all(key in found for key, found in failed.items()), failed
    assert set(failed) == set(plants)
    world.server.query("DROP TABLE gone_copy")


@pytest.mark.faults
def test_a_copy_killed_at_any_statement_goes_on_without_doubles(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    monkeypatch.setattr(stretches.stretches, "__defaults__", (12,))  # many stretches, ends within partitions
    rows, names = world.rows("killed"), world.names()
    statements: list[str] = []
    _interposed(monkeypatch, lambda number, sql, done: statements.append(sql) if not done else None)
    _, result = _do(world, "killed")
    assert world.engine.undo(result.entry, "killed lose 0").outcome is Outcome.DONE
    monkeypatch.undo()
    monkeypatch.setattr(stretches.stretches, "__defaults__", (12,))
    forth = 1 + max(at for at, sql in enumerate(statements) if sql.startswith("INSERT")) + 2
    assert [sql.split()[0] for sql in statements[forth - 2 :]] == ["RENAME"] * 4 + ["DROP"]
    assert forth > 8
    instants = [(at, done) for at in range(forth) for done in (False, True, None)]
    for at, done in instants if len(instants) <= _KILLS else rng.sample(instants, _KILLS):
        told = f"seed {seed}: {at} {done}"
        assert _killed(monkeypatch, lambda: _do(world, "killed"), at, done=done), told
        cut_off = world.engine.unfinished()
        if cut_off and rng.random() < 0.4:
            (entry,) = cut_off
            phrase = world.engine.plan_undo(entry.id).confirmation
            if rng.random() < 0.5:  # and the undo killed too
                _killed(monkeypatch, partial(world.engine.undo, entry.id, phrase), rng.randrange(3), done=False)
            for left in world.engine.unfinished():
                undoes = str(left.intent.get("undoes", left.id))
                if any(each.id == left.id for each in world.engine.unfinished()):
                    undone = world.engine.undo(undoes, world.engine.plan_undo(undoes).confirmation)
                    assert undone.outcome is Outcome.DONE, f"{told}: {undone}"
        else:
            plan = world.engine.plan("copy-table", "killed")
            finished = world.engine.run(plan, plan.confirmation)
            assert finished.outcome is Outcome.DONE, f"{told}: {finished}"
            assert not cut_off or finished.entry == cut_off[0].id
            assert world.rows("killed") == world.rows("killed_old") == rows, told
            undo = world.engine.plan_undo(finished.entry)
            assert world.engine.undo(finished.entry, undo.confirmation).outcome is Outcome.DONE, told
        assert world.engine.unfinished() == ()
        assert world.names() == names, told
        assert world.rows("killed") == rows
    assert world.engine.journal.verify() == ()


@pytest.mark.faults
def test_a_copy_killed_in_each_stage_at_any_moment_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At random moments of each stage, by the clock: between statements, while one runs, while rows are compared."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    monkeypatch.setattr(stretches.stretches, "__defaults__", (12,))
    rows, names = world.rows("killed"), world.names()
    _, once = _do(world, "killed")  # a table that is renamed for the first time gets a new WAL from the server
    assert world.engine.undo(once.entry, "killed lose 0").outcome is Outcome.DONE
    original = _partitions(world.engine.database.table("killed").path)

    def work(on_progress: OnProgress) -> RunResult:
        plan = world.engine.plan("copy-table", "killed")
        return world.engine.run(plan, plan.confirmation, on_progress)

    times = stage_times(work)
    assert list(times) == ["salvage", "create", "copy", "compare", "finish", "swap"]
    for number, (stage, seconds) in enumerate([("", 0.0), *times.items()]):
        told = f"seed {seed}: {stage} of {seconds:.3f} s"
        if number:
            killed_in_stage(work, stage, rng.uniform(0, seconds))
        cut_off = world.engine.unfinished()
        if cut_off and rng.random() < 0.5:
            undo = world.engine.plan_undo(cut_off[0].id)
            assert undo.refused == (), told
            assert world.engine.undo(cut_off[0].id, undo.confirmation).outcome is Outcome.DONE, told
        else:
            if cut_off:
                result = work(lambda progress: None)
                assert (result.entry, result.outcome) == (cut_off[0].id, Outcome.DONE), f"{told}: {result}"
            assert world.rows("killed") == world.rows("killed_old") == rows, told
            last = world.engine.journal.entries()[-1].id
            undo = world.engine.plan_undo(last)
            assert world.engine.undo(last, undo.confirmation).outcome is Outcome.DONE, told
        assert world.engine.unfinished() == (), told
        assert world.names() == names, told
        assert _partitions(world.engine.database.table("killed").path) == original, told
    assert world.engine.journal.verify() == ()


def _interposed(monkeypatch: pytest.MonkeyPatch, seen: Callable[[int, str, bool], object]) -> None:
    """Call `seen` before and after every statement that changes something, with its number."""
    real, numbers = Server.rows, iter(range(1 << 30))

    def rows(self: Server, sql: str, parameters: Any = (), deadline: float = 60.0) -> list[dict[str, Any]]:
        if not sql.startswith(_CHANGES):
            return real(self, sql, parameters, deadline)
        number = next(numbers)
        seen(number, sql, False)
        found = real(self, sql, parameters, deadline)
        seen(number, sql, True)
        return found

    monkeypatch.setattr(Server, "rows", rows)


def _killed(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], at: int, *, done: bool | None) -> bool:
    """Run `work` in a child that is killed before its statement `at`, after it, or (None) while the server works on it.

    Return whether it was killed: a statement may have ended too soon.
    """
    child = os.fork()
    if child == 0:
        try:

            def kill(number: int, sql: str, after: bool) -> None:
                if number == at and not after and done is None:
                    threading.Timer(0.004, os.kill, (os.getpid(), signal.SIGKILL)).start()
                elif number == at and after is done:
                    os.kill(os.getpid(), signal.SIGKILL)

            _interposed(monkeypatch, kill)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)

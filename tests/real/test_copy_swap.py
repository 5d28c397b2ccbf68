"""The swap after a copy, on a real server: the writer went on with the copy, the sequencer was repaired, names change.

Rows that the original got back meanwhile, rows that the writer sent to the copy, and one that comes in the middle: all
are under the old name in the end, counted row by row.
"""

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from console.recovery.actions.copy_table.catch_up import CompareContained
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan, RunResult, Stage
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.steps.steps import RunContext
from console.settings import QuestDBSettings, Settings
from tests.real.copy_table_world import interposed, killed_at
from tests.real.generated_tables import SERVER, build, wait_until_applied
from tests.real.plain_recipes import plain
from tests.real.waiting import until

_KILLS = max(6, int(os.environ.get("WALMEDIC_FAULT_KILLS", "6")) // 2)
Rows = Counter[str]
COLUMNS = "ts, sym, px, qty, n, note, txt, flag"

RECIPES = (
    plain(301, "gone", writers=1, late_first=True),
    plain(303, "raced", writers=1),
    plain(305, "killed", writers=1, late_first=True),
    plain(307, "keyed", writers=1, dedup=True),
    plain(309, "updated", writers=1, pending_rounds=0),
    plain(311, "still", writers=1),
)


@dataclass
class World:
    """A server on the tables, whose sequencers were gone, copied, and made again; `copied` are the entries' ids."""

    server: PrivateServer
    engine: Engine
    copied: dict[str, str]
    sent: dict[str, int]

    def rows(self, table: str) -> Rows:
        """Return the rows of a table."""
        return Counter(map(repr, self.server.query(f'SELECT {COLUMNS} FROM "{table}"')))

    def names(self) -> dict[str, str]:
        """Return table names by directory."""
        return {str(d): str(n) for n, d in self.server.query("SELECT table_name, directoryName FROM tables()")}

    def sums(self, table: str) -> list[tuple[Any, ...]]:
        """Return rows per day, as the server counts them."""
        return self.server.query(f'SELECT ts, count() FROM "{table}" SAMPLE BY 1d ORDER BY ts')


def _do(engine: Engine, action: str, table: str | None = None) -> tuple[Plan, RunResult]:
    plan = engine.plan(action, table)
    assert plan.refused == (), plan.refused
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert all(claim.ok for claim in result.verification)
    return plan, result


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Copy tables without a sequencer, let the writer go on with some copies, make the sequencers again."""
    folder = tmp_path_factory.mktemp("swap")
    batch = build(folder / "root", RECIPES, questdb)
    names = [recipe.name for recipe in RECIPES]
    for name in names:
        shutil.rmtree(batch.table(name) / "txn_seq")
    state, root = str(folder / "state"), str(batch.root)
    copied, sent = {}, dict.fromkeys(names, 0)
    bare = Engine(Settings(state_dir=state, questdb=QuestDBSettings(db_root=root), bare=True))
    with PrivateServer(batch.root, questdb, settings=SERVER) as server:
        engine = Engine(Settings(state_dir=state, questdb=QuestDBSettings(db_root=root, pg_port=server.pg_port)))
        for name in names:
            copied[name] = _do(engine, "copy-table", name)[1].entry
        # until the name is free the writer's target is the copy, and a second copy would only be behind the first
        again = engine.plan("copy-table", "gone")
        assert [refusal.code for refusal in again.refused] == ["name-not-free"]
        assert "the writer's target is gone_copy" in again.refused[0].reason
        assert "swaps the two" in again.refused[0].instead
        for name in ("gone", "keyed"):
            newest = server.query(f"SELECT max(ts) FROM {name}")[0][0].isoformat()
            server.query(f"INSERT INTO {name}_copy (ts, sym, px) VALUES ('{newest}', 'NEW', 1), ('2030-01-01', 'A', 2)")
            sent[name] = 2
        wait_until_applied(server)
    _do(bare, "capture-evidence")
    for name in names:
        if name != "still":
            _do(bare, "rebuild-sequencer", name)
    with PrivateServer(batch.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        settings = Settings(state_dir=state, questdb=QuestDBSettings(db_root=root, pg_port=server.pg_port))
        yield World(server, Engine(settings), copied, sent)
    shutil.rmtree(folder, ignore_errors=True)


def test_every_row_is_under_the_old_name_after_the_swap(world: World) -> None:
    old, copy, directory = world.rows("gone"), world.rows("gone_copy"), world.engine.database.table("gone").directory
    came = old - copy
    assert sum(came.values()) > 3
    plan, result = _do(world.engine, "copy-table", "gone")
    assert plan.confirmation == "gone lose 0"
    assert any(f"{sum(came.values())} rows that it took since" in warning for warning in plan.warnings)
    names = world.names()
    assert names[directory] == "gone_old"
    assert world.rows("gone_old") == old
    assert world.rows("gone") == copy + came
    found_of = {claim.claim: claim.found for claim in result.verification}
    assert found_of["rows under the name gone"] == f"{sum((copy + came).values()):,}"
    assert found_of["rows that the copy alone has"] == "2"
    again = world.engine.plan("copy-table", "gone_old")
    assert [refusal.code for refusal in again.refused] == ["copied-already"]
    assert [r.code for r in world.engine.plan_undo(world.copied["gone"]).refused] == ["later-entry"]
    undo = world.engine.plan_undo(result.entry)
    assert undo.refused == ()
    assert world.engine.undo(result.entry, undo.confirmation).outcome is Outcome.DONE
    assert world.names()[directory] == "gone"
    assert world.rows("gone") == old
    assert world.rows("gone_copy") == copy + came
    # the writer's rows are in the copy: it is never dropped, but it can be given the name again
    assert [r.code for r in world.engine.plan_undo(world.copied["gone"]).refused] == ["moved-on"]
    once_more, swapped = _do(world.engine, "copy-table", "gone")
    assert any("copy 0 rows" in stage.title for stage in once_more.stages)
    world.server.query("INSERT INTO gone (ts, sym) VALUES ('2030-01-02', 'B')")
    until(lambda: world.rows("gone").total() == (copy + came).total() + 1)
    assert [r.code for r in world.engine.plan_undo(swapped.entry).refused] == ["moved-on"]


def test_rows_of_a_copy_that_are_others_fail_their_claims(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    perform, names = CompareContained.perform, world.names()

    def planted(self: CompareContained, stage: Stage, run: RunContext) -> None:
        world.server.query("UPDATE raced_copy SET n = n + 1")
        wait_until_settled(world, "raced_copy")
        perform(self, stage, run)

    monkeypatch.setattr(CompareContained, "perform", planted)
    plan = world.engine.plan("copy-table", "raced")
    assert plan.refused == ()
    result = world.engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.ROLLED_BACK, result
    assert {c.key for c in result.verification if not c.ok} == {ClaimKey.COPY_LACKS, ClaimKey.COPY_ONLY}
    assert world.names() == names
    world.server.query("UPDATE raced_copy SET n = n - 1")
    wait_until_settled(world, "raced_copy")


def test_a_row_that_comes_while_the_names_change_is_there_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = world.engine.plan("copy-table", "raced")
    held = world.rows("raced")
    when = world.server.query("SELECT ts FROM raced LIMIT 5, 6")[0][0].isoformat()  # so that its row comes among others
    found_of: list[str] = []

    def late(number: int, sql: str, after: bool) -> None:
        del number
        found_of.append(sql)
        if sql.startswith('RENAME TABLE "raced"') and not after:
            world.server.query(f"INSERT INTO raced (ts, sym, px) VALUES ('{when}', 'LATE', 7)")
            until(lambda: world.rows("raced").total() == held.total() + 1)

    interposed(monkeypatch, late)
    result = world.engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert "1 copied" in {c.found for c in result.verification if c.claim == "rows that came until the name was free"}
    assert any(" LIMIT " in sql for sql in found_of[-4:])
    assert world.rows("raced") == world.rows("raced_old")
    assert world.rows("raced").total() == held.total() + 1


def test_of_a_table_with_keys_the_copys_later_values_stay_and_are_counted(world: World) -> None:
    row = world.server.query("SELECT ts, sym, px FROM keyed WHERE sym IS NOT NULL LIMIT 1")[0]
    world.server.query(f"INSERT INTO keyed_copy (ts, sym, px) VALUES ('{row[0].isoformat()}', '{row[1]}', -77)")
    until(lambda: world.server.query("SELECT count() FROM keyed_copy WHERE px = -77") == [(1,)])
    keys = {tuple(r) for r in world.server.query("SELECT ts, sym FROM keyed")}
    plan, _ = _do(world.engine, "copy-table", "keyed")
    assert plan.rows_lost.kind == "bound"
    differing = (world.rows("keyed_old") - world.rows("keyed")).total()
    assert 1 <= differing <= (plan.rows_lost.value or 0)
    assert keys <= {tuple(r) for r in world.server.query("SELECT ts, sym FROM keyed")}
    assert world.server.query("SELECT count() FROM keyed WHERE px = -77") == [(1,)]


def test_rows_that_were_changed_since_are_no_copy_any_more(world: World) -> None:
    world.server.query("UPDATE updated SET px = px + 1")
    wait_until_settled(world, "updated")
    refused = world.engine.plan("copy-table", "updated").refused
    assert [refusal.code for refusal in refused] == ["changed-since"]
    undo = world.engine.plan_undo(world.copied["updated"])
    assert undo.refused == ()
    assert world.engine.undo(world.copied["updated"], undo.confirmation).outcome is Outcome.DONE
    assert "updated_copy" not in world.names().values()
    assert [r.code for r in world.engine.plan("copy-table", "updated").refused] == ["takes-writes"]


def test_without_a_sequencer_the_writer_stays_with_the_copy(world: World) -> None:
    refused = world.engine.plan("copy-table", "still").refused
    assert [refusal.code for refusal in refused] == ["name-not-free"]
    assert world.engine.plan_undo(world.copied["still"]).refused == ()


@pytest.mark.timeout(240)
def test_a_swap_killed_at_any_statement_goes_on_or_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    names, held = world.names(), world.rows("killed")
    came = (held - world.rows("killed_copy")).total()
    assert came > 3
    # while rows are missing the first statements copy them: taken back, so that the next kill meets the others
    copying: list[tuple[int, bool | None]] = [(0, None), (0, True), (1, False)]
    renaming = [(at, done) for at in range(2) for done in (False, True, None)]
    for number, (at, done) in enumerate([*copying, *rng.choices(renaming, k=_KILLS - len(copying))]):
        label = f"seed {seed}: {at} {done}"
        work = partial(_do, world.engine, "copy-table", "killed")
        killed = killed_at(monkeypatch, work, at, done=done)
        cut_off = world.engine.unfinished()
        if cut_off and (number < len(copying) or rng.random() < 0.5):
            (entry,) = cut_off
            undo = world.engine.plan_undo(entry.id)
            assert undo.refused == (), label
            assert world.engine.undo(entry.id, undo.confirmation).outcome is Outcome.DONE, label
        else:
            if killed and cut_off:
                plan = world.engine.plan("copy-table", "killed")
                result = world.engine.run(plan, plan.confirmation)
                assert result.outcome is Outcome.DONE, f"{label}: {result}"
                assert result.entry == cut_off[0].id
            assert world.rows("killed") == world.rows("killed_old") == held, label
            last = world.engine.journal.entries()[-1]
            undo = world.engine.plan_undo(last.id)
            assert undo.refused == (), label
            assert world.engine.undo(last.id, undo.confirmation).outcome is Outcome.DONE, label
        assert world.engine.unfinished() == (), label
        assert world.names() == names, label
        assert world.rows("killed") == held, label
        assert not world.rows("killed_copy") - held, label
    assert world.engine.journal.verify() == ()
    # nothing but ours was ever written to it: the first entry is still taken back
    undo = world.engine.plan_undo(world.copied["killed"])
    assert undo.refused == ()
    assert world.engine.undo(world.copied["killed"], undo.confirmation).outcome is Outcome.DONE
    assert "killed_copy" not in world.names().values()


def wait_until_settled(world: World, table: str) -> None:
    """Wait until one table is applied."""
    until(
        lambda: all(
            row[0] == row[1]
            for row in world.server.query(f"SELECT writerTxn, sequencerTxn FROM wal_tables() WHERE name = '{table}'")
        )
    )

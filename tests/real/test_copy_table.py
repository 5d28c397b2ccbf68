"""copy-table on a real server: seeded tables with broken sequencers copied, compared, swapped, undone, and killed.

All tables are in one server. What a SELECT cannot give is what the plan says is lost, and is in the salvaged files.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from console.questdb.partition_rows import TableRows
from console.recovery.actions.copy_table import action as copy_table
from console.recovery.actions.copy_table.equality import different
from console.recovery.actions.copy_table.steps import CompareTables, FinishCopy
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Claim, Outcome, Plan, Stage
from console.recovery.salvage.writing import read_manifest
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.steps.steps import RunContext, Step
from console.recovery.store.places import salvage_folder
from tests.real.copy_table_world import World, broken_tables, do, partitions
from tests.real.waiting import until


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with broken_tables(questdb, tmp_path_factory.mktemp("copy")) as made:
        yield made


def test_a_table_without_sequencer_is_copied_and_the_writers_target_named(world: World) -> None:
    directory = world.engine.database.table("gone")
    before = partitions(directory.path)
    plan, result = do(world, "gone")
    lost = world.inserted["gone"] - world.rows("gone_copy")
    assert plan.rows_lost.kind == "exact"
    assert plan.rows_lost.value == lost > 0
    salvage = next(stage for stage in plan.stages if stage.step == "salvage-rows")
    assert read_manifest(salvage_folder(salvage.parameters, result.entry))["rows"] == lost
    assert world.rows("gone") == world.rows("gone_copy")
    assert "gone_copy" in {claim.found for claim in result.verification if claim.claim == "the writer's table"}
    assert any("the writer's new target is gone_copy" in warning for warning in plan.warnings)
    assert partitions(directory.path) == before
    entry = world.engine.journal.entry(result.entry)
    undo = world.engine.plan_undo(entry.id)
    assert undo.refused == ()
    assert world.engine.undo(entry.id, undo.confirmation).outcome is Outcome.DONE
    assert "gone_copy" not in world.names().values()
    assert partitions(directory.path) == before


def test_an_altered_and_updated_table_is_copied_as_it_is_read(world: World) -> None:
    plan, result = do(world, "altered")
    assert plan.rows_lost.value == world.inserted["altered"] - world.rows("altered_copy")
    assert any(claim.claim.endswith("value by value") and claim.ok for claim in result.verification)


def test_the_names_are_swapped_and_the_writer_goes_on(world: World) -> None:
    directory = world.engine.database.table("zeroed").directory
    plan, result = do(world, "zeroed")
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
    _, result = do(world, "keyed")
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
    _, result = do(world, "gone")
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

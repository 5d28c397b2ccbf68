"""Option 3 on real servers: converted and back, no row lost but those that were said, none to the lag of 9.1.0."""

import os
import random
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Code
from console.questdb.table_txn import read_table_txn
from console.recovery.engine import Engine
from console.recovery.evidence.index import table_stamp
from console.recovery.execution import OnProgress
from console.recovery.model import Outcome, Plan, RunResult
from console.recovery.rehearsal.model import RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.store.locks import server_is_down
from console.settings import QuestDBSettings, Settings
from tests.faults.broken_database import tree_of
from tests.faults.interposed import count, killed_in_child, killed_in_stage, stage_times
from tests.real.generated_tables import SERVER, Batch, build, wait_until_applied
from tests.real.plain_recipes import plain
from tests.real.waiting import until

_KILLS = max(1, int(os.environ.get("WALMEDIC_FAULT_KILLS", "5")) // 5)
Rows = Counter[str]


RECIPES = (
    plain(206, "halfway", purged="closed"),  # first: its marker keeps the others from being converted
    plain(201, "removed"),
    plain(202, "altered", altered=True, writers=1),
    plain(205, "lagging", pending_rounds=0, viewed=True),
)


def engine_of(root: Path, state: Path, binary: ServerBinary) -> Engine:
    """Return the engine on a database of no station, which knows what to start."""
    questdb = QuestDBSettings(db_root=str(root), jar=str(binary.jar), java=str(binary.java))
    return Engine(Settings(state_dir=str(state), questdb=questdb, bare=True))


def _done(engine: Engine, action: str, table: str | None = None) -> tuple[Plan, RunResult]:
    plan = engine.plan(action, table)
    assert plan.refused == (), plan.refused
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    return plan, result


def _rows(server: PrivateServer, name: str) -> Rows:
    return Counter(map(repr, server.query(f"SELECT * FROM {name}")))


def negative_lag(table: Path) -> int:
    """Give `_txn` a transaction number at which the lag's checksum is negative after a conversion; return it.

    As the 73,046th commit would (the smallest such number); the version's lowest bit names the area, so it stays.
    """
    txn = read_table_txn(table)
    area, number = txn.current, 73_046
    assert area is not None
    while True:
        converted = replace(
            area, txn=number, seq_txn=0, lag_txn_raw=0, lag_rows=0, lag_min_ts=(1 << 63) - 1, lag_max_ts=-(1 << 63)
        )
        if number % 2 == area.txn % 2 and converted.lag_checksum_expected() < 0:
            break
        number += 1
    data = bytearray((table / "_txn").read_bytes())
    struct.pack_into("<q", data, 0, number)
    struct.pack_into("<q", data, area.base, number)
    struct.pack_into("<i", data, area.base + 88, replace(area, txn=number).lag_checksum_expected())
    (table / "_txn").write_bytes(data)
    return number


def half_converted(table: Path) -> None:
    """Leave `_txn` as TableConverter does before it deletes the sequencer, and its marker."""
    area = read_table_txn(table).current
    assert area is not None
    data = bytearray((table / "_txn").read_bytes())
    struct.pack_into("<q", data, area.base + 80, 0)
    (table / "_txn").write_bytes(data)
    (table / "_convert").write_bytes(b"\0")


@dataclass
class Built:
    """The damaged tables, never changed by a test, and the rows of an undamaged copy: applied ones, and all."""

    batch: Batch
    applied: dict[str, Rows]
    truth: dict[str, Rows]


@pytest.fixture(scope="module")
def built(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build, look at copies, damage."""
    work = tmp_path_factory.mktemp("convert")
    batch = build(work / "root", RECIPES, questdb)
    undamaged = batch.copy(work / "truth")
    with PrivateServer(undamaged.root, questdb, settings={**SERVER, "cairo.wal.apply.enabled": "false"}) as server:
        applied = {recipe.name: _rows(server, recipe.name) for recipe in RECIPES}
    with PrivateServer(undamaged.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        truth = {recipe.name: _rows(server, recipe.name) for recipe in RECIPES}
    for recipe in RECIPES:
        table = batch.table(recipe.name)
        if recipe.name == "lagging":
            negative_lag(table)
        if recipe.name == "halfway":
            half_converted(table)
        else:
            shutil.rmtree(table / "txn_seq")
    return Built(batch, applied, truth)


@dataclass
class Converted:
    """A copy of the damaged tables, all converted by the engine, with their plans and results."""

    root: Path
    engine: Engine
    plans: dict[str, Plan]
    results: dict[str, RunResult]
    before: dict[str, object]


@pytest.fixture(scope="module")
def converted(built: Built, questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """Convert each table, one after the other."""
    work = tmp_path_factory.mktemp("converted")
    batch = built.batch.copy(work / "root")
    engine = engine_of(batch.root, work / "state", questdb)
    _done(engine, "capture-evidence")
    before = {recipe.name: tree_of(batch.table(recipe.name)) for recipe in RECIPES}
    report = diagnose_table(engine.database, engine.database.table("halfway"))
    assert report.has(Code.CONVERSION_HALF_DONE)
    assert report.next_step.action == "convert-table"
    other = engine.plan("convert-table", "removed")
    assert [refusal.code for refusal in other.refused] == ["conversion-pending"]
    assert "conversion-half-done" in {refusal.code for refusal in engine.plan("repair-log", "halfway").refused}
    plans, results = {}, {}
    for recipe in RECIPES:
        plans[recipe.name], results[recipe.name] = _done(engine, "convert-table", recipe.name)
    return Converted(batch.root, engine, plans, results, dict(before))


def test_the_plan_says_what_it_costs_and_what_is_better(converted: Converted) -> None:
    for recipe in RECIPES:
        plan = converted.plans[recipe.name]
        assert plan.confirmation == f"{recipe.name} lose {plan.rows_lost.phrase}"
        assert any("server.conf needs no change" in warning for warning in plan.warnings)
        better = any("rebuild-sequencer is better here: it loses 0 rows" in warning for warning in plan.warnings)
        assert better == (recipe.name in ("removed", "altered"))
    assert [converted.plans[name].rows_lost.kind for name in ("removed", "altered", "lagging")] == ["exact"] * 3
    assert "a conversion began" in converted.plans["halfway"].why
    views = [warning for warning in converted.plans["lagging"].warnings if "materialised views on it" in warning]
    assert len(views) == 1
    assert "v205" in views[0]


def test_no_row_is_lost_but_those_announced(built: Built, converted: Converted, questdb: ServerBinary) -> None:
    with PrivateServer(converted.root, questdb, settings=SERVER) as server:
        for recipe in RECIPES:
            name, plan = recipe.name, converted.plans[recipe.name]
            found = _rows(server, name)
            assert found == built.applied[name], recipe
            lost = sum((built.truth[name] - found).values())
            if plan.rows_lost.kind == "exact":
                assert lost == plan.rows_lost.value
            else:
                assert lost <= (plan.rows_lost.value or 0)
            for at in range(3):
                server.query(f"INSERT INTO {name} (ts, px) VALUES ('2030-01-0{at + 1}', {at})")
        wait_until_applied(server)
        for recipe in RECIPES:
            now = server.query(f"SELECT count() FROM {recipe.name} WHERE ts >= '2030'")
            assert now == [(3,)], f"{recipe.name}: {now}"
            server.query(f"ALTER TABLE {recipe.name} ADD COLUMN afterwards INT")
            server.query(f"INSERT INTO {recipe.name} (ts, afterwards) VALUES ('2030-02-01', 7)")
        wait_until_applied(server)
        server.query("REFRESH MATERIALIZED VIEW v205 FULL")  # as the plan said
        shown = server.query("SELECT ts, count() n FROM lagging SAMPLE BY 1h ORDER BY ts")
        _until(server, "SELECT ts, n FROM v205 ORDER BY ts", shown)
        assert [server.query(f"SELECT count() FROM {r.name} WHERE afterwards = 7")[0][0] for r in RECIPES] == [1] * 4


def test_the_rows_are_in_files_and_their_wal_is_kept(built: Built, converted: Converted) -> None:
    for name in ("removed", "altered"):
        folders = list((converted.engine.state.root / "salvage").glob(f"{name}~*"))
        assert len(folders) == 1
        lines = [
            line for path in folders[0].glob("*.csv") for line in path.read_text().splitlines()[1:] if line.strip()
        ]
        assert len(lines) >= sum((built.truth[name] - built.applied[name]).values())
        kept = list((built.batch.root / "db" / built.batch.directories[name]).glob("wal*[0-9]"))
        aside = list((converted.root / "db" / built.batch.directories[name]).glob("convert.walmedic-*.old"))
        assert len(aside) == 1
        assert {path.name for path in kept} <= {path.name for path in aside[0].iterdir()}


def test_the_lag_that_a_conversion_leaves_is_found_and_cleared(converted: Converted) -> None:
    content = {claim.claim: claim.found for claim in converted.results["lagging"].verification if "lag" in claim.claim}
    assert [found for claim, found in content.items() if "after the" in claim] == ["-1, cleared to 0"] * 2
    assert all(
        claim.found == "0"
        for claim in converted.results["removed"].verification
        if "transactions in the lag after" in claim.claim
    )


def test_without_the_check_the_first_row_is_lost(built: Built, questdb: ServerBinary, tmp_path: Path) -> None:
    """What the action guards against, shown: marker and starts alone, and the first of three rows is gone."""
    batch = built.batch.copy(tmp_path / "root")
    table = batch.table("lagging")
    for value in (b"\0", b"\1"):
        (table / "_convert").write_bytes(value)
        with PrivateServer(batch.root, questdb, settings=SERVER) as server:
            if value == b"\1":
                for at in range(3):
                    server.query(f"INSERT INTO lagging (ts, px) VALUES ('2030-01-0{at + 1}', {at})")
                _until(server, "SELECT writerTxn FROM wal_tables() WHERE name = 'lagging'", [(3,)])
                assert server.query("SELECT px FROM lagging WHERE ts >= '2030' ORDER BY ts") == [(1.0,), (2.0,)]


@dataclass
class Fresh:
    """A copy of its own of the damaged tables, with evidence of the one that is converted."""

    batch: Batch
    engine: Engine

    def tree(self) -> dict[str, object]:
        """Return the table and the registry, byte for byte; names that walmedic marks are made alike."""
        files = tree_of(self.batch.root / "db")
        directory = self.batch.directories["removed"]
        return {
            path: content
            for path, content in files.items()
            if (path.startswith((f"{directory}/", "tables.d.")) and not path.endswith(".lock"))
        }


def _fresh(built: Built, place: Path, binary: ServerBinary) -> Fresh:
    batch = built.batch.copy(place / "root")
    (batch.table("halfway") / "_convert").unlink()
    engine = engine_of(batch.root, place / "state", binary)
    _done(engine, "capture-evidence", "removed")
    return Fresh(batch, engine)


def test_it_is_taken_back_byte_for_byte(built: Built, questdb: ServerBinary, tmp_path: Path) -> None:
    fresh = _fresh(built, tmp_path, questdb)
    before, stamp = fresh.tree(), table_stamp(fresh.batch.table("removed"))
    _, result = _done(fresh.engine, "convert-table", "removed")
    assert fresh.tree() != before
    assert fresh.engine.plan("convert-table", "removed").stages == ()
    back = fresh.engine.plan_undo(result.entry)
    assert back.refused == ()
    assert fresh.engine.undo(result.entry, back.confirmation).outcome is Outcome.DONE
    assert fresh.tree() == before
    assert table_stamp(fresh.batch.table("removed")) != stamp  # written anew: other inodes, the same bytes
    again = fresh.engine.plan("rebuild-sequencer", "removed")
    assert again.needed


@pytest.mark.faults
def test_it_is_rehearsed_on_a_clone(built: Built, questdb: ServerBinary, tmp_path: Path) -> None:
    fresh = _fresh(built, tmp_path, questdb)
    before = fresh.tree()
    rehearsal = rehearse(fresh.engine, "convert-table", "removed")
    assert rehearsal.outcome is RehearsalOutcome.PASSED, rehearsal.message
    assert fresh.tree() == before
    assert fresh.engine.plan("convert-table", "removed").rehearsed


@pytest.mark.faults
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
def test_root_converts_for_the_owner(built: Built, questdb: ServerBinary) -> None:
    """The server that walmedic starts runs as the owner of the table: it writes no file of root's."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to others, again and again
        place = Path(name)
        place.chmod(0o755)
        jar = place / questdb.jar.name
        shutil.copy(questdb.jar, jar)
        jar.chmod(0o644)
        fresh = _fresh(built, place, replace(questdb, jar=jar))
        for path in [fresh.batch.root, *fresh.batch.root.rglob("*")]:
            os.chown(path, 12_345, 12_345, follow_symlinks=False)
        _done(fresh.engine, "capture-evidence", "removed")
        _done(fresh.engine, "convert-table", "removed")
        table = fresh.batch.table("removed")
        assert {path.lstat().st_uid for path in [*table.rglob("*"), *table.parent.glob("tables.d.*")]} == {12_345}


@pytest.mark.timeout(60 + 40 * _KILLS)
def test_killed_at_any_writing_call_it_is_finished_or_taken_back(
    built: Built, questdb: ServerBinary, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    first = _fresh(built, tmp_path / "first", questdb)
    calls = count(lambda: _done(first.engine, "convert-table", "removed"))
    whole = first.tree()
    for number in range(_KILLS):
        fresh = _fresh(built, tmp_path / str(number), questdb)
        before = fresh.tree()
        at, done = rng.randrange(calls), rng.random() < 0.5
        killed_in_child(partial(_done, fresh.engine, "convert-table", "removed"), at, done=done)
        label = f"seed {seed}: {at} of {calls}, {done}"
        _until_free(fresh.engine)
        cut_off = fresh.engine.unfinished()
        if cut_off and number % 2:
            back = fresh.engine.plan_undo(cut_off[0].id)
            assert back.refused == (), label
            assert fresh.engine.undo(cut_off[0].id, back.confirmation).outcome is Outcome.DONE, label
            assert fresh.tree() == before, label
        else:
            plan = fresh.engine.plan("convert-table", "removed")
            assert plan.refused == (), (label, plan.refused)
            result = fresh.engine.run(plan, plan.confirmation)
            assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), (label, result)
            assert fresh.tree().keys() == whole.keys(), label
        assert fresh.engine.unfinished() == (), label
        assert fresh.engine.journal.verify() == (), label


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_killed_in_each_stage_at_any_moment_it_is_finished_or_taken_back(
    built: Built, questdb: ServerBinary, tmp_path: Path
) -> None:
    """Also while the server that walmedic started applies the marker: it dies with the run that started it."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)

    def work(engine: Engine, on_progress: OnProgress) -> RunResult:
        plan = engine.plan("convert-table", "removed")
        return engine.run(plan, plan.confirmation, on_progress)

    first = _fresh(built, tmp_path / "first", questdb)
    times = stage_times(partial(work, first.engine))
    whole = first.tree().keys()
    assert len(times) == 7, times
    served = rng.choice(("to-plain", "to-wal"))
    for stage, seconds in times.items():
        fresh = _fresh(built, tmp_path / stage, questdb)
        before, evidence = fresh.tree(), tree_of(tmp_path / stage / "state" / "evidence")
        after = rng.uniform(0, seconds)
        label = f"seed {seed}: {stage} after {after:.3f} of {seconds:.3f} s"
        killed = killed_in_stage(partial(work, fresh.engine), stage, after)
        _until_free(fresh.engine)
        cut_off = fresh.engine.unfinished()
        if cut_off and stage != served:
            back = fresh.engine.plan_undo(cut_off[0].id)
            assert back.refused == (), label
            assert fresh.engine.undo(cut_off[0].id, back.confirmation).outcome is Outcome.DONE, label
            assert fresh.tree() == before, label
        else:
            plan = fresh.engine.plan("convert-table", "removed")
            assert plan.refused == (), (label, plan.refused)
            result = fresh.engine.run(plan, plan.confirmation)
            assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), (label, result)
            assert not killed or not cut_off or result.entry == cut_off[0].id, label
            assert fresh.tree().keys() == whole, label
        assert fresh.engine.unfinished() == (), label
        assert fresh.engine.journal.verify() == (), label
        assert tree_of(tmp_path / stage / "state" / "evidence") == evidence, label
        if stage == served:
            with PrivateServer(fresh.batch.root, questdb, settings=SERVER) as server:
                assert _rows(server, "removed") == built.applied["removed"], label
                server.query("INSERT INTO removed (ts, px) VALUES ('2030-01-01', 1)")
                _until(server, "SELECT count() FROM removed WHERE ts >= '2030'", [(1,)])
        shutil.rmtree(tmp_path / stage)


def _until_free(engine: Engine) -> None:
    """Wait until the server of a killed run is gone: it dies with it, and not before the kernel has told it."""
    until(lambda: server_is_down(engine.database.db) is True)


def _until(server: PrivateServer, sql: str, wanted: Sequence[object]) -> None:
    until(lambda: server.query(sql) == wanted, sql, 30)

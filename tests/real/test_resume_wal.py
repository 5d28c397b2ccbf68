"""Suspended tables of one real server, resumed by the engine: what was said to be lost is what is lost, row by row."""

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from console.diagnosis.model import Code, Severity, TableReport, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.actions.resume_wal.steps import KEPT
from console.recovery.engine import Engine
from console.recovery.execution import OnProgress
from console.recovery.model import Outcome, Plan, RunResult
from console.recovery.rehearsal.model import RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.store.places import salvage_folder
from console.settings import QuestDBSettings, Settings
from tests.faults.interposed import count, killed_in_child, killed_in_stage, stage_times
from tests.real.generated_tables import SERVER, Batch, Recipe, applied_txn, build, log_records, wait_until_applied
from tests.real.plain_recipes import plain
from tests.real.resume_world import suspended_live
from tests.real.sequencer_damage import _zero_records as zero_records
from tests.real.waiting import until

_KILLS = int(os.environ.get("WALMEDIC_FAULT_KILLS", "10")) // 2
Rows = Counter[str]
Strike = Callable[[Path, random.Random], None]


def _recipe(seed: int, name: str, **named: int | bool) -> Recipe:
    return plain(seed, name, **{"pending_rounds": 6, "altered": seed % 2 == 0, "late_first": True, **named})


def _zero(first: int, count: int = 1) -> Strike:
    """Zero records, counted from the first that is not applied."""

    def strike(table: Path, rng: random.Random) -> None:
        del rng
        at = applied_txn(table) + first
        zero_records(table / "txn_seq", at, at + count - 1)

    return strike


def _zero_twice(table: Path, rng: random.Random) -> None:
    _zero(1)(table, rng)
    _zero(5)(table, rng)


def _zero_last(table: Path, rng: random.Random) -> None:
    del rng
    last = len(log_records(table)[1])
    zero_records(table / "txn_seq", last, last)


def _no_segment(first: int) -> Strike:
    """Remove the WAL segment that a record names, with all that it holds."""

    def strike(table: Path, rng: random.Random) -> None:
        del rng
        _, wal, segment, _ = log_records(table)[1][applied_txn(table) + first - 1]
        shutil.rmtree(table / f"wal{wal}" / str(segment))

    return strike


def _no_column(first: int) -> Strike:
    """Remove a column of the segment that a record names: its events are whole, and the server cannot apply it."""

    def strike(table: Path, rng: random.Random) -> None:
        del rng
        _, wal, segment, _ = log_records(table)[1][applied_txn(table) + first - 1]
        (table / f"wal{wal}" / str(segment) / "px.d").unlink()

    return strike


@dataclass
class Case:
    """One table: what was done to it, and how many of its records are skipped one after the other."""

    recipe: Recipe
    strike: Strike


CASES = (
    Case(_recipe(101, "first"), _zero(1)),
    Case(_recipe(102, "middle"), _zero(4)),
    Case(_recipe(103, "run", writers=3), _zero(2, 5)),
    Case(_recipe(104, "chunked", version=2, writers=3), _zero(3, 2)),
    Case(_recipe(105, "twice"), _zero_twice),
    Case(_recipe(106, "last", writers=1), _zero_last),
    Case(_recipe(107, "replacing", dedup=True), _zero(2)),
    Case(_recipe(108, "ahead", writers=3), _no_segment(7)),
    Case(_recipe(110, "gone", writers=1), _no_segment(1)),
    Case(_recipe(111, "torn", writers=2), _no_column(3)),
)


@dataclass
class Shown:
    """A server on the damaged tables, the engine on it, and the rows of an undamaged copy."""

    batch: Batch
    server: PrivateServer
    engine: Engine
    truth: dict[str, Rows]

    @property
    def root(self) -> DatabaseRoot:
        """The data root of the tables."""
        return DatabaseRoot.locate(self.batch.root)


def _rows(server: PrivateServer, name: str) -> Rows:
    return Counter(map(repr, server.query(f'SELECT * FROM "{name}"')))


def _settings(root: Path, server: PrivateServer, state: Path) -> Settings:
    questdb = QuestDBSettings(db_root=str(root), pg_port=server.pg_port)
    return Settings(state_dir=str(state), questdb=questdb, bare=True)


def _wait_until_suspended(server: PrivateServer, names: set[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if {row[0] for row in server.query("SELECT name FROM wal_tables() WHERE suspended")} >= names:
            return
        time.sleep(0.05)
    raise AssertionError(f"not suspended: {server.query('SELECT * FROM wal_tables()')}")


@pytest.fixture(scope="module")
def shown(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Build, copy for the truth, damage, start."""
    work = tmp_path_factory.mktemp("resume")
    batch = build(work / "root", [case.recipe for case in CASES], questdb)
    undamaged = batch.copy(work / "truth")
    with PrivateServer(undamaged.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        truth = {case.recipe.name: _rows(server, case.recipe.name) for case in CASES}
    for case in CASES:
        case.strike(batch.table(case.recipe.name), random.Random(case.recipe.seed))
    with PrivateServer(batch.root, questdb, settings=SERVER) as server:
        _wait_until_suspended(server, {case.recipe.name for case in CASES})
        yield Shown(batch, server, Engine(_settings(batch.root, server, work / "state")), truth)


def _done(shown: Shown, plan: Plan) -> RunResult:
    result = shown.engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert result.verification
    return result


@pytest.mark.parametrize("name", ["first", "middle", "run", "chunked", "twice", "last"])
def test_the_loss_that_was_announced_is_the_loss(shown: Shown, name: str) -> None:
    announced = 0
    for _ in range(4):
        plan = shown.engine.plan("resume-wal", name)
        if not plan.needed and not plan.refused:
            break
        assert plan.refused == ()
        assert plan.rows_lost.kind == "exact"
        assert plan.confirmation == f"{name} lose {plan.rows_lost.value}"
        announced += plan.rows_lost.value or 0
        before = sum(_rows(shown.server, name).values())
        _done(shown, plan)
        assert sum(_rows(shown.server, name).values()) - before == plan.rows_back
    found = _rows(shown.server, name)
    assert announced > 0
    assert not found - shown.truth[name]
    assert sum((shown.truth[name] - found).values()) == announced


def test_a_dedup_table_says_the_most_that_it_can_lose(shown: Shown) -> None:
    plan = shown.engine.plan("resume-wal", "replacing")
    assert plan.refused == ()
    _done(shown, plan)
    lost = sum((shown.truth["replacing"] - _rows(shown.server, "replacing")).values())
    assert plan.rows_lost.value is not None
    assert plan.rows_lost.kind == "bound"
    assert 0 < lost <= plan.rows_lost.value


def test_a_transaction_whose_wal_is_gone_is_skipped_and_nothing_more(shown: Shown) -> None:
    plan = shown.engine.plan("resume-wal", "gone")
    assert any("nothing is on disk any more" in warning for warning in plan.warnings)
    assert plan.confirmation == "gone lose 0"
    before = _rows(shown.server, "gone")
    _done(shown, plan)
    found = _rows(shown.server, "gone")
    assert sum((found - before).values()) == plan.rows_back
    assert not found - shown.truth["gone"]


def test_a_bad_record_does_not_take_the_good_ones_before_it(shown: Shown) -> None:
    plan = shown.engine.plan("resume-wal", "ahead")
    assert [refusal.code for refusal in plan.refused] == ["good-behind-bad"]
    assert "repair-log" in plan.refused[0].instead
    assert shown.engine.run(plan, plan.confirmation).outcome is Outcome.REFUSED


def test_a_table_of_any_name_goes_on_without_loss(shown: Shown) -> None:
    name = "select from; --ü"
    shown.server.query(f'CREATE TABLE "{name}" (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY WAL')
    shown.server.query(f'ALTER TABLE "{name}" SUSPEND WAL')
    shown.server.query(f"INSERT INTO \"{name}\" VALUES ('2024-01-01', 1), ('2024-01-02', 2)")
    plan = shown.engine.plan("resume-wal", name)
    assert plan.confirmation == f"{name} lose 0"
    assert plan.rows_back == 2
    result = _done(shown, plan)
    assert shown.server.query(f'SELECT count() FROM "{name}"') == [(2,)]
    assert not shown.engine.plan("resume-wal", name).needed
    back = shown.engine.plan_undo(result.entry)
    assert [refusal.code for refusal in back.refused] == ["no-way-back"]


def test_killed_at_any_writing_call_it_is_finished(shown: Shown) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)

    def resume(name: str) -> None:
        plan = shown.engine.plan("resume-wal", name)
        assert plan.confirmation in (f"{name} lose 2", f"{name} lose 0")
        result = shown.engine.run(plan, plan.confirmation)
        assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), result

    suspended_live(shown.server, shown.root, "counted", zero=True)
    calls, killed = count(partial(resume, "counted")), 0
    for number in range(_KILLS):
        name, at, done = f"killed{number}", rng.randrange(calls), rng.random() < 0.5
        rows = suspended_live(shown.server, shown.root, name, zero=True)
        killed += killed_in_child(partial(resume, name), at, done=done)  # a quicker server leaves fewer calls
        resume(name)
        assert shown.engine.unfinished() == (), f"seed {seed}: {at} {done}"
        assert shown.server.query(f"SELECT count() FROM {name}") == [(rows,)], f"seed {seed}: {at} {done}"
        assert shown.engine.journal.verify() == ()
    assert killed, f"seed {seed}"


def test_killed_in_each_stage_at_any_moment_it_is_finished(shown: Shown) -> None:
    """A killed run may have told the server already: whatever it had done, finished it has skipped the one alone."""
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)

    def resume(name: str, on_progress: OnProgress) -> None:
        plan = shown.engine.plan("resume-wal", name)
        result = shown.engine.run(plan, plan.confirmation, on_progress)
        assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), result

    suspended_live(shown.server, shown.root, "timed", zero=True)
    times = stage_times(partial(resume, "timed"))
    assert list(times) == ["keep", "resume", "verify"]
    instants = [*times.items(), *rng.choices(list(times.items()), k=3)]
    for number, (stage, seconds) in enumerate(instants):
        name, after = f"moment{number}", rng.uniform(0, seconds)
        label = f"seed {seed}: {stage} after {after:.4f} of {seconds:.4f} s"
        rows = suspended_live(shown.server, shown.root, name, zero=True)
        killed_in_stage(partial(resume, name), stage, after)
        resume(name, lambda progress: None)
        assert shown.engine.unfinished() == (), label
        assert shown.server.query(f"SELECT count() FROM {name}") == [(rows,)], label
        kept = [entry for entry in shown.engine.journal.entries() if entry.table == name]
        assert kept, label
        assert (shown.engine.state.entry(kept[0].id) / KEPT).is_dir(), label  # the segment, for salvage-wal
        assert shown.engine.journal.verify() == (), label


@pytest.mark.faults
def test_a_skip_is_rehearsed_on_a_clone(shown: Shown, questdb: ServerBinary) -> None:
    suspended_live(shown.server, shown.root, "rehearsed", zero=True)
    settings = shown.engine.settings
    known = replace(settings.questdb, jar=str(questdb.jar), java=str(questdb.java))
    engine = Engine(replace(settings, questdb=known))
    rehearsal = rehearse(engine, "resume-wal", "rehearsed")
    assert rehearsal.outcome is RehearsalOutcome.PASSED, rehearsal.message
    plan = engine.plan("resume-wal", "rehearsed")
    assert plan.rehearsed
    assert plan.confirmation == "rehearsed lose 2"
    assert shown.server.query("SELECT count() FROM rehearsed") == [(1,)]


@pytest.mark.faults
def test_torn_rows_are_skipped_alone_once_the_server_applies_one_by_one(shown: Shown, questdb: ServerBinary) -> None:
    plan = shown.engine.plan("resume-wal", "torn")
    assert [refusal.code for refusal in plan.refused] == ["good-behind-bad"]
    assert "cairo.wal.max.lag.size=1" in plan.refused[0].instead
    shown.server.stop()
    one_by_one = {**SERVER, "cairo.wal.max.lag.size": "1", "cairo.wal.apply.look.ahead.txn.count": "1"}
    with PrivateServer(shown.batch.root, questdb, settings=one_by_one) as server:
        _wait_until_suspended(server, {"torn"})
        engine = Engine(_settings(shown.batch.root, server, shown.engine.state.root))
        announced = 0
        for _ in range(20):
            plan = engine.plan("resume-wal", "torn")
            if not plan.needed:
                break
            assert plan.refused == (), plan
            announced += plan.rows_lost.value or 0
            result = engine.run(plan, plan.confirmation)
            assert result.outcome is Outcome.DONE, result
        found = _rows(server, "torn")
    assert announced > 0
    assert not found - shown.truth["torn"]
    assert sum((shown.truth["torn"] - found).values()) == announced


def _report(shown: Shown, name: str) -> TableReport:
    return next(each for each in shown.engine.diagnosis().tables if each.table == name)


def _start_refused(shown: Shown) -> set[str | None]:
    return {each.table for each in shown.engine.plan("start-server").refused}


def test_what_was_skipped_by_hand_is_at_risk_until_its_rows_are_files(shown: Shown) -> None:
    suspended_live(shown.server, shown.root, "by_hand", zero=False)
    shown.server.query("ALTER TABLE by_hand RESUME WAL FROM TXN 5")
    until(lambda: _report(shown, "by_hand").has(Code.TRANSACTIONS_SKIPPED), seconds=20)
    report = _report(shown, "by_hand")
    assert (report.verdict, report.rows_at_risk, report.next_step.action) == (Verdict.AT_RISK, 6, "salvage-wal")
    assert "by_hand" in _start_refused(shown)
    plan = shown.engine.plan("salvage-wal", "by_hand")
    assert "6 rows" in plan.why
    result = _done(shown, plan)
    report = _report(shown, "by_hand")
    assert (report.verdict, report.next_step.action) == (Verdict.HEALTHY, None)
    assert "by_hand" not in _start_refused(shown)
    (rows,) = (salvage_folder(plan.stages[0].parameters, result.entry)).glob("*.csv")
    rows.write_bytes(rows.read_bytes().replace(b"1", b"2"))
    assert _report(shown, "by_hand").verdict is Verdict.AT_RISK  # what is in the file now was never proven


def test_what_resume_wal_skips_as_announced_is_no_risk_afterwards(shown: Shown) -> None:
    suspended_live(shown.server, shown.root, "announced", zero=False)
    (shown.root.table("announced").path / "wal1" / "0" / "v.d").unlink()
    plan = shown.engine.plan("resume-wal", "announced")
    assert plan.confirmation == "announced lose 6"
    _done(shown, plan)
    report = _report(shown, "announced")
    assert {each.severity for each in report.findings if each.code is Code.TRANSACTIONS_SKIPPED} == {Severity.NOTE}
    assert report.verdict is Verdict.HEALTHY


def test_one_that_was_skipped_in_the_middle_is_at_risk_too(shown: Shown) -> None:
    """The usual form: what fails is skipped, so that what is behind it gets applied."""
    query = shown.server.query
    query("CREATE TABLE passed (ts TIMESTAMP, v LONG) TIMESTAMP(ts) PARTITION BY DAY WAL")
    rows = "INSERT INTO passed SELECT timestamp_sequence('2024-01-02T{:02d}', 1000000L), x FROM long_sequence(40)"
    query(rows.format(1))
    until(lambda: query("SELECT count() FROM passed") == [(40,)], seconds=20)
    query("ALTER TABLE passed SUSPEND WAL")
    for hour in (2, 3, 4):
        query(rows.format(hour))
    query("ALTER TABLE passed RESUME WAL FROM TXN 3")
    until(lambda: query("SELECT count() FROM passed") == [(120,)], seconds=20)
    report = _report(shown, "passed")
    assert (report.verdict, report.rows_at_risk, report.next_step.action) == (Verdict.AT_RISK, 40, "salvage-wal")
    plan = shown.engine.plan("salvage-wal", "passed")
    assert "40 rows" in plan.why
    _done(shown, plan)
    assert _report(shown, "passed").verdict is Verdict.HEALTHY

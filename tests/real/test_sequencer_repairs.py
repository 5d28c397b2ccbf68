"""Seeded damage to generated tables, each repaired by the engine; one start shows every row of an undamaged copy.

`WALMEDIC_FAULT_TABLES` says how many tables (200 in `make faults`); their seeds are 0, 1, 2, …, and a failure names its
own.
"""

import datetime
import os
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Code, Severity
from console.recovery.engine import Engine
from console.recovery.evidence.index import table_stamp
from console.recovery.gate.start_checks import start_refusals
from console.recovery.model import Claim, Outcome, Plan, RowsLost
from console.recovery.server.expectation import Expectation, expectation_of
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server
from console.recovery.server.verification import row_claims
from console.settings import QuestDBSettings, Settings
from tests.real.generated_tables import SERVER, Batch, Recipe, build, log_records, refresh, wait_until_applied
from tests.real.sequencer_damage import DAMAGES, Damage, removed_bare, tear

_TABLES = int(os.environ.get("WALMEDIC_FAULT_TABLES", "24"))
_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - the server's timestamps come without a zone
_PURGING = {**SERVER, "cairo.wal.purge.interval": "1000"}

_TORN = ("restore-sequencer", "rebuild-sequencer", "repair-log")
"""The actions that read the segments: what is torn in these is left out, and announced."""

Rows = Counter[tuple[object, str]]
"""Rows by their timestamp and by all of their values."""


@dataclass
class Case:
    """One table: what was done to it, the plan, how its run ended, and its rows in an undamaged copy and after."""

    recipe: Recipe
    damage: Damage
    plan: Plan
    outcome: Outcome | None
    truth: Rows
    torn: list[int]  # the timestamps (µs) of the transaction that was torn
    found: Rows = field(default_factory=Counter)
    partitions: tuple[list[object], list[object]] = ([], [])
    expected: Expectation | None = None  # what the disk said after the repair
    split: bool = False  # the server had split a partition
    wrong: list[Claim] = field(default_factory=list)  # what the server then said otherwise
    days: frozenset[str] = frozenset()  # of the partitions that a refused table had
    view: tuple[bool, bool] = (False, False)  # whether its view could show its query's rows: undamaged, repaired

    @property
    def lost(self) -> Rows:
        """Rows of the undamaged copy that are not there."""
        return self.truth - self.found

    def __str__(self) -> str:
        return f"seed {self.recipe.seed}: {self.damage.name}, {self.damage.action}; {self.recipe}"


def _rows(server: PrivateServer, name: str) -> Rows:
    return Counter((row[0], repr(row)) for row in server.query(f"SELECT * FROM {name}"))


def _partitions(server: PrivateServer, name: str) -> list[object]:
    return list(server.query(f"SELECT timestamp_floor('d', ts) d, count(), min(ts), max(ts) FROM {name} ORDER BY d"))


def engine_of(root: Path, state: Path, log: Path | None = None) -> Engine:
    """Return the engine on a database that belongs to no station."""
    questdb = QuestDBSettings(db_root=str(root), log=str(log) if log is not None else "")
    return Engine(Settings(state_dir=str(state), questdb=questdb, bare=True))


def captured(engine: Engine, table: str | None = None) -> Engine:
    """Capture the evidence of a table, or of all, without which nothing is repaired."""
    plan = engine.plan("capture-evidence", table)
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    return engine


def repaired(
    engine: Engine, batch: Batch, recipe: Recipe, damage: Damage, truth: Rows, torn: list[int] | None = None
) -> Case:
    """Plan and run the repair of one table: a refused plan changes nothing, a repaired table has nothing left to say.

    But for a torn transaction, which no record names any more.
    """
    before = table_stamp(batch.table(recipe.name))
    plan = engine.plan(damage.action, recipe.name)
    if plan.refused:
        assert engine.run(plan, plan.confirmation).outcome is Outcome.REFUSED
        assert table_stamp(batch.table(recipe.name)) == before
        days = frozenset(path.name[:10] for path in batch.table(recipe.name).glob("20*"))
        return Case(recipe, damage, plan, None, truth, torn or [], days=days)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), f"{damage.name}, {recipe}: {result}"
    report = diagnose_table(engine.database, engine.database.table(recipe.name))
    left_out = {Code.LOG_TAIL_UNLOGGED, Code.WAL_AT_RISK_OF_PURGE} if torn else set()
    said = [f for f in report.findings if f.severity is not Severity.NOTE and f.code not in left_out]
    assert not said, f"{damage.name}, {recipe}: {said}"
    split = any("T" in path.name for path in batch.table(recipe.name).glob("20*"))
    expected = expectation_of(engine.database.table(recipe.name))
    return Case(recipe, damage, plan, result.outcome, truth, torn or [], expected=expected, split=split)


@pytest.fixture(scope="module")
def cases(questdb: ServerBinary, workshop: Path) -> list[Case]:
    """Build, copy for the truth, damage, repair, start once, look; then write, alter, and start again."""
    recipes = [Recipe.drawn(seed) for seed in range(_TABLES)]
    batch = build(workshop / "root", recipes, questdb)
    undamaged = batch.copy(workshop / "truth")
    truth, partitions, views = {}, {}, {}
    with PrivateServer(undamaged.root, questdb, settings=_PURGING) as server:
        wait_until_applied(server)
        for recipe in recipes:
            truth[recipe.name], partitions[recipe.name] = _rows(server, recipe.name), _partitions(server, recipe.name)
            views[recipe.name] = recipe.viewed and refresh(server, recipe)
    damages = {recipe.name: DAMAGES[recipe.seed % len(DAMAGES)] for recipe in recipes}
    torn: dict[str, list[int]] = {}
    for recipe in recipes:
        rng, table = random.Random(recipe.seed * 31 + 7), batch.table(recipe.name)
        if recipe.torn and damages[recipe.name].action in _TORN:
            torn[recipe.name] = tear(table, random.Random(recipe.seed * 17 + 3))
        damages[recipe.name].strike(table, rng)
    engine = captured(engine_of(batch.root, workshop / "state"))
    made = [repaired(engine, batch, r, damages[r.name], truth[r.name], torn.get(r.name)) for r in recipes]
    against = [r.reason for r in start_refusals(engine._context())]
    names = tuple(f"{case.recipe.name}:" for case in made if case.outcome is not None)
    assert not [reason for reason in against if reason.startswith(names)], against
    torn_one = next(case for case in made if case.torn and case.outcome is not None)
    assert not [a.spec.id for a in engine.availability(torn_one.recipe.name) if a.recommended], torn_one
    # A table that nothing could be done for must not meet a server: it would destroy what is left of it.
    hidden = workshop / "refused"
    hidden.mkdir()
    for case in made:
        if case.outcome is None:
            batch.table(case.recipe.name).rename(hidden / case.recipe.name)
    whole = [case for case in made if case.outcome is not None]
    with PrivateServer(batch.root, questdb, settings=_PURGING) as server:
        wait_until_applied(server)
        for case in whole:
            name = case.recipe.name
            case.found, case.partitions = _rows(server, name), (partitions[name], _partitions(server, name))
            if case.expected is not None:
                ours = Server(QuestDBSettings(pg_port=server.pg_port))
                case.wrong = [claim for claim in row_claims(ours, case.expected) if not claim.ok]
            case.view = views[name], views[name] and refresh(server, case.recipe)
            server.query(f"INSERT INTO {name} (ts, px) VALUES ('2030-01-01T00:00:00.000000Z', 1.5)")
            server.query(f"ALTER TABLE {name} ADD COLUMN after_repair INT")
            server.query(f"INSERT INTO {name} (ts, after_repair) VALUES ('2030-01-02T00:00:00.000000Z', 7)")
    with PrivateServer(batch.root, questdb, settings=_PURGING) as server:
        for case in whole:
            server.query(f"INSERT INTO {case.recipe.name} (ts, after_repair) VALUES ('2030-01-03T00:00:00.000000Z', 8)")
        wait_until_applied(server)
        for case in whole:
            late = f"SELECT px, after_repair FROM {case.recipe.name} WHERE ts >= '2030-01-01' ORDER BY ts"
            assert server.query(late) == [(1.5, None), (None, 7), (None, 8)], case
    return made


def test_every_table_is_repaired_or_refused_for_a_reason(cases: list[Case]) -> None:
    for case in cases:
        codes = {refusal.code for refusal in case.plan.refused}
        several = case.recipe.writers > 1
        excused = set()
        if case.damage.strike is removed_bare and case.recipe.altered_late:
            excused.add("structure-change-lost")
        if case.damage.strike is removed_bare and case.torn:  # no log, and its rows cannot be looked for
            excused.add("applied-ambiguous")
        if case.damage.strike is removed_bare and case.recipe.late_first and "applied-ambiguous" in codes:
            # Rows of a day between or before the others, of which there is no partition: not applied, or dropped since.
            days = {f"{stamp:%Y-%m-%d}" for stamp, _ in case.truth}
            if {day for day in days - case.days if day < max(case.days)}:
                assert any("partitions that the table does not have" in each.reason for each in case.plan.refused)
                excused.add("applied-ambiguous")
        if case.recipe.updates:  # whether a statement at the end of a WAL was applied shows in no row
            excused.add("applied-ambiguous")
        if several and (case.recipe.updates or case.recipe.dedup):
            excused.add("order-ambiguous")
        assert codes <= excused, f"{case}: {[refusal.reason for refusal in case.plan.refused]}"
        assert case.outcome in (Outcome.DONE, Outcome.NOT_NEEDED) or codes, case


def test_few_are_refused(cases: list[Case]) -> None:
    assert sum(case.outcome is None for case in cases) <= len(cases) // 8


def test_every_row_is_there_once_but_those_of_a_torn_transaction(cases: list[Case]) -> None:
    """Applied rows always, rows that waited wherever their segment holds them; none twice, none that never was."""
    for case in cases:
        if case.outcome is None:
            continue
        extra = case.found - case.truth
        if case.recipe.dedup and case.torn:  # what a torn row would have replaced is still there
            keys = [(ts, values.split(",")[1]) for ts, values in case.found.elements()]
            assert len(keys) == len(set(keys)), case
            assert sum(case.lost.values()) <= len(case.torn) + sum(extra.values()), case
            continue
        assert extra == Counter(), f"{case}: {len(extra)} too many"
        missing = sorted(ts for ts, _ in case.lost.elements())  # type: ignore[type-var]
        assert missing == [_EPOCH + datetime.timedelta(microseconds=ts) for ts in sorted(case.torn)], case


def test_the_loss_that_is_announced_is_the_loss_that_is_measured(cases: list[Case]) -> None:
    for case in cases:
        if case.outcome is None:
            continue
        lost = sum(case.truth.values()) - sum(case.found.values())
        if case.recipe.dedup and case.torn:
            assert case.plan.rows_lost == RowsLost("bound", len(case.torn)), case
            assert 0 <= lost <= len(case.torn), case
            assert case.plan.confirmation == f"{case.recipe.name} lose up-to-{len(case.torn)}"
            continue
        assert case.plan.rows_lost == RowsLost.exact(lost), case
        assert case.plan.confirmation == f"{case.recipe.name} lose {lost}"


def test_minimum_maximum_and_partitions_are_those_of_the_truth(cases: list[Case]) -> None:
    for case in cases:
        if not case.torn:
            assert case.partitions[0] == case.partitions[1], case


def test_what_the_disk_predicts_is_what_the_server_serves(cases: list[Case]) -> None:
    """Count, oldest, newest and rows of each partition, with those that were split off: what start-server proves."""
    assert [str(case) for case in cases if case.wrong] == [], [case.wrong for case in cases if case.wrong]
    assert sum(case.expected is not None and case.expected.exact for case in cases) > len(cases) // 3


def test_views_show_every_row(cases: list[Case]) -> None:
    """Records below what a view has seen may be filler; above it they must be real, or it misses rows in silence."""
    for case in cases:
        if case.outcome is not None and case.view[0]:
            assert case.view[1], case


def test_what_the_run_was_made_of(cases: list[Case]) -> None:
    """The seeds have all that matters in them; the figures, for `-rP`."""
    done = [case for case in cases if case.outcome is not None]
    splits = sum(case.split for case in done)
    figures = {
        "tables": len(cases),
        "repaired": len(done),
        "refused": dict(Counter(r.code for case in cases if case.outcome is None for r in case.plan.refused[:1])),
        "formats": dict(Counter(case.recipe.version for case in done)),
        "writers": dict(Counter(case.recipe.writers for case in done)),
        "altered": sum(case.recipe.altered or case.recipe.altered_late for case in done),
        "dedup": sum(case.recipe.dedup for case in done),
        "viewed": sum(case.view[0] for case in done),
        "torn": sum(bool(case.torn) for case in done),
        "split": splits,
        "rows": sum(sum(case.found.values()) for case in done),
        "rows lost, announced": sum(case.plan.rows_lost.value or 0 for case in done),
        "rows lost, measured": sum(sum(case.truth.values()) - sum(case.found.values()) for case in done),
    }
    sys.stdout.write(f"{figures}\n")
    assert {1, 2} <= {case.recipe.version for case in done}
    assert all(figures[name] for name in ("altered", "dedup", "viewed", "torn"))


def test_the_generator_makes_what_it_promises(tmp_path: Path, questdb: ServerBinary) -> None:
    """Interleaved writers, pending transactions and both formats: else the tests above would prove little."""
    recipes = [Recipe.drawn(seed) for seed in range(_TABLES)]
    assert {recipe.version for recipe in recipes} == {1, 2}
    assert max(recipe.writers for recipe in recipes) == 5
    chosen = next(r for r in recipes if r.writers > 1 and r.version == 2 and r.pending_rounds)
    batch = build(tmp_path / "root", [chosen], questdb)
    version, records = log_records(batch.table(chosen.name))
    assert version == 2
    order = [wal for _, wal, _, _ in records if wal > 0]
    assert order != sorted(order)
    assert len(set(order)) == chosen.writers

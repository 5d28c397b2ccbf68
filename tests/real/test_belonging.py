"""Logs and WALs of other tables and of earlier lives, put where they do not belong: no foreign row, no row twice.

Each table of one killed database is struck in its own way, planned, and, unless that is refused, repaired. One start
shows the rows of all, next to those of an undamaged copy of the database: what is lost is what was announced.
"""

import os
import random
import shutil
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.findings.sequencer import best_backup
from console.diagnosis.table_facts import read_facts
from console.questdb.layout import DatabaseRoot
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan, RowsLost
from console.recovery.sequencer.candidates import best_of
from console.recovery.sequencer.disk import read_sources, read_table
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, Settings
from tests.real.belonging_cases import BACKUP, CASES, Case, overwrite
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.table_lives import Past, build

pytestmark = pytest.mark.timeout(900)  # one fixture plays all cases

_UNREHEARSED = RefusalCode.LOSE_UNKNOWN_WITHOUT_REHEARSAL
_EARLIER = ("cyc_backup", "cyc_live_", "remade_backup", "remade_live")
Rows = Counter[tuple[object, ...]]
_COPY_SETS = int(os.environ.get("WALMEDIC_COPY_SETS", "8"))
_DEAD_ENDS = frozenset({RefusalCode.NO_BACKUP, RefusalCode.NO_LOG, RefusalCode.LOG_FOREIGN, RefusalCode.WAL_NOT_PROVEN})
"""Refusals that the check could have known: it must not advise what they are given for."""


# ---- copies of one sequencer, each damaged in its own way ------------------------------------------------------------

_NAMES = ("txn_seq.backup.1", "txn_seq.backup.2", "txn_seq.corrupted.3", "seq_copy", "txn_seq_old")


def _spoil(copy: Path, rng: random.Random, top: int) -> str:
    """Damage one copy of a sequencer with `top` records in a way drawn by `rng`; return what was done."""
    log = copy / "_txnlog"
    first, second = rng.randint(1, top), rng.randint(1, top)
    at, size = 76 + 28 * (first - 1), 28 * rng.randint(1, 4)
    kind = rng.choice(("none", "header", "cut", "zeros", "swap", "repeat", "id", "bare", "log only", "blank", "older"))
    if kind == "header":
        overwrite(log, 4, struct.pack("<q", rng.randint(0, top + 4)))
    elif kind == "cut":
        log.write_bytes(log.read_bytes()[: at + rng.randint(0, 27)])
    elif kind == "zeros":
        overwrite(log, at, bytes(size))
    elif kind in ("swap", "repeat"):
        data = log.read_bytes()
        other = 76 + 28 * (second - 1)
        overwrite(log, at, data[other : other + 28])
        if kind == "swap":
            overwrite(log, other, data[at : at + 28])
    elif kind == "id" and (copy / "_meta").exists():
        overwrite(copy / "_meta", 24, struct.pack("<i", 4711))
    elif kind in ("bare", "log only"):
        (copy / "_meta").unlink(missing_ok=True)
        if kind == "log only":
            (copy / "_meta.0").unlink(missing_ok=True)
    elif kind == "blank":
        overwrite(log, 0, bytes(76))
    elif kind == "older":
        (created,) = struct.unpack_from("<q", log.read_bytes(), 12)
        overwrite(log, 12, struct.pack("<q", created - 1_000_000))
    return kind


def _disagreements(database: DatabaseRoot, name: str, seeds: range) -> list[str]:
    """Return where a check and a plan choose another best copy, over generated sets of damaged copies."""
    directory = database.table(name)
    live, found = directory.sequencer, []
    (top,) = struct.unpack_from("<q", (live / "_txnlog").read_bytes(), 4)
    for seed in seeds:
        rng = random.Random(seed)
        names = rng.sample(_NAMES, rng.randint(1, len(_NAMES)))
        for each in names:
            shutil.copytree(live, directory.path / each)
        done = [(each, [_spoil(directory.path / each, rng, top) for _ in range(rng.randint(1, 2))]) for each in names]
        table = read_table(directory)
        best, descriptions = best_of(table, [source for source in read_sources(table) if not source.live])
        shown = best_backup(read_facts(directory))
        if (best.source.name if best else None) != (shown.name if shown else None):
            found.append(f"seed {seed}: the check takes {shown and shown.name}: {descriptions}; {done}")
        for each in names:
            shutil.rmtree(directory.path / each)
    return found


@dataclass
class Ended:
    """How one case ended: its plan, the run's outcome (None: refused), and the rows of both servers."""

    case: Case
    plan: Plan
    outcome: Outcome | None
    truth: Rows
    step: str | None  # what the check says comes next
    dead_end: frozenset[RefusalCode]  # what a plan of that step is refused for, though the step was advised
    unused: frozenset[str] = frozenset()  # the logs that are not taken for the table's
    found: Rows = field(default_factory=Counter)


@dataclass
class Outcomes:
    """How all cases ended, and where check and plan chose another best copy."""

    cases: dict[str, Ended]
    differing: list[str]


def _rows(server: PrivateServer, name: str) -> Rows:
    return Counter(server.query(f"SELECT ts, id, sym, px FROM {name}"))


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, workshop: Path) -> "Outcomes":
    """Build, start a copy for the truth, strike, plan and repair, start once."""
    pasts = [Past("other"), *(case.past(name) for name, case in CASES.items())]
    world = build(workshop / "root", pasts, questdb)
    undamaged = world.copy(workshop / "truth")
    with PrivateServer(undamaged.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        truth = {name: _rows(server, name) for name in CASES}
    shutil.rmtree(undamaged.root)
    settings = Settings(state_dir=str(workshop / "state"), questdb=QuestDBSettings(db_root=str(world.root)), bare=True)
    engine = Engine(settings)
    differing = _disagreements(engine.database, "other", range(_COPY_SETS))
    for name, case in CASES.items():
        case.strike(world, name)
    plan = engine.plan("capture-evidence")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    found = {name: _repaired(engine, name, case, truth[name]) for name, case in CASES.items()}
    hidden = workshop / "refused"
    hidden.mkdir()
    for name, each in found.items():
        if each.outcome is None:  # a server would destroy what is left of it
            world.table(name).rename(hidden / name)
    with PrivateServer(world.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        for name, each in found.items():
            if each.outcome is not None:
                each.found = _rows(server, name)
    shutil.rmtree(world.root)
    return Outcomes(found, differing)


def _repaired(engine: Engine, name: str, case: Case, truth: Rows) -> Ended:
    logs = read_table(engine.database.table(name)).origins.logs
    unused = frozenset(log for log, verdict in logs.items() if not verdict.own)
    step = diagnose_table(engine.database, engine.database.table(name)).next_step.action
    advised = {refusal.code for refusal in engine.plan(step, name).refused} if step else set()
    dead_end = frozenset(advised & _DEAD_ENDS)
    plan = engine.plan(case.action, name)
    if plan.refused:
        return Ended(case, plan, None, truth, step, dead_end, unused)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), f"{name}: {result}"
    return Ended(case, plan, result.outcome, truth, step, dead_end, unused)


@pytest.mark.parametrize("name", CASES)
def test_what_is_lost_was_announced_and_nothing_foreign_came_in(name: str, ended: Outcomes) -> None:
    each = ended.cases[name]
    descriptions = f"{each.plan.why} {each.plan.warnings} {[refusal.reason for refusal in each.plan.refused]}"
    if each.outcome is None:
        assert not each.case.must, descriptions
        return
    assert each.found - each.truth == Counter(), descriptions
    lost = sum((each.truth - each.found).values())
    assert each.plan.rows_lost == RowsLost.exact(lost) or (
        each.plan.rows_lost.kind == "bound" and lost <= (each.plan.rows_lost.value or 0)
    ), f"{lost} rows are lost: {descriptions}"
    assert not each.case.must or not lost, descriptions


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(_EARLIER)])
def test_a_log_of_an_earlier_life_is_not_used(name: str, ended: Outcomes) -> None:
    each = ended.cases[name]
    assert len(each.unused) == 1, each.plan.warnings


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("put_")])
def test_a_wal_that_was_put_in_is_not_used(name: str, ended: Outcomes) -> None:
    codes = {refusal.code for refusal in ended.cases[name].plan.refused}
    assert RefusalCode.WAL_NOT_PROVEN in codes, codes


def test_a_strange_wal_that_no_time_tells_apart_makes_the_loss_unknown(ended: Outcomes) -> None:
    """Only the count of the applied transactions speaks against it, so that a rehearsal must come first."""
    plan = ended.cases["strange_without_times"].plan
    assert plan.rows_lost.kind == "unknown", plan.ledger
    assert {refusal.code for refusal in plan.refused} == {_UNREHEARSED}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.must])
def test_a_log_of_this_life_is_used(name: str, ended: Outcomes) -> None:
    each = ended.cases[name]
    assert BACKUP not in each.unused or name.startswith(_EARLIER), each.plan.warnings


@pytest.mark.parametrize("name", CASES)
def test_the_step_that_the_check_advises_is_one_that_a_plan_takes(name: str, ended: Outcomes) -> None:
    each = ended.cases[name]
    assert not each.dead_end, each.step


def test_check_and_plan_choose_the_same_copy(ended: Outcomes) -> None:
    assert not ended.differing, f"{len(ended.differing)} of {_COPY_SETS}: {ended.differing[:3]}"

"""Logs and WALs of other tables and of earlier lives, put where they do not belong: no foreign row, no row twice.

Each table of one killed database is struck in its own way, planned, and, unless that is refused, repaired. One start
shows the rows of all, next to those of an undamaged copy of the database: what is lost is what was announced.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan, RowsLost
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, Settings
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.table_lives import Past, World, again, build, whole_seconds

Rows = Counter[tuple[object, ...]]
Strike = Callable[[World, str], None]

_BACKUP = "txn_seq.backup.20251110_032030"


def _moved(world: World, name: str) -> Path:
    """Make the table's own sequencer a backup of it."""
    table = world.table(name)
    (table / "txn_seq").rename(table / _BACKUP)
    return table / _BACKUP


def _gone(world: World, name: str) -> None:
    shutil.rmtree(world.table(name) / "txn_seq")


def _foreign_backup(world: World, name: str, *without: str) -> None:
    _gone(world, name)
    shutil.copytree(world.table("other") / "txn_seq", world.table(name) / _BACKUP)
    for file in without:
        (world.table(name) / _BACKUP / file).unlink()


def _foreign_in_place(world: World, name: str, *without: str) -> None:
    _foreign_backup(world, name, *without)
    (world.table(name) / _BACKUP).rename(world.table(name) / "txn_seq")


def _foreign_log_alone(world: World, name: str) -> None:
    """Only the log's file is another table's; `_meta` beside it is the table's own."""
    shutil.copy2(world.table("other") / "txn_seq" / "_txnlog", _moved(world, name) / "_txnlog")


def _both_backups(world: World, name: str) -> None:
    _moved(world, name)
    shutil.copytree(world.table("other") / "txn_seq", world.table(name) / "txn_seq.backup.9_the_newest")


def _own_backup(world: World, name: str, *without: str) -> None:
    backup = _moved(world, name)
    for file in without:
        (backup / file).unlink()


def _put_wal(source: Path, target: Path, *, lock: bool = True) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    if lock:
        source_lock = source.with_name(f"{source.name}.lock")
        if source_lock.exists():
            shutil.copy2(source_lock, target.with_name(f"{target.name}.lock"))


def _foreign_wal(world: World, name: str, at: int, *, log: bool = False) -> None:
    if not log:
        _gone(world, name)
    else:
        _moved(world, name)
    _put_wal(world.table("other") / "wal2", world.table(name) / f"wal{at}")


def _old_wal(world: World, name: str, at: int, *, log: bool = False, copied: bool = False) -> None:
    """A WAL of the earlier life is put at `at`; with `log` the log of this life is there as a backup."""
    if not log:
        _gone(world, name)
    else:
        _moved(world, name)
    target = world.table(name) / f"wal{at}"
    _put_wal(world.kept / name / "wal2", target)
    if copied:
        again(target, shutil.copyfile)


def _old_backup(world: World, name: str) -> None:
    _gone(world, name)
    shutil.copytree(world.kept / name / "txn_seq", world.table(name) / _BACKUP)


def _old_in_place(world: World, name: str) -> None:
    _gone(world, name)
    shutil.copytree(world.kept / name / "txn_seq", world.table(name) / "txn_seq")


def _copied(world: World, name: str, copy: Callable[[str, str], object], *, log: bool) -> None:
    """The whole table is a copy, as `copy` makes the files."""
    if log:
        _moved(world, name)
    else:
        _gone(world, name)
    again(world.table(name), copy)


@dataclass(frozen=True)
class Case:
    """What is done to one table, by which action it is repaired, and whether a refusal is one too many."""

    strike: Strike
    action: str = "rebuild-sequencer"
    life: str = "none"
    must: bool = False  # what is lost nowhere must be repaired
    altered: int = 0


CASES: dict[str, Case] = {
    "backup_other": Case(lambda w, n: _foreign_backup(w, n)),
    "backup_other_restore": Case(lambda w, n: _foreign_backup(w, n), "restore-sequencer"),
    "backup_other_bare": Case(lambda w, n: _foreign_backup(w, n, "_meta"), "restore-sequencer"),
    "backup_other_log_only": Case(lambda w, n: _foreign_backup(w, n, "_meta", "_meta.0")),
    "backup_two": Case(_both_backups, "restore-sequencer", must=True),
    "backup_other_log_file": Case(_foreign_log_alone, "restore-sequencer"),
    "live_other": Case(lambda w, n: _foreign_in_place(w, n)),
    "live_other_repair": Case(lambda w, n: _foreign_in_place(w, n), "repair-log"),
    "live_other_bare": Case(lambda w, n: _foreign_in_place(w, n, "_meta")),
    "live_other_log": Case(lambda w, n: _foreign_in_place(w, n, "_meta", "_meta.0")),
    "backup_own_bare": Case(lambda w, n: _own_backup(w, n, "_meta"), "restore-sequencer", must=True),
    "backup_own_log_only": Case(lambda w, n: _own_backup(w, n, "_meta", "_meta.0"), "restore-sequencer", must=True),
    "wal_other_added": Case(lambda w, n: _foreign_wal(w, n, 3)),
    "wal_other_added_log": Case(lambda w, n: _foreign_wal(w, n, 3, log=True), "restore-sequencer", must=True),
    "wal_other_replaced": Case(lambda w, n: _foreign_wal(w, n, 2)),
    "wal_other_replaced_log": Case(lambda w, n: _foreign_wal(w, n, 2, log=True), "restore-sequencer"),
    "cyc_added": Case(lambda w, n: _old_wal(w, n, 3), life="converted"),
    "cyc_added_copied": Case(lambda w, n: _old_wal(w, n, 3, copied=True), life="converted"),
    "cyc_added_log": Case(lambda w, n: _old_wal(w, n, 3, log=True), "restore-sequencer", "converted", must=True),
    "cyc_replaced": Case(lambda w, n: _old_wal(w, n, 2), life="converted"),
    "cyc_replaced_first": Case(lambda w, n: _old_wal(w, n, 1), life="converted"),
    "cyc_replaced_log": Case(lambda w, n: _old_wal(w, n, 2, log=True), "restore-sequencer", "converted"),
    "cyc_altered_added": Case(lambda w, n: _old_wal(w, n, 3), life="converted", altered=1),
    "cyc_backup": Case(_old_backup, "restore-sequencer", "converted"),
    "cyc_live": Case(_old_in_place, life="converted"),
    "drop_added": Case(lambda w, n: _old_wal(w, n, 3), life="dropped"),
    "drop_replaced_log": Case(lambda w, n: _old_wal(w, n, 2, log=True), "restore-sequencer", "dropped"),
    "drop_backup": Case(_old_backup, "restore-sequencer", "dropped"),
    "same_cp": Case(lambda w, n: _copied(w, n, shutil.copyfile, log=False), must=True),
    "same_cp_log": Case(lambda w, n: _copied(w, n, shutil.copyfile, log=True), "restore-sequencer", must=True),
    "same_rsync": Case(lambda w, n: _copied(w, n, shutil.copy2, log=False), must=True),
    "same_tar": Case(lambda w, n: _copied(w, n, whole_seconds, log=True), "restore-sequencer", must=True),
    "same_tar_bare": Case(lambda w, n: _copied(w, n, whole_seconds, log=False), must=True),
    "same_cyc_cp": Case(lambda w, n: _copied(w, n, shutil.copyfile, log=False), life="converted", must=True),
    "same_cyc_cp_log": Case(
        lambda w, n: _copied(w, n, shutil.copyfile, log=True), "restore-sequencer", "converted", must=True
    ),
    "same_cyc_tar": Case(
        lambda w, n: _copied(w, n, whole_seconds, log=True), "restore-sequencer", "converted", must=True
    ),
    "same_cyc": Case(_gone, life="converted", must=True),
    "same_altered": Case(_gone, altered=2, must=True),
    "same_dropped": Case(_gone, life="dropped", must=True),
}


@dataclass
class Ended:
    """How one case ended: its plan, the run's outcome (None: refused), and the rows of both servers."""

    case: Case
    plan: Plan
    outcome: Outcome | None
    truth: Rows
    recommended: tuple[str | None, str]
    found: Rows = field(default_factory=Counter)


def _rows(server: PrivateServer, name: str) -> Rows:
    return Counter(server.query(f"SELECT ts, id, sym, px FROM {name}"))


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Build, start a copy for the truth, strike, plan and repair, start once."""
    work = tmp_path_factory.mktemp("lives")
    pasts = [Past("other"), *(Past(name, case.life, case.altered) for name, case in CASES.items())]
    world = build(work / "root", pasts, questdb)
    undamaged = world.copy(work / "truth")
    with PrivateServer(undamaged.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        truth = {name: _rows(server, name) for name in CASES}
    shutil.rmtree(undamaged.root)
    for name, case in CASES.items():
        case.strike(world, name)
    settings = Settings(state_dir=str(work / "state"), questdb=QuestDBSettings(db_root=str(world.root)), bare=True)
    engine = Engine(settings)
    plan = engine.plan("capture-evidence")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    found = {name: _repaired(engine, name, case, truth[name]) for name, case in CASES.items()}
    hidden = work / "refused"
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
    return found


def _repaired(engine: Engine, name: str, case: Case, truth: Rows) -> Ended:
    report = diagnose_table(engine.database, engine.database.table(name))
    step = (report.next_step.action, report.next_step.reason)
    plan = engine.plan(case.action, name)
    if plan.refused:
        return Ended(case, plan, None, truth, step)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), f"{name}: {result}"
    return Ended(case, plan, result.outcome, truth, step)


@pytest.mark.parametrize("name", CASES)
def test_what_is_lost_was_announced_and_nothing_foreign_came_in(name: str, ended: dict[str, Ended]) -> None:
    each = ended[name]
    told = f"{each.plan.why} {each.plan.warnings} {[refusal.reason for refusal in each.plan.refused]}"
    if each.outcome is None:
        assert not each.case.must, told
        return
    assert each.found - each.truth == Counter(), told
    lost = sum((each.truth - each.found).values())
    assert each.plan.rows_lost == RowsLost.exact(lost) or (
        each.plan.rows_lost.kind == "bound" and lost <= (each.plan.rows_lost.value or 0)
    ), f"{lost} rows are lost: {told}"
    assert not each.case.must or not lost, told

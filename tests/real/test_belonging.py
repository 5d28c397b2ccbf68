"""Logs and WALs of other tables and of earlier lives, put where they do not belong: no foreign row, no row twice.

Each table of one killed database is struck in its own way, planned, and, unless that is refused, repaired. One start
shows the rows of all, next to those of an undamaged copy of the database: what is lost is what was announced.
"""

import os
import random
import shutil
import struct
from collections import Counter
from collections.abc import Callable
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
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.table_lives import Past, World, again, build, whole_seconds

_EARLIER = ("cyc_backup", "cyc_live_", "remade_backup", "remade_live")
Rows = Counter[tuple[object, ...]]
Strike = Callable[[World, str], None]

_BACKUP = "txn_seq.backup.20251110_032030"
_COPY_SETS = int(os.environ.get("WALMEDIC_COPY_SETS", "24"))
_DEAD_ENDS = frozenset({RefusalCode.NO_BACKUP, RefusalCode.NO_LOG, RefusalCode.LOG_FOREIGN, RefusalCode.WAL_NOT_PROVEN})
"""Refusals that the check could have known: it must not advise what they are given for."""


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


def _first_wal_copied(world: World, name: str, *, lock: bool = False) -> None:
    """The first WAL of the earlier life, copied without links, is put in the place of this life's."""
    _gone(world, name)
    target = world.table(name) / "wal1"
    _put_wal(world.kept / name / "wal1", target, lock=False)
    again(target, shutil.copyfile)
    if lock:
        target.with_name("wal1.lock").unlink()
        target.with_name("wal1.lock").touch()


def _other_stations_wal(world: World, name: str) -> None:
    """A WAL of another station's table, which has this one's name, id, and columns, but symbols of its own."""
    _gone(world, name)
    target = world.table(name) / "wal2"
    _put_wal(world.table("other") / "wal2", target)
    for metadata in target.glob("*/_meta"):
        _write(metadata, 24, struct.pack("<i", int(world.table(name).name.rpartition("~")[2])))


def _other_symbols(world: World, name: str) -> None:
    """In a copy of the table without times and links, the second WAL has a dictionary with another first symbol."""
    _copied(world, name, shutil.copyfile, log=False)
    values = world.table(name) / "wal2" / "sym.c"
    assert values.read_bytes()[4:6] == "S".encode("utf-16-le")
    _write(values, 4, "Z".encode("utf-16-le"))


def _old_backup(world: World, name: str, copy: Callable[[str, str], object] = shutil.copy2) -> None:
    _gone(world, name)
    shutil.copytree(world.kept / name / "txn_seq", world.table(name) / _BACKUP, copy_function=copy)


def _old_in_place(world: World, name: str) -> None:
    _gone(world, name)
    shutil.copytree(world.kept / name / "txn_seq", world.table(name) / "txn_seq")


def _then(world: World, name: str, strike: Strike, copy: Callable[[str, str], object]) -> None:
    """The whole table is copied after `strike`, as `copy` makes the files."""
    strike(world, name)
    again(world.table(name), copy)


def _stale_backup(world: World, name: str, copy: Callable[[str, str], object] = shutil.copy2) -> None:
    """A backup of this life as it was three transactions ago; `copy` made its files."""
    backup = _moved(world, name)
    again(backup, copy)
    log = backup / "_txnlog"
    (top,) = struct.unpack_from("<q", log.read_bytes(), 4)
    _write(log, 4, struct.pack("<q", top - 3))
    _write(log, 76 + 28 * (top - 3), bytes(3 * 28))


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
    alone: int = 0  # rounds of one writer alone in the life before
    early: int = 0  # ALTERs in the life before
    writers: int = 2
    symbols: bool = True

    def past(self, name: str) -> Past:
        """Return the table that is struck."""
        return Past(name, self.life, self.altered, self.alone, self.early, self.writers, self.symbols)


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
    "cyc_live_even": Case(_old_in_place, life="converted"),
    "cyc_backup_uneven": Case(_old_backup, "restore-sequencer", "converted", alone=4),
    "cyc_backup_rebuild": Case(_old_backup, life="converted", alone=4, must=True),
    "cyc_live_uneven": Case(_old_in_place, "repair-log", "converted", alone=4),
    "cyc_live_rebuild": Case(_old_in_place, life="converted", alone=4, must=True),
    "cyc_backup_copied": Case(lambda w, n: _then(w, n, _old_backup, shutil.copyfile), life="converted", alone=4),
    "cyc_backup_tar": Case(lambda w, n: _then(w, n, _old_backup, whole_seconds), life="converted", alone=4, must=True),
    "cyc_in_place_copied": Case(lambda w, n: _then(w, n, _old_in_place, shutil.copyfile), life="converted", alone=4),
    "cyc_stale": Case(_stale_backup, "restore-sequencer", "converted", must=True),
    "cyc_stale_cp": Case(
        lambda w, n: _stale_backup(w, n, shutil.copyfile), "restore-sequencer", "converted", must=True
    ),
    "put_sole": Case(_first_wal_copied, life="converted", writers=1),
    "put_sole_lock": Case(lambda w, n: _first_wal_copied(w, n, lock=True), life="converted", writers=1),
    "put_sole_plain": Case(_first_wal_copied, life="converted", writers=1, symbols=False),
    "put_first": Case(lambda w, n: _first_wal_copied(w, n, lock=True), life="converted"),
    "put_first_plain": Case(lambda w, n: _first_wal_copied(w, n, lock=True), life="converted", symbols=False),
    "put_early": Case(lambda w, n: _old_wal(w, n, 2, copied=True), life="converted", altered=1, early=1),
    "put_early_copied": Case(
        lambda w, n: _then(w, n, lambda w, n: _old_wal(w, n, 2), shutil.copyfile), life="converted", altered=1, early=1
    ),
    "put_symbols_copied": Case(_other_symbols, life="converted"),
    "put_other_station": Case(_other_stations_wal),
    "same_early": Case(_gone, life="converted", altered=1, early=2, must=True),
    "same_sole_cp": Case(
        lambda w, n: _copied(w, n, shutil.copyfile, log=False), life="converted", writers=1, must=True
    ),
    "same_plain": Case(_gone, life="converted", writers=1, symbols=False, must=True),
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
    "remade_backup": Case(_old_backup, "restore-sequencer", "remade", alone=4),
    "remade_live": Case(_old_in_place, "repair-log", "remade", alone=4),
    "remade_backup_cp": Case(lambda w, n: _old_backup(w, n, shutil.copyfile), "restore-sequencer", "remade", alone=4),
    "remade_wal": Case(lambda w, n: _old_wal(w, n, 2), life="remade"),
}


# ---- copies of one sequencer, each damaged in its own way ------------------------------------------------------------

_NAMES = ("txn_seq.backup.1", "txn_seq.backup.2", "txn_seq.corrupted.3", "seq_copy", "txn_seq_old")


def _write(path: Path, offset: int, content: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(data)


def _spoil(copy: Path, rng: random.Random, top: int) -> str:
    """Damage one copy of a sequencer with `top` records in a way drawn by `rng`; return what was done."""
    log = copy / "_txnlog"
    first, second = rng.randint(1, top), rng.randint(1, top)
    at, size = 76 + 28 * (first - 1), 28 * rng.randint(1, 4)
    kind = rng.choice(("none", "header", "cut", "zeros", "swap", "repeat", "id", "bare", "log only", "blank", "older"))
    if kind == "header":
        _write(log, 4, struct.pack("<q", rng.randint(0, top + 4)))
    elif kind == "cut":
        log.write_bytes(log.read_bytes()[: at + rng.randint(0, 27)])
    elif kind == "zeros":
        _write(log, at, bytes(size))
    elif kind in ("swap", "repeat"):
        data = log.read_bytes()
        other = 76 + 28 * (second - 1)
        _write(log, at, data[other : other + 28])
        if kind == "swap":
            _write(log, other, data[at : at + 28])
    elif kind == "id" and (copy / "_meta").exists():
        _write(copy / "_meta", 24, struct.pack("<i", 4711))
    elif kind in ("bare", "log only"):
        (copy / "_meta").unlink(missing_ok=True)
        if kind == "log only":
            (copy / "_meta.0").unlink(missing_ok=True)
    elif kind == "blank":
        _write(log, 0, bytes(76))
    elif kind == "older":
        (created,) = struct.unpack_from("<q", log.read_bytes(), 12)
        _write(log, 12, struct.pack("<q", created - 1_000_000))
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
        best, told = best_of(table, [source for source in read_sources(table) if not source.live])
        shown = best_backup(read_facts(directory))
        if (best.source.name if best else None) != (shown.name if shown else None):
            found.append(f"seed {seed}: the check takes {shown and shown.name}: {told}; {done}")
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
def ended(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> "Outcomes":
    """Build, start a copy for the truth, strike, plan and repair, start once."""
    work = tmp_path_factory.mktemp("lives")
    pasts = [Past("other"), *(case.past(name) for name, case in CASES.items())]
    world = build(work / "root", pasts, questdb)
    undamaged = world.copy(work / "truth")
    with PrivateServer(undamaged.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        truth = {name: _rows(server, name) for name in CASES}
    shutil.rmtree(undamaged.root)
    settings = Settings(state_dir=str(work / "state"), questdb=QuestDBSettings(db_root=str(world.root)), bare=True)
    engine = Engine(settings)
    differing = _disagreements(engine.database, "other", range(_COPY_SETS))
    for name, case in CASES.items():
        case.strike(world, name)
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


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(_EARLIER)])
def test_a_log_of_an_earlier_life_is_not_used(name: str, ended: Outcomes) -> None:
    each = ended.cases[name]
    assert len(each.unused) == 1, each.plan.warnings


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("put_")])
def test_a_wal_that_was_put_in_is_not_used(name: str, ended: Outcomes) -> None:
    codes = {refusal.code for refusal in ended.cases[name].plan.refused}
    assert RefusalCode.WAL_NOT_PROVEN in codes, codes


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.must])
def test_a_log_of_this_life_is_used(name: str, ended: Outcomes) -> None:
    each = ended.cases[name]
    assert _BACKUP not in each.unused or name.startswith(_EARLIER), each.plan.warnings


@pytest.mark.parametrize("name", CASES)
def test_the_step_that_the_check_advises_is_one_that_a_plan_takes(name: str, ended: Outcomes) -> None:
    each = ended.cases[name]
    assert not each.dead_end, each.step


def test_check_and_plan_choose_the_same_copy(ended: Outcomes) -> None:
    assert not ended.differing, f"{len(ended.differing)} of {_COPY_SETS}: {ended.differing[:3]}"

"""The guard beside a real server that is killed while it writes: with its copies every repair is exact.

`WALMEDIC_FAULT_GUARD` says how many seeds (100 in `make faults`), `WALMEDIC_FAULT_SEED` names one to run alone.
"""

import os
import random
import shutil
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.guard.taking import Guard
from console.recovery.model import Outcome, Plan
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import GuardSettings, QuestDBSettings, Settings
from tests.real.generated_tables import wait_until_applied
from tests.real.grown_tables import GrownTable, grow
from tests.real.guarded_damage import strike
from tests.real.test_repair_state import Ended, seen
from tests.real.test_sequencer_repairs import captured
from tests.real.waiting import until
from tests.unhurried import unhurried

_ALONE = os.environ.get("WALMEDIC_FAULT_SEED")
_SEEDS = [int(_ALONE)] if _ALONE else [*range(9000, 9000 + int(os.environ.get("WALMEDIC_FAULT_GUARD", "12")))]
_NOISY = 10_000
_ENDS_THE_SERVER = 10_009
"""9.1.0 cannot merge rows into a Parquet partition of it: the server ends, on the undamaged twin too."""
"""Seeds from here on are written to while the server is killed, so that transactions came after the last copy."""
_TOGETHER = 25
_REPAIRS = (
    *("repair-metadata", "repair-table-state", "repair-symbols"),
    *("restore-sequencer", "rebuild-sequencer", "repair-log"),
)

pytestmark = pytest.mark.timeout(1800)  # one fixture repairs all tables, one after the other


class WalTable(GrownTable):
    """A table with WAL: of one without it nothing tells when its last row was committed."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.wal = True

    @property
    def quiet(self) -> bool:
        """Whether nothing writes to it when the server is killed: then the last round has seen all of it."""
        return self.seed < _NOISY


def _keep_copies(root: Path, folder: Path, ended: threading.Event) -> None:
    """Take one round after the other until the server is gone, and a last one then."""
    while not ended.is_set():
        try:
            database = DatabaseRoot.locate(root)
            break
        except WalmedicError:
            ended.wait(0.1)
    with Guard(database, folder, 1 << 30) as guard:
        while not ended.wait(0.2):
            guard.round()
        guard.round()


def _repaired(engine: Engine, name: str) -> tuple[Plan, Outcome]:
    """Take the repairs that a check names, one after the other; return the last and its end."""
    table = engine.database.table(name)
    step = diagnose_table(engine.database, table).next_step.action
    plan = engine.plan(step if step in _REPAIRS else "restore-sequencer", name)
    outcome = engine.run(plan, plan.confirmation).outcome
    if outcome is Outcome.DONE and diagnose_table(engine.database, table).next_step.action in _REPAIRS:
        return _repaired(captured(engine, name), name)
    return plan, outcome


def _together(work: Path, seeds: list[int], questdb: ServerBinary) -> dict[int, Ended]:
    root, twin, copies = work / "root", work / "twin", work / "copies"
    over = threading.Event()
    guard = threading.Thread(target=_keep_copies, args=(root, copies, over), daemon=True)
    guard.start()
    grow(root, seeds, questdb, WalTable)
    over.set()
    guard.join(60)
    shutil.copytree(root, twin)
    tables = {table.name: table for table in DatabaseRoot.locate(root).tables()}
    damages = {seed: strike(tables[f"g{seed}"].path, random.Random(seed)) for seed in seeds}
    settings = Settings(
        state_dir=str(work / "state"),
        questdb=QuestDBSettings(db_root=str(root)),
        guard=GuardSettings(str(copies)),
        bare=True,
    )
    ended = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        unhurried(monkeypatch)
        engine = captured(Engine(settings))
        for seed in seeds:
            plan, outcome = _repaired(engine, f"g{seed}")
            ended[seed] = Ended(seed, damages[seed], plan, outcome)
            if outcome not in (Outcome.DONE, Outcome.NOT_NEEDED):
                tables[f"g{seed}"].path.rename(work / f"refused{seed}")
    names = [f"g{seed}" for seed, each in ended.items() if each.outcome in (Outcome.DONE, Outcome.NOT_NEEDED)]
    truth, found = seen(twin, names, questdb), seen(root, names, questdb)
    for each in ended.values():
        each.truth, each.found = truth.get(f"g{each.seed}", []), found.get(f"g{each.seed}", [])
    sys.stdout.write("".join(f"{each}\n" for each in ended.values()))
    return ended


@pytest.mark.faults
def test_what_came_after_the_last_copy_is_exact_or_refused(questdb: ServerBinary, memory: Path) -> None:
    found: dict[int, Ended] = {}
    for first in range(_NOISY, _NOISY + 100, _TOGETHER):
        seeds = [seed for seed in range(first, first + _TOGETHER) if seed != _ENDS_THE_SERVER]
        found |= _together(memory / f"noisy-{first}", seeds, questdb)
    done = [each for each in found.values() if each.outcome is not Outcome.REFUSED]
    assert all(each.truth == each.found and each.plan.rows_lost.phrase == "0" for each in done), [
        str(each) for each in done if each.truth != each.found
    ]
    sys.stdout.write(f"{len(done)} of {len(found)} repaired\n")
    assert len(done) > len(found) // 2, len(done)


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, memory: Path) -> dict[int, Ended]:
    """All seeds, some tables at a time."""
    found: dict[int, Ended] = {}
    for first in range(0, len(_SEEDS), _TOGETHER):
        found |= _together(memory / str(first), _SEEDS[first : first + _TOGETHER], questdb)
    return found


@pytest.mark.parametrize("seed", _SEEDS)
def test_with_the_guards_copies_a_repair_is_exact(seed: int, ended: dict[int, Ended]) -> None:
    each = ended[seed]
    assert each.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), each
    assert (each.plan.rows_lost.phrase, each.plan.values_lost) == ("0", ()), each
    assert each.truth == each.found, each


def test_most_tables_show_rows(ended: dict[int, Ended]) -> None:
    """Some stand for a statement that the server itself cannot apply; two equal errors prove little."""
    shown = sum(all(isinstance(rows, Counter) for rows in each.truth) for each in ended.values())
    assert shown > len(ended) // 2, shown


@pytest.mark.parametrize("day", ["1T20", "3T20", "1T23:40"])  # the rows of the last go on behind midnight
def test_copies_of_a_later_life_are_not_believed(questdb: ServerBinary, tmp_path: Path, day: str) -> None:
    """A db directory is put back as it was before the guard's newest copy: what waits in its WAL is not applied."""
    root, copies = tmp_path.resolve() / "root", tmp_path / "copies"
    kept = {"dev.mode.enabled": "true", "cairo.wal.purge.interval": "600000"}
    rows = "INSERT INTO t SELECT timestamp_sequence('2024-01-0{}', 60000000L), x FROM long_sequence({})"
    with PrivateServer(root, questdb, settings=kept) as server:
        server.query("CREATE TABLE t (ts TIMESTAMP, id LONG) TIMESTAMP(ts) PARTITION BY DAY WAL")
        server.query(rows.format(1, 1000))
        wait_until_applied(server)
        server.query("ALTER TABLE t SUSPEND WAL")
        for _ in range(3):
            server.query(rows.format(day, 40))
    before = shutil.copytree(root / "db", tmp_path / "before")
    with PrivateServer(root, questdb, settings=kept) as server:
        server.query("ALTER TABLE t RESUME WAL")
        wait_until_applied(server)
        with Guard(DatabaseRoot.locate(root), copies, 1 << 30) as guard:
            guard.round()
    shutil.rmtree(root / "db")
    shutil.copytree(before, root / "db")
    table = DatabaseRoot.locate(root).table("t").path
    (table / "_txn").write_bytes(bytes((table / "_txn").stat().st_size))
    settings = Settings(
        state_dir=str(tmp_path / "state"),
        questdb=QuestDBSettings(db_root=str(root)),
        guard=GuardSettings(str(copies)),
        bare=True,
    )
    plan, outcome = _repaired(captured(Engine(settings)), "t")
    assert (plan.rows_lost.phrase, outcome) == ("0", Outcome.DONE)
    with PrivateServer(root, questdb, settings=kept) as server:
        server.query("ALTER TABLE t RESUME WAL")
        wait_until_applied(server)
        assert server.query("SELECT count() FROM t") == [(1120,)]


@pytest.mark.parametrize(
    ("action", "files"),
    [("repair-symbols", ("s.o", "s.c", "s.k", "s.v")), ("repair-metadata", ("_cv",))],
    ids=["names", "column versions"],
)
def test_copies_of_another_life_are_not_believed(
    questdb: ServerBinary, tmp_path: Path, action: str, files: tuple[str, ...]
) -> None:
    """A db directory is put back, and the same ALTER and other rows follow, while the guard has what came before."""
    root, copies = tmp_path.resolve() / "root", tmp_path / "copies"
    settings = Settings(
        state_dir=str(tmp_path / "state"),
        questdb=QuestDBSettings(db_root=str(root)),
        guard=GuardSettings(str(copies)),
        bare=True,
    )

    def live(life: str, rows: int, names: int) -> Counter[tuple[object, ...]]:
        insert = (
            "INSERT INTO t SELECT timestamp_sequence('2024-01-01T{:02d}', 1000000L), x, '{}' || (x % {}){} "
            "FROM long_sequence({})"
        )
        with PrivateServer(root, questdb, settings={"cairo.wal.purge.interval": "500"}) as server:
            for statement in (
                insert.format(2, life, names, "", rows),
                "ALTER TABLE t ADD COLUMN px DOUBLE",
                insert.format(4, life, names, ", x", 100),
            ):
                server.query(statement)
                wait_until_applied(server)
            return Counter(map(tuple, server.query("SELECT * FROM t")))

    with PrivateServer(root, questdb) as server:
        server.query("CREATE TABLE t (ts TIMESTAMP, id LONG, s SYMBOL) TIMESTAMP(ts) PARTITION BY DAY WAL")
        server.query("INSERT INTO t SELECT timestamp_sequence('2024-01-01', 1000000L), x, 'a' FROM long_sequence(200)")
        wait_until_applied(server)
    before = shutil.copytree(root / "db", tmp_path / "before")
    live("old", 100, 7)
    with Guard(DatabaseRoot.locate(root), copies, 1 << 30) as guard:
        guard.round()
    shutil.rmtree(root / "db")
    shutil.copytree(before, root / "db")
    true = live("new", 300, 9)
    table = DatabaseRoot.locate(root).table("t").path
    with PrivateServer(root, questdb, settings={"cairo.wal.purge.interval": "500"}):
        until(lambda: not [*table.glob("wal*")], "the WAL is purged", 60)
    for name in files:
        (table / name).write_bytes(bytes((table / name).stat().st_size))
    engine = captured(Engine(settings))
    plan = engine.plan(action, "t")
    if plan.rows_lost.phrase != "0" or plan.refused:
        return
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    with PrivateServer(root, questdb) as server:
        found = Counter(map(tuple, server.query("SELECT * FROM t")))
    assert found == true or plan.values_lost
    assert not any(str(row[2]).startswith("old") for row in found)

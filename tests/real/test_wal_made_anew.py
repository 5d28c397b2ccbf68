"""A sequencer that lost its `_wal_index.d` gives out wal1 again: old and new records have the same addresses.

What is announced is so, and nothing is refused: applied rows do not come twice, and no others count as applied.
"""

import itertools
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.recovery.model import Outcome, Plan
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.adversary_strikes import gone
from tests.real.adversary_world import REPAIRS
from tests.real.generated_tables import EPOCH, SERVER, wait_until_applied
from tests.real.ledger_cases import BACKUP, write
from tests.real.test_sequencer_repairs import captured, engine_of

pytestmark = pytest.mark.timeout(600)
_PURGING = {**SERVER, "cairo.wal.purge.interval": "200"}
_HEADER, _RECORD = 76, 28


def _zeroed(*numbers: int) -> Callable[[Path, Path], object]:
    """Zero these records of the log."""

    def strike(table: Path, _: Path) -> None:
        for number in numbers:
            write(table / "txn_seq" / "_txnlog", _HEADER + (number - 1) * _RECORD, bytes(_RECORD))

    return strike


def _backup(table: Path, kept: Path) -> None:
    """The sequencer is gone; a copy from before the WAL was made anew is there."""
    shutil.rmtree(table / "txn_seq")
    shutil.copytree(kept / table.name, table / BACKUP)


@dataclass(frozen=True, slots=True)
class _Case:
    """Transactions of the first wal1 and of the new one: those applied, and those that are not; then the damage.

    `doubted`: nothing on disk tells the new wal1 from one of another table, so that a rehearsal comes first.
    """

    name: str
    old: int
    applied: int
    pending: int
    strike: Callable[[Path, Path], object]
    doubted: bool = False


_CASES = (
    _Case("tail_lost", 3, 2, 3, _zeroed(8)),
    _Case("replay_lost", 3, 2, 3, _zeroed(6)),
    _Case("all_of_the_new_lost", 3, 2, 3, _zeroed(4, 5, 6, 7, 8)),
    _Case("new_are_all_replays", 4, 0, 3, _zeroed(7)),
    _Case("more_new_than_old", 2, 3, 2, _zeroed(7)),
    _Case("old_records_lost", 3, 1, 3, _zeroed(1, 2, 3)),
    _Case("log_gone", 3, 2, 3, gone),
    _Case("old_copy", 3, 2, 3, _backup),
    _Case("old_copy_none_applied", 3, 0, 2, _backup, doubted=True),
    _Case("old_copy_all_applied", 2, 3, 1, _backup),
)


@dataclass
class _Ended:
    case: _Case
    next_step: str | None
    plan: Plan | None
    outcome: Outcome | None
    truth: list[int]
    found: list[int]
    error: str = ""

    def __str__(self) -> str:
        done = "no plan"
        if self.plan is not None:
            codes = [f"{refusal.code}: {refusal.reason}" for refusal in self.plan.refused]
            done = f"{self.plan.action} '{self.plan.confirmation}' back {self.plan.rows_back} {codes}"
        return f"{self.case.name}: {self.next_step}; {done} -> {self.outcome}; {self.truth} {self.found} {self.error}"


def _insert(name: str, numbers: "itertools.count[int]") -> str:
    rows = ", ".join(
        f"({EPOCH + number * 60_000_000}, {number}, {number}.5)" for number in itertools.islice(numbers, 5)
    )
    return f"INSERT INTO {name} VALUES {rows}"


def _ids(server: PrivateServer, name: str) -> list[int]:
    return sorted(int(str(row[0])) for row in server.query(f"SELECT id FROM {name}"))


def _make(root: Path, kept: Path, questdb: ServerBinary) -> dict[str, Path]:
    numbers = {case.name: itertools.count(1) for case in _CASES}
    root.mkdir(parents=True)
    with PrivateServer(root, questdb, settings=SERVER) as server:
        for case in _CASES:
            server.query(
                f"CREATE TABLE {case.name} (ts TIMESTAMP, id LONG, px DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL"
            )
            for _ in range(case.old):
                server.query(_insert(case.name, numbers[case.name]))
        wait_until_applied(server)
        directories = dict(server.query("SELECT table_name, directoryName FROM tables()"))
    tables = {case.name: root / "db" / str(directories[case.name]) for case in _CASES}
    with PrivateServer(root, questdb, settings=_PURGING):
        deadline = time.monotonic() + 60
        while any((table / "wal1").exists() for table in tables.values()):
            assert time.monotonic() < deadline, "the purge left a WAL"
            time.sleep(0.1)
    for table in tables.values():
        shutil.copytree(table / "txn_seq", kept / table.name)
        (table / "txn_seq" / "_wal_index.d").unlink()
    with PrivateServer(root, questdb, settings=SERVER) as server:
        for case in _CASES:
            for _ in range(case.applied):
                server.query(_insert(case.name, numbers[case.name]))
        wait_until_applied(server)
        for case in _CASES:
            server.query(f"ALTER TABLE {case.name} SUSPEND WAL")
            for _ in range(case.pending):
                server.query(_insert(case.name, numbers[case.name]))
        server.kill()
    return tables


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> dict[str, _Ended]:
    """All cases, played together. Prints what was said of each, for `-rP`."""
    work = tmp_path_factory.mktemp("anew")
    root, kept = work / "root", work / "kept"
    tables = _make(root, kept, questdb)
    assert all((table / "wal1" / "0").is_dir() for table in tables.values()), "no WAL was made anew"
    for case in _CASES:
        case.strike(tables[case.name], kept)
    engine = captured(engine_of(root, work / "state"))
    found: dict[str, _Ended] = {}
    for case in _CASES:
        step = diagnose_table(engine.database, engine.database.table(case.name)).next_step.action
        plan = engine.plan(step if step in REPAIRS else "rebuild-sequencer", case.name)
        outcome = engine.run(plan, plan.confirmation).outcome
        total = 5 * (case.old + case.applied + case.pending)
        found[case.name] = _Ended(case, step, plan, outcome, list(range(1, total + 1)), [])
    for each in found.values():
        if each.outcome not in (Outcome.DONE, Outcome.NOT_NEEDED):
            tables[each.case.name].rename(work / each.case.name)
    with PrivateServer(root, questdb, settings=_PURGING) as server:
        wait_until_applied(server)
        for each in found.values():
            if each.outcome in (Outcome.DONE, Outcome.NOT_NEEDED):
                each.found = _ids(server, each.case.name)
    shutil.rmtree(work)
    sys.stdout.write("".join(f"{each}\n" for each in found.values()))
    return found


@pytest.mark.parametrize("name", [case.name for case in _CASES])
def test_no_row_of_a_wal_made_anew_is_lost_unannounced_or_comes_twice(name: str, ended: dict[str, _Ended]) -> None:
    each = ended[name]
    assert each.plan is not None
    if each.case.doubted:
        assert [refusal.code for refusal in each.plan.refused] == ["lose-unknown-without-rehearsal"], each
        assert each.plan.rows_back == 5 * each.case.pending, each
        return
    assert each.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), each
    assert len(set(each.found)) == len(each.found), f"twice: {each}"
    lost = each.plan.rows_lost
    missing = len(set(each.truth) - set(each.found))
    if lost.kind == "exact":
        assert missing == lost.value, each
    elif lost.kind == "bound":
        assert missing <= (lost.value or 0), each

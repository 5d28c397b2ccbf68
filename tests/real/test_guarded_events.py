"""Damaged `_event` files beside the guard's copies of them: what the copies tell is no loss.

One server makes all tables; the guard's last round is after the last commit, or before the last two. Each is repaired
by the steps that check names, and compared row by row with an undamaged twin on a real server.
"""

import contextlib
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Code
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.guard.taking import Guard
from console.recovery.model import Outcome, Plan
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import GuardSettings, QuestDBSettings, Settings
from console.table.event_copies import read_copy
from tests.real.generated_tables import EPOCH, SERVER, wait_until_applied
from tests.real.ledger_cases import offset, segment_of, write
from tests.real.test_sequencer_repairs import captured
from tests.real.waiting import until

pytestmark = pytest.mark.timeout(600)  # one fixture plays all cases

_ROWS, _APPLIED, _PENDING, _LATE = 10, 3, 6, 2
_REPAIRS: Final = ("repair-log", "restore-sequencer", "rebuild-sequencer")
Strike = Callable[[Path], None]


def _page(table: Path, page: int = 0) -> None:
    """A page of `_event` never reached the disk."""
    write(segment_of(table) / "_event", 4096 * page, bytes(4096))


def _all_zeros(table: Path) -> None:
    path = segment_of(table) / "_event"
    path.write_bytes(bytes(path.stat().st_size))


def _noise(table: Path) -> None:
    """Bytes of another file in its place."""
    path = segment_of(table) / "_event"
    path.write_bytes(random.Random(5).randbytes(path.stat().st_size))


def _gone(table: Path, *, index: bool = False) -> None:
    (segment_of(table) / "_event").unlink()
    if index:
        (segment_of(table) / "_event.i").unlink()


def _cut(table: Path, txn: int) -> None:
    with (segment_of(table) / "_event").open("r+b") as stream:
        stream.truncate(offset(table, txn) + 20)


def _byte(table: Path, txn: int, at: int, value: int) -> None:
    """One byte of a record is another one: of its length (0), its number (4), its type (12), its last row (21)."""
    write(segment_of(table) / "_event", offset(table, txn) + at, bytes([value]))


def _header(table: Path, last: int) -> None:
    write(segment_of(table) / "_event", 0, last.to_bytes(4, "little", signed=True))


def _without_log(table: Path, strike: Strike) -> None:
    strike(table)
    log = table / "txn_seq" / "_txnlog"
    log.write_bytes(bytes(log.stat().st_size))


_FIRST = _APPLIED
_STRIKES: Final[dict[str, Strike]] = {
    "page": _page,
    "zeros": _all_zeros,
    "noise": _noise,
    "gone": _gone,
    "both_gone": partial(_gone, index=True),
    "cut": partial(_cut, txn=_FIRST + 1),
    "cut_applied": partial(_cut, txn=1),
    "length": partial(_byte, txn=_FIRST + 1, at=0, value=0),
    "number": partial(_byte, txn=_FIRST + 1, at=4, value=99),
    "type": partial(_byte, txn=_FIRST + 1, at=12, value=0x7B),
    "other_type": partial(_byte, txn=_FIRST + 1, at=12, value=2),
    "end_row": partial(_byte, txn=_FIRST + 1, at=21, value=55),
    "header_low": partial(_header, last=0),
    "header_none": partial(_header, last=-7),
    "header_high": partial(_header, last=1 << 30),
}


@dataclass(frozen=True)
class Case:
    """One table: how it is struck, and whether its log is lost too, it has an UPDATE, the guard's copy is `late`."""

    name: str
    strike: Strike
    log: bool = True
    update: bool = False
    late: bool = False

    @property
    def table(self) -> str:
        marks = {"nolog": not self.log, "update": self.update, "late": self.late}
        return "_".join([self.name, *(mark for mark, is_so in marks.items() if is_so)])


_LAST = _FIRST + _PENDING - 1
CASES: Final = (
    *(Case(name, strike) for name, strike in _STRIKES.items()),
    *(Case(name, partial(_without_log, strike=strike), log=False) for name, strike in _STRIKES.items()),
    *(Case(name, _STRIKES[name], update=True) for name in ("page", "gone", "length", "type", "header_low")),
    *(Case(name, _STRIKES[name], late=True) for name in ("cut_applied", "length", "type", "gone", "page")),
    Case("length_behind", partial(_byte, txn=_LAST, at=0, value=0), late=True),
    Case("type_behind", partial(_byte, txn=_LAST - 1, at=12, value=0x7B), late=True),
)
Rows = Counter[str]


@dataclass
class Shown:
    """What was said and done for one table, and what the server then showed."""

    plans: list[Plan] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    before: tuple[Code, ...] = ()
    after: tuple[Code, ...] = ()
    truth: Rows = field(default_factory=Counter)
    found: Rows = field(default_factory=Counter)

    @property
    def said(self) -> str:
        plans = [(plan.action, plan.rows_lost.phrase, plan.refused, plan.warnings) for plan in self.plans]
        return f"{plans}, {self.outcomes}, before {self.before}, after {self.after}"


def _insert(number: int) -> str:
    rows = ", ".join(
        f"({EPOCH + i * 1_000_000}, {i + 1}, {i + 1}.5, 'S{i % 7}x{number}')"
        for i in range(number * _ROWS, (number + 1) * _ROWS)
    )
    return f"INSERT INTO {{}} VALUES {rows}"


def _build(root: Path, copies: Path, questdb: ServerBinary) -> None:
    settings = {**SERVER, "cairo.wal.segment.rollover.row.count": "100000"}
    with PrivateServer(root, questdb, settings=settings) as server, contextlib.ExitStack() as stack:
        for case in CASES:
            server.query(
                f"CREATE TABLE {case.table} (ts TIMESTAMP, n LONG, px DOUBLE, sym SYMBOL) TIMESTAMP(ts) "
                "PARTITION BY DAY WAL"
            )
            for number in range(_APPLIED):
                server.query(_insert(number).format(case.table))
        wait_until_applied(server)
        guard = stack.enter_context(Guard(DatabaseRoot.locate(root), copies, 1 << 30))
        guard.round()
        for case in CASES:
            server.query(f"ALTER TABLE {case.table} SUSPEND WAL")
        for number in range(_APPLIED, _APPLIED + _PENDING):
            for case in CASES:
                if number < _APPLIED + _PENDING - _LATE or not case.late:
                    server.query(_insert(number).format(case.table))
                    if case.update and number == _FIRST:
                        server.query(f"UPDATE {case.table} SET px = -1 WHERE n < 5")
        state = guard.round()
        assert not state.left_out, state
        for number in range(_APPLIED + _PENDING - _LATE, _APPLIED + _PENDING):
            for case in CASES:
                if case.late:
                    server.query(_insert(number).format(case.table))
        server.kill()


def _rows(root: Path, questdb: ServerBinary, names: list[str]) -> dict[str, Rows]:
    with PrivateServer(root, questdb, settings={**SERVER, "cairo.wal.purge.interval": "1000"}) as server:
        waits = "SELECT count() FROM wal_tables() WHERE NOT suspended AND writerTxn < sequencerTxn"
        until(lambda: server.query(waits) == [(0,)], "all is applied or suspended", 60)
        return {name: Counter(repr(row) for row in server.query(f"SELECT * FROM {name}")) for name in names}


def _codes(engine: Engine, name: str) -> tuple[tuple[Code, ...], str]:
    report = diagnose_table(engine.database, engine.database.table(name))
    return tuple(finding.code for finding in report.findings), (
        report.next_step.action if report.next_step else None
    ) or ""


@pytest.fixture(scope="module")
def shown(questdb: ServerBinary, workshop: Path) -> dict[str, Shown]:
    """Make, copy for the truth, damage, repair by the steps that check names, start, look."""
    root, copies = workshop / "root", workshop / "copies"
    _build(root, copies, questdb)
    shutil.copytree(root, workshop / "twin")
    tables = {table.name: table.path for table in DatabaseRoot.locate(root).tables()}
    for case in CASES:
        case.strike(tables[case.table])
    settings = Settings(
        state_dir=str(workshop / "state"), questdb=QuestDBSettings(db_root=str(root)), guard=GuardSettings(str(copies)),
        bare=True,
    )  # fmt: skip
    engine = captured(Engine(settings))
    result: dict[str, Shown] = {}
    for case in CASES:
        each = result[case.table] = Shown()
        each.before, step = _codes(engine, case.table)
        while step in _REPAIRS and len(each.plans) < 4:
            plan = engine.plan(step, case.table)
            each.plans.append(plan)
            each.outcomes.append(engine.run(plan, plan.confirmation).outcome)
            if each.outcomes[-1] is not Outcome.DONE:
                break
            captured(engine, case.table)
            each.after, step = _codes(engine, case.table)
    names = [case.table for case in CASES]
    good = {Outcome.DONE, Outcome.NOT_NEEDED}
    bad = [name for name in names if not set(result[name].outcomes) <= good]
    (workshop / "refused").mkdir()
    for name in bad:  # what is refused must not meet a server
        tables[name].rename(workshop / "refused" / name)
    truth = _rows(workshop / "twin", questdb, names)
    found = _rows(root, questdb, [name for name in names if name not in bad])
    for name, each in result.items():
        each.truth, each.found = truth[name], found.get(name, Counter())
    return result


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.table)
def test_what_the_copy_tells_is_not_lost(case: Case, shown: dict[str, Shown]) -> None:
    each = shown[case.table]
    lost, more = sum((each.truth - each.found).values()), sum((each.found - each.truth).values())
    assert each.plans, each.said
    assert each.outcomes[0] is Outcome.DONE, each.said
    said = each.plans[0].rows_lost
    assert more == 0, each.said
    assert lost <= min(said.value if said.value is not None else 0, _LATE * _ROWS), each.said
    if not case.late:
        assert (lost, said.phrase) == (0, "0"), each.said
        assert Code.SEGMENT_EVENT_TRUNCATED not in each.after, each.said


def test_a_copy_that_rotted_is_not_believed(shown: dict[str, Shown], workshop: Path) -> None:
    """A bit that turned over in it: then there is no copy."""
    del shown
    copy = next(path for path in workshop.glob("copies/*/txn_seq.guard-*/events/wal1.0") if read_copy(path))
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 4
    copy.write_bytes(content)
    assert read_copy(copy) == b""

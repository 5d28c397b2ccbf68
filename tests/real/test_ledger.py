"""The loss that a plan announces, row by row against an undamaged twin that the server applied.

One server makes all tables, one applies the twins, one starts on what was repaired. Each row has an id of its own.
"""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import TableReport
from console.recovery.model import Outcome, Plan
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.table.ledger import Evidence
from tests.real import ledger_cases as blow
from tests.real.generated_tables import EPOCH, SERVER, Batch, wait_until_applied
from tests.real.ledger_cases import Case
from tests.real.test_sequencer_repairs import captured, engine_of
from tests.real.waiting import until

pytestmark = pytest.mark.timeout(900)  # one fixture plays all cases

CASES = (
    Case("cut_inside", partial(blow.event_cut, txn=1 + 3, inside=True), lost=40, back=60, writers=2),
    Case("cut_between", partial(blow.event_cut, txn=1 + 3, inside=False), lost=40, back=60, writers=2),
    Case("cut_at_applied", partial(blow.event_cut, txn=1, inside=True), lost=50, back=50, writers=2),
    Case("type_third", lambda table: blow.type_unknown(table, 3 + 2), lost=30, back=20),
    Case("type_first", lambda table: blow.type_unknown(table, 3), lost=10, back=40),
    Case("type_applied", lambda table: blow.type_unknown(table, 1), lost=0, back=50),
    Case("type_last", lambda table: blow.type_unknown(table, 3 + 4), lost=10, back=40),
    Case("type_two", lambda table: blow.type_unknown(table, 3 + 1, 3 + 2), lost=40, back=10),
    Case("type_update", lambda table: blow.type_unknown(table, 3 + 3), lost=None, update_at=2),
    Case("type_mixed", lambda table: blow.type_unknown(table, 3 + 2, 3 + 3), lost=None, update_at=2),
    Case("cut_update", partial(blow.event_cut, txn=3 + 3, inside=True, wal=1), lost=None, update_at=1, pending=6),
    Case("length_third", partial(blow.length_zero, txn=3 + 2), lost=30, back=20),
    Case("header_low", partial(blow.header_says, last=3 + 2), lost=20, back=30),
    Case("header_lowest", partial(blow.header_says, last=0), lost=50),
    Case("header_high", partial(blow.header_says, last=3 + 7), lost=None),
    Case("header_wild", partial(blow.header_says, last=1 << 30), lost=0, back=50),
    Case("header_wild_logged", partial(blow.header_says, last=1 << 30, keep=True), lost=0, action="repair-log"),
    Case("header_high_logged", partial(blow.header_says, last=3 + 7, keep=True), lost=0, action="repair-log"),
    Case("header_low_logged", partial(blow.header_says, last=3 + 2, keep=True), lost=0, action="repair-log"),
    Case("header_low_update", partial(blow.header_says, last=3 + 1, keep=True), lost=0, update_at=3,
         action="repair-log"),
    Case("index_alone", partial(blow.index_and_record_gone, txn=3 + 2), lost=20, back=30),
    Case("event_gone", blow.event_gone, lost=50, back=50, writers=2),
    Case("wal_linked", blow.linked, lost=None, writers=2),
    Case("segment_linked", partial(blow.linked, segment=True), lost=None, writers=2),
    Case("linked_backup", partial(blow.linked, backup=True), lost=None, writers=2, action="restore-sequencer"),
    Case("linked_logged", partial(blow.linked, keep=True), lost=None, writers=2, action="repair-log"),
    Case("converting", blow.converting, lost=None),
    Case("txn_back", blow.set_back, lost=None, pending=0),
    Case("txn_back_copied", partial(blow.set_back, backup=True), lost=0, pending=0, action="restore-sequencer"),
    Case("zeros", partial(blow.zero_page, page=5), lost=512, back=4000, rows=800),
    Case("zeros_two", partial(blow.zero_page, page=5, pages=2), lost=1024, back=4000, rows=800),
    Case("zeros_long", partial(blow.zero_page, column="n", page=5), lost=512, back=4000, rows=800),
    Case("zeros_small", partial(blow.zero_page, page=0), lost=150, back=150, rows=30),
    Case("zeros_from_applied", blow.zero_page_counted, lost=412, back=900, rows=100, applied=1, pending=9),
    Case("zeros_restored", partial(blow.zero_page, column="n", page=0, backup=True), lost=150, back=150, rows=30,
         action="restore-sequencer"),
    Case("column_gone", blow.column_gone, lost=50, back=50, writers=2),
    Case("copy_at_applied", partial(blow.copy_ends_at_applied, zeroed=False), lost=0, back=50),
    Case("copy_at_applied_zero", partial(blow.copy_ends_at_applied, zeroed=True), lost=0, back=50),
    Case("copy_restored", partial(blow.copy_ends_at_applied, zeroed=False), lost=0, back=50,
         action="restore-sequencer"),
    Case("dedup_type", lambda table: blow.type_unknown(table, 3 + 2), lost=30, back=20, dedup=True),
    Case("dedup_zeros", partial(blow.zero_page, page=5), lost=512, back=4000, rows=800, dedup=True),
    Case("cut_logged", partial(blow.event_cut, txn=1 + 3, inside=True, keep=True), lost=40, back=60, writers=2,
         action="repair-log"),
    Case("cut_restored", partial(blow.event_cut, txn=1 + 3, inside=True, backup=True), lost=40, back=60, writers=2,
         action="restore-sequencer"),
    Case("both_gone", partial(blow.event_gone, index=True), lost=None, writers=2),
    Case("both_gone_alone", partial(blow.event_gone, index=True, wal=1), lost=None),
    Case("index_zero", blow.index_zero, lost=50),
    Case("index_cut", partial(blow.index_zero, keep=2), lost=50),
    Case("index_later", partial(blow.index_zero, first=3 + 2), lost=0, back=50),
    Case("index_cut_logged", partial(blow.index_zero, keep=3 + 1, log=True), lost=50, back=50, writers=2,
         action="repair-log"),
    Case("index_cut_alone", partial(blow.index_zero, keep=3 + 1, log=True), lost=50, action="repair-log"),
    Case("index_cut_later", partial(blow.index_zero, keep=3 + 2), lost=0, back=50),
    Case("index_cut_update", partial(blow.index_zero, keep=3 + 1, log=True), lost=80, update_at=1,
         action="repair-log"),
    Case("cut_unseen_update", blow.statement_cut, lost=80, update_at=1),
    Case("zeros_symbol", partial(blow.zero_page, column="sym", page=0), lost=150, rows=30),
    Case("zeros_symbol_page", partial(blow.zero_page, column="sym", page=4), lost=1024, back=4000, rows=800),
    Case("zeros_symbol_table", blow.symbols_of_table_zero, lost=None, rows=30),
    Case("rows_end_low", partial(blow.rows_wrong, txn=3 + 2, end=55), lost=20, back=30),
    Case("rows_end_high", partial(blow.rows_wrong, txn=3 + 2, end=65), lost=20, back=30),
    Case("rows_end_wild", partial(blow.rows_wrong, txn=3 + 2, end=1 << 40), lost=20, back=30),
    Case("nothing_wrong", blow.no_log, lost=0, back=100, writers=2),
)  # fmt: skip

Rows = Counter[str]


@dataclass
class Shown:
    """What was said of one table, and what the server then showed."""

    report: TableReport
    plan: Plan
    outcome: Outcome | None = None
    after: TableReport | None = None
    truth: Rows = field(default_factory=Counter)
    found: Rows = field(default_factory=Counter)

    @property
    def lost(self) -> int:
        """Rows of the twin that are not there, or are there with other values."""
        return sum((self.truth - self.found).values())


def _rows(server: PrivateServer, name: str) -> Rows:
    return Counter(repr(row) for row in server.query(f"SELECT * FROM {name}"))


def _insert(case: Case, number: int) -> str:
    rows = ", ".join(
        f"({EPOCH + i * 1_000_000}, {i + 1}, {i + 1}.5, 'S{i % 7}x{number}', 0.0)"
        for i in range(number * case.rows, (number + 1) * case.rows)
    )
    return f"INSERT INTO {case.name} VALUES {rows}"


def _build(root: Path, questdb: ServerBinary) -> Batch:
    batch = Batch(root, ())
    settings = {**SERVER, "cairo.wal.segment.rollover.row.count": "100000"}
    with PrivateServer(root, questdb, settings=settings) as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(2)]
        for case in CASES:
            dedup = " DEDUP UPSERT KEYS(ts)" if case.dedup else ""
            server.query(
                f"CREATE TABLE {case.name} (ts TIMESTAMP, n LONG, px DOUBLE, sym SYMBOL, fee DOUBLE) TIMESTAMP(ts) "
                f"PARTITION BY DAY WAL{dedup}"
            )
        for first, last in ((0, None), (None, 0)):
            for case in CASES:
                rounds = range(case.applied) if last is None else range(case.applied, case.applied + case.pending)
                if first is None:
                    server.query(f"ALTER TABLE {case.name} SUSPEND WAL")
                for number in rounds:
                    for connection in connections[: case.writers]:
                        connection.execute(b"BEGIN")
                        sql = _insert(case, number * case.writers + connections.index(connection))
                        connection.execute(sql.encode())
                    for connection in connections[: case.writers]:
                        connection.execute(b"COMMIT")
                    if case.update_at == number - case.applied:
                        connections[0].execute(f"UPDATE {case.name} SET px = -1 WHERE n < 5".encode())
                    if last is None and case.pending == 0:
                        wait_until_applied(server)
            if last is None:
                wait_until_applied(server)
        names = {case.name for case in CASES}
        rows = server.query("SELECT table_name, directoryName FROM tables()")
        batch.directories = {str(name): str(directory) for name, directory in rows if name in names}
        server.kill()
    return batch


def _settled(server: PrivateServer) -> None:
    """Wait until every table is applied to the end, or suspended."""
    wanted = "SELECT count() FROM wal_tables() WHERE NOT suspended AND writerTxn < sequencerTxn"
    until(lambda: server.query(wanted) == [(0,)], "all is applied or suspended", 60)


@pytest.fixture(scope="module")
def shown(questdb: ServerBinary, workshop: Path) -> dict[str, Shown]:
    """Make, copy for the truth, damage, plan, run, start, look."""
    batch = _build(workshop / "root", questdb)
    twin = batch.copy(workshop / "twin")
    truth: dict[str, Rows] = {}
    with PrivateServer(twin.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        truth = {case.name: _rows(server, case.name) for case in CASES}
    for case in CASES:
        case.strike(batch.table(case.name))
    engine = captured(engine_of(batch.root, workshop / "state"))
    result: dict[str, Shown] = {}
    (workshop / "refused").mkdir()
    for case in CASES:
        report = diagnose_table(engine.database, engine.database.table(case.name))
        plan = engine.plan(case.action, case.name)
        each = result[case.name] = Shown(report, plan, truth=truth[case.name])
        outcome = engine.run(plan, plan.confirmation).outcome
        if outcome in (Outcome.DONE, Outcome.NOT_NEEDED):
            each.outcome = outcome
            each.after = diagnose_table(engine.database, engine.database.table(case.name))
        else:  # what is refused must not meet a server
            batch.table(case.name).rename(workshop / "refused" / case.name)
    with PrivateServer(batch.root, questdb, settings={**SERVER, "cairo.wal.purge.interval": "1000"}) as server:
        _settled(server)
        for case in CASES:
            if result[case.name].outcome is not None:
                result[case.name].found = _rows(server, case.name)
    return result


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_loss_that_is_announced_is_the_loss_that_is_measured(case: Case, shown: dict[str, Shown]) -> None:
    each = shown[case.name]
    said = f"{each.plan.confirmation}, refused {each.plan.refused}, warnings {each.plan.warnings}"
    if case.lost is None:
        assert each.outcome is None, said
        assert each.plan.refused or each.plan.rows_lost.kind == "unknown", said
        return
    if each.outcome is None:  # an honest refusal needs rows that nobody can count
        assert each.plan.rows_lost.kind == "unknown", said
        return
    lost = each.plan.rows_lost
    assert each.lost == lost.value if lost.kind == "exact" else each.lost <= (lost.value or 0), f"{each.lost}: {said}"
    assert each.lost <= case.lost, said
    assert sum((each.found - each.truth).values()) <= (each.lost if lost.kind == "bound" else 0), said
    assert each.plan.rows_back >= case.back, said


@pytest.mark.parametrize("case", [case for case in CASES if case.lost == 0], ids=lambda case: case.name)
def test_check_does_not_ask_for_a_repair_that_lost_nothing(case: Case, shown: dict[str, Shown]) -> None:
    after = shown[case.name].after
    assert after is None or after.next_step is None or after.next_step.action != case.action, after.findings


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_check_counts_what_the_plan_counts(case: Case, shown: dict[str, Shown]) -> None:
    each = shown[case.name]
    unapplied, plan = each.report.rows_unapplied, each.plan
    if plan.refused or plan.rows_lost.kind == "unknown":
        decided = not any(entry.evidence is Evidence.UNDECIDED for entry in plan.ledger)
        assert unapplied is None or not decided or unapplied >= plan.rows_back, each.report
        return
    low, lost = plan.rows_back, plan.rows_lost.value or 0
    assert unapplied is None or low <= unapplied <= low + lost, f"{unapplied}, {plan.confirmation}, back {low}"
    assert each.report.rows_at_risk == unapplied, each.report


def test_applied_rows_in_a_lost_page_say_nothing_of_the_others(shown: dict[str, Shown]) -> None:
    """The page begins in an applied transaction: only what is in it is suspect, and each row of it counts once."""
    plan = shown["zeros_from_applied"].plan
    assert plan.rows_lost.phrase == "up-to-412", (plan.refused, plan.ledger)

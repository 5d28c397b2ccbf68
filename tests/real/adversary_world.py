"""Tables told by their statements, each struck once, planned, run and started as a user would; a twin tells the truth.

All cases of a module share three servers: one makes the tables, one applies the undamaged twins, one starts on what was
repaired. Every row has an id of its own in the column `id`.
"""

import itertools
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import TableReport, Verdict
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan, RowsLost
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.table.ledger import Evidence
from tests.real.ended import Ended, Rows, not_applied
from tests.real.generated_tables import EPOCH, SERVER, Batch, wait_until_applied
from tests.real.test_sequencer_repairs import captured, engine_of

REPAIRS = ("repair-table-state", "rebuild-sequencer", "restore-sequencer", "repair-log", "raise-wal-index")

_MOST_STEPS = 3

Step = str | tuple[str, ...] | Callable[["Table"], "Step"]
"""A statement; several that are open at once, each with a WAL of its own; or what makes one of these."""


@dataclass(slots=True)
class Table:
    """A case while it is made: its name, a source of ids and times, and where its files are kept aside."""

    name: str
    numbers: "itertools.count[int]"
    keep: Callable[[str], None]

    def rows(self, columns: str, values: str, count: int = 5, hour: float = 0, name: str = "") -> str:
        """Return an INSERT of rows a minute apart; `{i}` in `values` is the number of the row, its id."""
        told = []
        for n in range(count):
            number = next(self.numbers)
            told.append(f"({EPOCH + int(hour * 3600e6) + n * 60_000_000}, {number}, {values.format(i=number, n=n)})")
        return f"INSERT INTO {name or self.name} (ts, id, {columns}) VALUES {', '.join(told)}"


@dataclass(frozen=True, slots=True)
class Case:
    """A table, what is applied, what is only committed, and what then happens to its files.

    `{t}` in a statement is the table. `strike` is given the table's directory and the one of what was kept aside.
    `repaired` says whether the plan is carried out (True) or refused (False); None: no matter.
    """

    name: str
    columns: str
    applied: Sequence[Step]
    pending: Sequence[Step]
    strike: Callable[[Path, Path], object]
    action: str = ""  # the recommended repair, if empty
    repaired: bool | None = None
    suffix: str = "PARTITION BY DAY WAL"
    unseen: bool = False  # the lost log alone told of a structure change: the plan must say that there may be one


@dataclass(kw_only=True)
class Played(Ended):
    """What was said of one table, and what the server then showed."""

    case: Case
    report: TableReport
    plans: Sequence[Plan]
    columns: list[str]
    found_columns: list[str] = field(default_factory=list)

    @property
    def plan(self) -> Plan | None:
        """The last plan: the one that was refused, if one was."""
        return self.plans[-1] if self.plans else None

    @property
    def announced(self) -> RowsLost:
        """What all plans together said will be lost; without one, what `check` does not know of."""
        most = sum(finding.rows or 0 for finding in self.report.findings)
        unknown = RowsLost.at_most(most if self.report.rows_at_risk is None else 0)
        return RowsLost.total(plan.rows_lost for plan in self.plans) if self.plans else unknown

    def __str__(self) -> str:
        report = self.report
        said = f"check {report.verdict} unapplied {report.rows_unapplied} at risk {report.rows_at_risk} "
        said += f"{[f.code.value for f in report.findings]} next {report.next_step.action}"
        done = "" if self.plans else "no plan"
        for plan in self.plans:
            codes = [refusal.code.value for refusal in plan.refused]
            done += f"{plan.action} '{plan.confirmation}' back {plan.rows_back} twice {plan.rows_maybe_twice} {codes} "
        truth = f"truth {self.truth.total()} found {self.found.total()} lost {self.lost} extra {self.extra}"
        other = "" if self.columns == self.found_columns else f" columns {self.columns} found {self.found_columns}"
        return f"{self.case.name}: {said}; {done} -> {self.outcome}; {truth}{other} {self.error}"


def hold(each: Played) -> None:
    """Assert that what was announced is what the server shows: rows, columns, none twice, none of another table.

    A table for which nothing was planned must either show everything, or have been called what it is.
    """
    repaired, plan = each.case.repaired, each.plan
    if plan is not None and not each.repaired:
        assert each.outcome is Outcome.REFUSED, each
        assert not repaired, f"refused: {each}"
        return
    assert repaired is not False, f"not refused: {each}"
    if plan is None and each.report.verdict is not Verdict.HEALTHY:
        return
    assert not each.error, each
    evidence = {entry.evidence for plan in each.plans for entry in plan.ledger}
    if Evidence.VALUES_CONTRADICTED in evidence:  # the plan warns that the rows may have other values, ids too
        assert max(each.lost, each.extra) <= (each.announced.value or 0), each
        return
    each.hold_ids()
    if each.case.unseen:
        _hold_unseen(each)
        return
    assert each.columns == each.found_columns, each
    each.hold_loss(each.announced)
    assert each.extra == 0 or each.announced.kind != "exact", each


def _hold_unseen(each: Played) -> None:
    """Assert that the ledger names the structure change that nobody can know of, and that no row on disk is lost.

    Rows that the change made others are as the plan's words say: one replaces another, or is added beside it.
    """
    assert each.plan is not None, each
    told = [entry.why for entry in each.plan.ledger if entry.evidence is Evidence.STRUCTURE_UNSEEN]
    assert len(told) == 1, each
    assert told[0] in each.plan.warnings, each
    missing = {row[0] for row in each.truth} - {row[0] for row in each.found}
    assert len(missing) <= (each.plan.rows_back if "DEDUP DISABLE" in told[0] else 0), each


def _run(step: Step, table: Table, connections: Sequence[psycopg.Connection[Any]]) -> None:
    if callable(step):
        _run(step(table), table, connections)
    elif isinstance(step, str):
        if step.startswith("KEEP"):
            table.keep(step[5:])
        else:
            connections[0].execute(step.replace("{t}", table.name).encode())
    else:
        chosen = connections[: len(step)]
        for connection, sql in zip(chosen, step, strict=True):
            connection.execute(b"BEGIN")
            connection.execute(sql.replace("{t}", table.name).encode())
        for connection in chosen:
            connection.execute(b"COMMIT")


def _make(root: Path, kept: Path, cases: Sequence[Case], questdb: ServerBinary) -> tuple[Batch, dict[str, int]]:
    root.mkdir(parents=True)
    last: dict[str, int] = {}
    with PrivateServer(root, questdb, settings=SERVER) as server, ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(8)]
        tables: dict[str, Table] = {}
        directories: dict[str, str] = {}

        def keeper(name: str) -> Callable[[str], None]:
            def keep(label: str) -> None:
                wait_until_quiet(server, name)
                shutil.copytree(root / "db" / directories[name], kept / name / label)

            return keep

        for number, case in enumerate(cases):
            table = Table(case.name, itertools.count(number * 1_000_000 + 1), keeper(case.name))
            tables[case.name] = table
            suffix = case.suffix
            connections[0].execute(f"CREATE TABLE {case.name} ({case.columns}) TIMESTAMP(ts) {suffix}".encode())
            rows = server.query("SELECT table_name, directoryName FROM tables()")
            directories |= {str(n): str(d) for n, d in rows}
            for step in case.applied:
                _run(step, table, connections)
        wait_until_applied(server)
        for case in cases:
            if case.pending:
                server.query(f"ALTER TABLE {case.name} SUSPEND WAL")
            for step in case.pending:
                _run(step, tables[case.name], connections)
            last[case.name] = next(tables[case.name].numbers)
        server.kill()
    return Batch(root, (), directories), last


def wait_until_quiet(server: PrivateServer, name: str) -> None:
    wanted = f"SELECT writerTxn, sequencerTxn, suspended FROM wal_tables() WHERE name = '{name}'"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        rows = server.query(wanted)
        if not rows or rows[0][2] or rows[0][0] >= rows[0][1]:
            return
        time.sleep(0.05)


def _rows(server: PrivateServer, name: str) -> tuple[Rows, list[str]]:
    names = [str(row[0]) for row in server.query(f"SELECT \"column\" FROM table_columns('{name}')")]
    at = names.index("id")
    return Counter((str(row[at]), repr(row)) for row in server.query(f"SELECT * FROM {name}")), names


def play(work: Path, cases: Sequence[Case], questdb: ServerBinary) -> dict[str, Played]:
    """Make the tables, apply the twins, strike, plan and run, start once, look."""
    kept = work / "kept"
    batch, last = _make(work / "root", kept, cases, questdb)
    twin = batch.copy(work / "twin")
    truth = {}
    with PrivateServer(twin.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        for case in cases:
            truth[case.name] = _rows(server, case.name)
    for case in cases:
        case.strike(batch.table(case.name), kept / case.name)
    engine = captured(engine_of(batch.root, work / "state"))
    ended: dict[str, Played] = {}
    for number, case in enumerate(cases):
        report, plans, outcome = _repaired(engine, case)
        ids = {str(n) for n in range(number * 1_000_000 + 1, last[case.name])}
        rows, columns = truth[case.name]
        ended[case.name] = Played(
            case=case, report=report, plans=plans, outcome=outcome, truth=rows, columns=columns, ids=ids
        )
    (work / "refused").mkdir()
    for each in ended.values():
        if each.plan is not None and not each.repaired:
            batch.table(each.case.name).rename(work / "refused" / each.case.name)
    _look(batch, ended, questdb)
    shutil.rmtree(work)
    return ended


def _repaired(engine: Engine, case: Case) -> tuple[TableReport, list[Plan], Outcome | None]:
    """Take the recommended repairs, one after the other, until one is refused or none is left."""
    plans: list[Plan] = []
    outcome: Outcome | None = None
    first = report = diagnose_table(engine.database, engine.database.table(case.name))
    while (action := case.action or report.next_step.action) in REPAIRS and len(plans) < _MOST_STEPS:
        plans.append(engine.plan(action, case.name))
        outcome = engine.run(plans[-1], plans[-1].confirmation).outcome
        if case.action or outcome is not Outcome.DONE:
            break
        report = diagnose_table(engine.database, engine.database.table(case.name))
    return first, plans, outcome


def _look(batch: Batch, ended: Mapping[str, Played], questdb: ServerBinary) -> None:
    with PrivateServer(batch.root, questdb, settings={**SERVER, "cairo.wal.purge.interval": "1000"}) as server:
        standing = not_applied(server)
        stopped = dict(server.query("SELECT name, errorMessage FROM wal_tables() WHERE suspended"))
        for each in ended.values():
            name = each.case.name
            each.error = "stands still" if name in standing else str(stopped.get(name, ""))
            if (each.plan is None or each.repaired) and name not in standing:
                try:
                    each.found, each.found_columns = _rows(server, name)
                except psycopg.Error as error:
                    each.error += f" {error}"

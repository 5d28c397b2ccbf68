"""Tables that grew at random, each damaged in two or three places, brought back by the steps that a check names.

What the plans announced is what is lost: rows, and values by column. Every other value is that of an undamaged twin.
`WALMEDIC_FAULT_WIDE` says how many tables (200 in `make faults`) or names the first and the last (`9024-9060`),
`WALMEDIC_FAULT_SEED` names one to run alone.
"""

import os
import random
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.recovery.gate.history import Histories
from console.recovery.model import Lost, Outcome, Plan
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.grown_tables import SETTINGS, KeyedTable, grow
from tests.real.test_repair_state import stopped_tables, write_everywhere
from tests.real.test_sequencer_repairs import captured, engine_of
from tests.real.wide_damage import strike_widely

_ALONE = os.environ.get("WALMEDIC_FAULT_SEED")
_WIDE = [int(each) for each in os.environ.get("WALMEDIC_FAULT_WIDE", "12").split("-")]
_ENDS = [int(_ALONE)] * 2 if _ALONE else _WIDE if len(_WIDE) == 2 else [9000, 8999 + _WIDE[0]]
_ONCE_WRONG: Final = (9037, 9048, 9064, 9069, 9104, 9141, 9167)
"""An older directory taken for a copy; a count of _txn that nothing proved; zeros that look like arrays of NULL; `_cv`
of a table that was never altered; rows lost beside a copy; a partition gone with _txn; one renamed with it."""
_SEEDS = sorted({*range(_ENDS[0], _ENDS[1] + 1), *(() if _ALONE or len(_WIDE) == 2 else _ONCE_WRONG)})
_TOGETHER: Final = 30
_STEPS: Final = 9
_EVIDENCE: Final = (RefusalCode.EVIDENCE_INCOMPLETE, RefusalCode.NO_EVIDENCE)
_NOTHING: Final = ("None", "False", "0", "''", "'\\x00'", "nan")
Rows = dict[str, dict[str, str]]
"""Values by time and column, as text."""


@dataclass
class Ended:
    """The way of one table, and what two servers then showed: its twin's and its own, before and after more rows."""

    seed: int
    damages: tuple[str, ...]
    plans: list[Plan] = field(default_factory=list)
    stuck: str = ""  # why no further step was taken, empty where it is whole
    truth: list[Rows | str] = field(default_factory=list)
    found: list[Rows | str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"g{self.seed}"

    @property
    def announced(self) -> int | None:
        """The rows that the plans lose together; None: not known to the row."""
        losses = [plan.rows_lost for plan in self.plans]
        return None if any(str(loss.kind) != "exact" for loss in losses) else sum(loss.value or 0 for loss in losses)

    def values(self, kind: Lost) -> Counter[str]:
        """The values, or names, that the plans lose, by column."""
        found: Counter[str] = Counter()
        for lost in (lost for plan in self.plans for lost in plan.values_lost if lost.kind is kind):
            found[lost.column] += lost.count or 0
        return found

    def __str__(self) -> str:
        steps = [f"{plan.action}: {plan.rows_lost.phrase}" for plan in self.plans]
        sizes = [each if isinstance(each, str) else len(each) for each in (*self.truth, *self.found)]
        values = dict(self.values(Lost.VALUES)), dict(self.values(Lost.NAMES))
        return f"seed {self.seed}: {self.damages}; {steps}; {values}; {self.stuck}; rows {sizes}"


def _rows(server: PrivateServer, name: str) -> Rows | str:
    try:
        with server.connect() as connection:
            cursor = connection.execute(f"SELECT * FROM {name}".encode())
            names = [column.name for column in cursor.description or ()]
            at = names.index("ts")
            rows = [[repr(value) for value in row] for row in cursor]
    except psycopg.Error as error:
        return str(error).splitlines()[0]
    found = {row[at]: dict(zip(names, row, strict=True)) for row in rows}
    return found if len(found) == len(rows) else f"{len(rows) - len(found)} of {len(rows)} rows twice"


def _seen(root: Path, names: list[str], questdb: ServerBinary) -> dict[str, list[Rows | str]]:
    """Start, read all rows; write into each partition, read again."""
    with PrivateServer(root, questdb, settings=SETTINGS) as server:
        stopped = stopped_tables(server)
        found: dict[str, list[Rows | str]] = {name: [stopped.get(name) or _rows(server, name)] for name in names}
        for name in names:
            write_everywhere(server, name)
        stopped = stopped_tables(server)
        for name in names:
            found[name].append(stopped.get(name) or _rows(server, name))
    return found


def _brought_back(engine: Engine, each: Ended) -> None:
    """Take the steps that a check names, which reads the journal too, until it names none, or one is refused."""
    while True:
        journal = Histories(engine.database, engine.state, engine.journal).of_table
        report = diagnose_table(engine.database, engine.database.table(each.name), journal)
        step = report.next_step
        if report.verdict is Verdict.HEALTHY or step.action is None:
            each.stuck = "" if report.verdict is Verdict.HEALTHY else f"no step: {step.reason}"
            return
        if step.action == "resume-wal":
            return
        plan = engine.plan(step.action, each.name)
        if plan.refused and plan.refused[0].code in _EVIDENCE:
            more = engine.plan("capture-evidence", each.name)
            assert engine.run(more, more.confirmation).outcome is Outcome.DONE
            plan = engine.plan(step.action, each.name)
        if plan.refused:
            each.stuck = f"{step.action} refused: {plan.refused[0].code}: {plan.refused[0].reason}"
            return
        ended = engine.run(plan, plan.confirmation)
        each.plans.append(plan)
        if ended.outcome is not Outcome.DONE or len(each.plans) > _STEPS:
            each.stuck = f"LOST THE WAY: {step.action} ended {ended.outcome.value}: {ended.message}"
            return


def _together(work: Path, seeds: list[int], questdb: ServerBinary) -> dict[int, Ended]:
    root, twin, begun = work / "root", work / "twin", time.monotonic()
    grow(root, seeds, questdb, KeyedTable)
    shutil.copytree(root, twin)
    tables = {table.name: table for table in DatabaseRoot.locate(root).tables()}
    ended = {seed: Ended(seed, strike_widely(tables[f"g{seed}"].path, random.Random(seed))) for seed in seeds}
    grown = time.monotonic()
    engine = captured(engine_of(root, work / "state"))
    for each in ended.values():
        _brought_back(engine, each)
        if each.stuck:
            tables[each.name].path.rename(work / f"refused-{each.name}")
    repaired = time.monotonic()
    sys.stdout.write("".join(f"{each}\n" for each in ended.values()))
    names = [each.name for each in ended.values() if not each.stuck]
    truth, found = _seen(twin, names, questdb), _seen(root, names, questdb)
    for each in ended.values():
        each.truth, each.found = truth.get(each.name, []), found.get(each.name, [])
    parts = (grown - begun, repaired - grown, time.monotonic() - repaired)
    sys.stdout.write(f"{len(seeds)} tables: grown, repaired, read in {[round(part, 1) for part in parts]} s\n")
    if not os.environ.get("WALMEDIC_KEEP"):
        shutil.rmtree(work)
    return ended


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, workshop: Path) -> dict[int, Ended]:
    """All seeds, some tables at a time."""
    found: dict[int, Ended] = {}
    for first in range(0, len(_SEEDS), _TOGETHER):
        found |= _together(workshop / str(first), _SEEDS[first : first + _TOGETHER], questdb)
    return found


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", _SEEDS)
def test_what_is_announced_is_lost_and_no_more(seed: int, ended: dict[int, Ended]) -> None:
    each = ended[seed]
    assert "LOST THE WAY" not in each.stuck, each
    for truth, found in zip(each.truth, each.found, strict=True):
        if isinstance(truth, str):
            continue  # the twin cannot be read or written either
        assert isinstance(found, dict), each
        if _expired(each.truth[0], truth):
            assert found.keys() <= truth.keys(), each
        else:
            _compared(each, truth, found)


def _expired(before: Rows | str, truth: Rows) -> bool:
    """Whether a TTL has removed rows of the twin since it was first read, and with them maybe some that are lost."""
    return isinstance(before, dict) and bool(before.keys() - truth.keys())


def _compared(each: Ended, truth: Rows, found: Rows) -> None:
    lost, more = truth.keys() - found.keys(), found.keys() - truth.keys()
    assert not more, (str(each), sorted(more)[:3])
    assert each.announced in (len(lost), None), (str(each), len(lost), sorted(lost)[:3])
    values, names = each.values(Lost.VALUES), each.values(Lost.NAMES)
    for column in next(iter(found.values()), {}):
        changed = [(truth[at][column], row[column]) for at, row in found.items() if truth[at][column] != row[column]]
        emptied = [pair for pair in changed if pair[1] in _NOTHING]
        empty = sum(row[column] in _NOTHING for at, row in found.items() if truth[at][column] in _NOTHING)
        renamed = {pair for pair in changed if pair[1].startswith("'symbol-")}
        rest = [pair for pair in changed if pair not in emptied and pair not in renamed]
        assert not rest, (str(each), column, rest[:3])
        most = len(emptied) + empty + len(lost)  # what one step empties may be in rows that the next one gives up
        assert len(emptied) <= values[column] <= most, (str(each), column, len(emptied), empty, len(lost))
        assert len(renamed) <= names[column], (str(each), column, renamed)


def test_most_are_brought_back(ended: dict[int, Ended]) -> None:
    """The figures, for `-rP`."""
    stuck = Counter(each.stuck.split(": ")[0] for each in ended.values() if each.stuck)
    rows = sum(each.announced or 0 for each in ended.values() if not each.stuck)
    values = sum(each.values(Lost.VALUES).total() for each in ended.values() if not each.stuck)
    sys.stdout.write(f"{len(ended)} tables, stuck {dict(stuck)}, lost {rows:,} rows, {values:,} values\n")
    assert stuck.total() <= len(ended) // 2 or len(ended) == 1, stuck

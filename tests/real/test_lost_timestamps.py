"""Timestamps of a partition that never reached the disk, or are another partition's: what check names brings it back.

One server makes all tables, one shows the rows after the repairs: announced loss is the loss, and no other row moved.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.deep_files import DeepFiles
from console.diagnosis.model import NextStep, TableReport
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.recovery.engine import Engine
from console.recovery.gate.history import Histories
from console.recovery.model import Outcome, Plan
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.store.deep_damage import note_damage, places_of
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.test_convert_table import engine_of
from tests.real.test_sequencer_repairs import captured

_ROWS: Final = 900  # more than a page of timestamps
Strike = Callable[[Path], None]


def _partition(table: Path, at: int) -> Path:
    return sorted(path for path in table.iterdir() if path.is_dir() and path.name.startswith("20"))[at]


def _last_pages(table: Path) -> None:
    _zero(_partition(table, 1), 4096)


def _all_pages(table: Path) -> None:
    _zero(_partition(table, 1), 0)


def _first_page(table: Path) -> None:
    path = _partition(table, 1) / "ts.d"
    path.write_bytes(bytes(4096) + path.read_bytes()[4096:])


def _scattered(table: Path) -> None:
    """Single rows, as only a full check finds them."""
    path = _partition(table, 1) / "ts.d"
    content = bytearray(path.read_bytes())
    for row, value in ((20, 5), (21, 0), (400, -1), (898, 1 << 60)):
        content[8 * row : 8 * row + 8] = value.to_bytes(8, "little", signed=True)
    path.write_bytes(content)


def _newest(table: Path) -> None:
    _zero(_partition(table, -1), 0)


def _noise(table: Path) -> None:
    path = _partition(table, 1) / "ts.d"
    path.write_bytes(os.urandom(path.stat().st_size))


def _of_another_day(table: Path) -> None:
    shutil.copy2(_partition(table, 0) / "ts.d", _partition(table, 1) / "ts.d")


def _every_column_torn(table: Path) -> None:
    """All columns lost their end, as where none of their last pages was written: `_txn` may count too many, too."""
    folder = _partition(table, 1)
    widths = {"ts.d": 8, "x.d": 8, "s.d": 4, "i.d": 4, "v.i": 16, "d.i": 16, "t.i": 8, "b.i": 8}
    for name, width in widths.items():
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: 512 * width] + bytes(len(content) - 512 * width))


def _zero(folder: Path, at: int) -> None:
    path = folder / "ts.d"
    content = path.read_bytes()
    path.write_bytes(content[:at] + bytes(len(content) - at))


@dataclass(frozen=True)
class Case:
    """A table, with WAL or without; `lost` rows, and by which actions it comes to that."""

    name: str
    strike: Strike
    lost: int
    phrase: str
    wal: bool = True


_CASES: Final = tuple(
    Case(f"{strike.__name__.lstrip('_')}_{'wal' if wal else 'plain'}", strike, lost, phrase, wal)
    for strike, lost, phrase in (
        (_last_pages, _ROWS - 512, str(_ROWS - 512)),
        (_first_page, 512, "512"),
        (_scattered, 4, "4"),
        (_all_pages, _ROWS, str(_ROWS)),
        (_newest, 40, "up-to-40"),
        (_noise, _ROWS, str(_ROWS)),
        (_of_another_day, _ROWS, str(_ROWS)),
        (_every_column_torn, _ROWS - 512, f"up-to-{_ROWS - 512}"),
    )
    for wal in (True, False)
)


@dataclass
class Shown:
    """What was planned, how it ended, and the rows before and after."""

    plans: list[Plan] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    verdict: str = ""
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)


def _rows(server: PrivateServer, name: str) -> Counter[str]:
    return Counter(repr(row) for row in server.query(f"SELECT * FROM {name}"))


def _looked(engine: Engine, table: TableDirectory) -> TableReport:
    return diagnose_table(engine.database, table, Histories(engine.database, engine.state, engine.journal).of_table)


@pytest.fixture(scope="module")
def shown(questdb: ServerBinary, workshop: Path) -> dict[str, Shown]:
    root = workshop / "root"
    result = {case.name: Shown() for case in _CASES}
    with PrivateServer(root, questdb, settings=SERVER) as server:
        for case in _CASES:
            wal = "WAL" if case.wal else "BYPASS WAL"
            server.query(
                f"CREATE TABLE {case.name} (ts TIMESTAMP, s SYMBOL, i SYMBOL INDEX, v VARCHAR, t STRING, "
                "b BINARY, d DOUBLE[], x LONG) TIMESTAMP(ts) "
                f"PARTITION BY DAY {wal}"
            )
            for day, rows in ((1, _ROWS), (2, _ROWS), (3, _ROWS), (4, 40)):
                server.query(
                    f"INSERT INTO {case.name} SELECT timestamp_sequence('2024-01-0{day}', 60000000L), 'k'||(x%7+1), "
                    "'i'||(x%9), CASE WHEN x%5=0 THEN NULL ELSE 'a longer value '||x END, "
                    "CASE WHEN x%3=0 THEN NULL ELSE 't'||x END, rnd_bin(1, 9, 3), "
                    f"CASE WHEN x%4=0 THEN NULL ELSE ARRAY[x, x/2.0] END, x FROM long_sequence({rows})"
                )
        wait_until_applied(server)
        for case in _CASES:
            result[case.name].before = _rows(server, case.name)
    database = DatabaseRoot.locate(root)
    for case in _CASES:
        case.strike(database.table(case.name).path)
    engine = captured(engine_of(root, workshop / "state", questdb))
    for case in _CASES:
        each, table = result[case.name], engine.database.table(case.name)
        places = places_of(DeepFiles(table).look().findings)
        note_damage(engine.state, engine.database.db, {table.directory: places}, whole=False)
        captured(engine, case.name)
        step: NextStep | None = _looked(engine, table).next_step
        if case.strike is _scattered:
            step = NextStep("repair-partition", "a full check found it")
        while step is not None and step.action is not None and len(each.plans) < 4:
            plan = engine.plan(step.action, case.name)
            if plan.refused and (other := plan.refused[0].action) is not None:
                plan = engine.plan(other, case.name)
            each.plans.append(plan)
            each.outcomes.append(engine.run(plan, plan.confirmation).outcome)
            if each.outcomes[-1] is not Outcome.DONE:
                break
            captured(engine, case.name)
            step = _looked(engine, table).next_step
        each.verdict = str(_looked(engine, table).verdict)
    with PrivateServer(root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        for case in _CASES:
            result[case.name].after = _rows(server, case.name)
    return result


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_the_rows_whose_time_is_lost_go_and_no_other(case: Case, shown: dict[str, Shown]) -> None:
    each = shown[case.name]
    assert each.outcomes == [Outcome.DONE], (each.plans, each.outcomes)
    assert [(plan.action, plan.rows_lost.phrase) for plan in each.plans] == [("repair-partition", case.phrase)]
    assert (each.before - each.after).total() == case.lost
    assert (each.after - each.before).total() == 0
    assert each.verdict == "healthy"

"""The damages of public reports, on one real server: repaired, rehearsed, served, and taken back byte for byte.

Tables with a late column, an index, rows out of order, unapplied rows; their names say the questdb issue.
"""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.rehearsal.model import RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.faults.broken_database import tree_of
from tests.real import state_damage as damage
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.test_rehearsal import engine_of
from tests.real.test_sequencer_repairs import captured

_DAY: Final = "2025-11-07"
_ROWS_OF_IT: Final = 100


@dataclass(frozen=True)
class Case:
    """One damage. `rows` are those of `_DAY` that are lost, `column` the one that loses values of it.

    With `names` symbols lose their names: a placeholder stands for each.
    """

    strike: Callable[[Path], object]
    action: str
    rows: int = 0
    column: str = ""
    names: bool = False
    stops: bool = True  # a start is refused


def _state(file: str, strike: damage.Strike) -> Case:
    action = "repair-metadata" if file == "_meta" else "repair-table-state"
    return Case(lambda table: strike(table / file, random.Random(file)), action)


def _half(name: str) -> Callable[[Path], object]:
    """Cut a file of the day to half of its content."""
    return lambda table: os.truncate(table / _DAY / name, len((table / _DAY / name).read_bytes().rstrip(b"\0")) // 2)


def _zeros(name: str) -> Callable[[Path], object]:
    return lambda table: (table / name).write_bytes(bytes((table / name).stat().st_size))


def _of_another_user(table: Path) -> None:
    """Root gives a file away; who is not root closes it."""
    for path in ((table / _DAY) / "id.d", table / "sym.c"):
        os.chown(path, 12345, 12345) if os.geteuid() == 0 else path.chmod(0o400)


_CASES: Final = {
    "i1427_txn_cut_to_96": _state("_txn", damage.cut_to_96),
    "i2420_txn_96_zeros": _state("_txn", damage.wiped_to_96),
    "i3603_txn_zeros": _state("_txn", damage.zeros),
    "txn_gone": _state("_txn", damage.gone),
    "txn_partitions": _state("_txn", damage.partitions_zeroed),
    "txn_rows": _state("_txn", damage.too_many_rows),
    "txn_symbols": _state("_txn", damage.too_few_symbols),
    "i1448_meta_zeros": _state("_meta", damage.first_page_zeroed),
    "meta_gone": _state("_meta", damage.gone),
    "i5306_partition": Case(lambda table: shutil.rmtree(table / _DAY), "repair-partition", rows=_ROWS_OF_IT),
    "i3809_string": Case(_half("s.d"), "repair-partition", column="s", stops=False),
    "i3809_varchar": Case(_half("note.d"), "repair-partition", column="note", stops=False),
    "i5938_symbol_offsets": Case(_zeros("sym.o"), "repair-symbols"),
    "i5938_symbol_names": Case(lambda table: os.truncate(table / "sym.c", 40), "repair-symbols", names=True),
    "index_broken": Case(_zeros(f"{_DAY}/sym.k"), "rebuild-index", stops=False),
    "file_of_root": Case(_of_another_user, "repair-ownership", stops=False),
}
_DAYS: Final = ("2025-11-05", "2025-11-06", "2025-11-07", "2025-11-08", "2025-11-09")


def _fill(server: PrivateServer) -> None:
    for name in _CASES:
        server.query(
            f"CREATE TABLE {name} (ts TIMESTAMP, id LONG, sym SYMBOL INDEX, note VARCHAR, s STRING, ar DOUBLE[]) "
            "TIMESTAMP(ts) PARTITION BY DAY WAL"
        )
        server.query(_rows(name, "2025-11-05", 400, 864_000_000))
    wait_until_applied(server)
    for name in _CASES:
        server.query(f"ALTER TABLE {name} ADD COLUMN fee DOUBLE")
        server.query(_rows(name, "2025-11-09", 100, 864_000_000, ", x * 0.5"))
    wait_until_applied(server)
    for name in _CASES:
        server.query(_rows(name, "2025-11-06T00:00:03", 3, 7_000_000, ", x * 0.25"))
    wait_until_applied(server)
    for name in _CASES:
        server.query(f"ALTER TABLE {name} SUSPEND WAL")
        server.query(_rows(name, "2025-11-09T23:00:00", 7, 1_000_000, ", x * 0.125"))


def _rows(name: str, first: str, count: int, step: int, more: str = "") -> str:
    values = "x, 's' || (x % 60), rnd_varchar(1, 30, 1), rnd_str(2, 12, 1), ARRAY[x * 1.0, 2.0]" + more
    return (
        f"INSERT INTO {name} (ts, id, sym, note, s, ar{', fee' if more else ''}) "
        f"SELECT timestamp_sequence('{first}', {step}L), {values} FROM long_sequence({count})"
    )


def _all_rows(server: PrivateServer, name: str) -> list[dict[str, object]]:
    with server.connect() as connection:
        cursor = connection.execute(f"SELECT * FROM {name} ORDER BY ts, id".encode())
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]


@pytest.fixture(scope="module")
def struck(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Path]:
    """The damaged database and its undamaged twin."""
    place = tmp_path_factory.mktemp("public").resolve()
    root = place / "root"
    with PrivateServer(root, questdb, settings=SERVER) as server:
        _fill(server)
        server.kill()
    shutil.rmtree(root / "public", ignore_errors=True)
    shutil.copytree(root, place / "twin")
    for name, case in _CASES.items():
        case.strike(DatabaseRoot.locate(root).table(name).path)
    return captured(engine_of(root, place / "state", questdb)), place / "twin"


def test_the_check_leads_to_the_repair_and_a_start_is_refused(struck: tuple[Engine, Path]) -> None:
    engine, _ = struck
    for name, case in _CASES.items():
        report = diagnose_table(engine.database, engine.database.table(name))
        assert report.next_step.action == case.action, report.findings
        assert report.verdict is not Verdict.HEALTHY
    refused = {refusal.table for refusal in engine.plan("start-server").refused}
    assert {name for name, case in _CASES.items() if case.stops} <= refused


def test_undone_the_files_are_byte_for_byte_as_before(struck: tuple[Engine, Path]) -> None:
    engine, _ = struck
    before = tree_of(engine.database.root)
    for name, case in _CASES.items():
        plan = engine.plan(case.action, name)
        result = engine.run(plan, plan.confirmation)
        assert result.outcome is Outcome.DONE, (name, plan.refused, result)
        values = f" rows and {plan.values_lost[0].count} {plan.values_lost[0].kind}" if plan.values_lost else ""
        assert plan.confirmation == f"{name} lose {case.rows}{values}"
        assert bool(values) == bool(case.column or case.names)
        back = engine.plan_undo(result.entry)
        assert engine.undo(result.entry, back.confirmation).outcome is Outcome.DONE
    assert tree_of(engine.database.root) == before


@pytest.mark.parametrize("name", ["i1427_txn_cut_to_96", "i1448_meta_zeros", "i5306_partition", "i3809_string"])
def test_a_rehearsal_passes(name: str, struck: tuple[Engine, Path]) -> None:
    engine, _ = struck
    ended = rehearse(engine, _CASES[name].action, name)
    assert ended.outcome is RehearsalOutcome.PASSED, ended


def test_the_rows_are_those_of_the_twin_and_the_tables_take_writes(
    struck: tuple[Engine, Path], questdb: ServerBinary
) -> None:
    """Rows of every table, then rows into each day and a new one, a column, a restart, and the rows again."""
    engine, twin = struck
    values: dict[str, int] = {}
    for name, case in _CASES.items():
        plan = engine.plan(case.action, name)
        assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, plan.refused
        assert diagnose_table(engine.database, engine.database.table(name)).verdict is Verdict.HEALTHY
        values[name] = sum(lost.count or 0 for lost in plan.values_lost)
        assert bool(values[name]) is bool(case.column or case.names)
    seen = [_served(root, questdb) for root in (twin, engine.database.root)]
    for name, case in _CASES.items():
        assert [len(rows) for rows in seen[0][name]] == [510, 516], name
        for truth, found in zip(seen[0][name], seen[1][name], strict=True):
            _same_but_for_the_loss(case, values[name], truth, found)


def _served(root: Path, questdb: ServerBinary) -> dict[str, list[list[dict[str, object]]]]:
    found: dict[str, list[list[dict[str, object]]]] = {name: [] for name in _CASES}
    for again in (False, True):
        with PrivateServer(root, questdb, settings=SERVER) as server:
            for name in _CASES if not again else ():
                server.query(f"ALTER TABLE {name} RESUME WAL")
            wait_until_applied(server)
            for name in _CASES:
                found[name].append(_all_rows(server, name))
                if not again:
                    server.query(f"ALTER TABLE {name} ADD COLUMN late LONG")
                    for day in (*_DAYS, "2025-11-20"):
                        server.query(f"INSERT INTO {name} (ts, id, sym, late) VALUES ('{day}T12', 1, 'new', 7)")
            wait_until_applied(server)
    return found


def _same_but_for_the_loss(
    case: Case, values: int, truth: list[dict[str, object]], found: list[dict[str, object]]
) -> None:
    """What is lost is the day of the partition, or values of one column of it, as many as the plan said."""
    left = [row for row in truth if not case.rows or str(row["ts"])[:10] != _DAY or row.get("late") == 7]
    assert len(left) == len(truth) - case.rows
    changed = [(old, new) for old, new in zip(left, found, strict=True) if old != new]
    if case.names:
        assert all(old | {"sym": new["sym"]} == new and str(new["sym"]).startswith("symbol-") for old, new in changed)
        assert len({old["sym"] for old, _ in changed}) == len({new["sym"] for _, new in changed}) == values
        return
    wrong = [pair for pair in changed if str(pair[0]["ts"])[:10] != _DAY or pair[0] | {case.column: None} != pair[1]]
    assert not wrong, (case, wrong[:2])
    empty = sum(row[case.column] is None for row in left if str(row["ts"])[:10] == _DAY) if case.column else 0
    assert len(changed) <= values <= len(changed) + empty

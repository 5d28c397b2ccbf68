"""The damages of public reports, on one real server: repaired, rehearsed, served, and taken back byte for byte.

`_txn` wiped to 96 bytes, zeros or gone (questdb issues 1427, 2420, 3603), `_meta` zeroed (1448), its
partition table zeroed, its row count too high; tables with a late column, an index, rows out of order, unapplied rows.
"""

import random
import shutil
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

_CASES: Final = {
    "cut96": ("_txn", damage.cut_to_96, "repair-table-state"),
    "wiped96": ("_txn", damage.wiped_to_96, "repair-table-state"),
    "zeros": ("_txn", damage.zeros, "repair-table-state"),
    "gone": ("_txn", damage.gone, "repair-table-state"),
    "partitions": ("_txn", damage.partitions_zeroed, "repair-table-state"),
    "rows": ("_txn", damage.too_many_rows, "repair-table-state"),
    "meta_zeros": ("_meta", damage.first_page_zeroed, "repair-metadata"),
    "meta_gone": ("_meta", damage.gone, "repair-metadata"),
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


def _all_rows(server: PrivateServer, name: str) -> list[str]:
    return sorted(repr(row) for row in server.query(f"SELECT * FROM {name}"))


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
    for name, (file, strike, _) in _CASES.items():
        table = DatabaseRoot.locate(root).table(name)
        strike(table.path / file, random.Random(name))
    return captured(engine_of(root, place / "state", questdb)), place / "twin"


def test_the_check_leads_to_the_repair_and_a_start_is_refused(struck: tuple[Engine, Path]) -> None:
    engine, _ = struck
    for name, (_, _, action) in _CASES.items():
        report = diagnose_table(engine.database, engine.database.table(name))
        assert (report.verdict, report.next_step.action) == (Verdict.BROKEN, action), report.findings
    refused = {refusal.table for refusal in engine.plan("start-server").refused}
    assert set(_CASES) <= refused


def test_undone_the_files_are_byte_for_byte_as_before(struck: tuple[Engine, Path]) -> None:
    engine, _ = struck
    before = tree_of(engine.database.root)
    for name, (_, _, action) in _CASES.items():
        plan = engine.plan(action, name)
        result = engine.run(plan, plan.confirmation)
        assert result.outcome is Outcome.DONE, (name, plan.refused, result)
        assert plan.confirmation == f"{name} lose 0"
        back = engine.plan_undo(result.entry)
        assert engine.undo(result.entry, back.confirmation).outcome is Outcome.DONE
    assert tree_of(engine.database.root) == before


@pytest.mark.parametrize("name", ["cut96", "meta_zeros"])
def test_a_rehearsal_passes(name: str, struck: tuple[Engine, Path]) -> None:
    engine, _ = struck
    ended = rehearse(engine, _CASES[name][2], name)
    assert ended.outcome is RehearsalOutcome.PASSED, ended


def test_the_rows_are_those_of_the_twin_and_the_tables_take_writes(
    struck: tuple[Engine, Path], questdb: ServerBinary
) -> None:
    """Rows of every table, then rows into each day and a new one, a column, a restart, and the rows again."""
    engine, twin = struck
    for name, (_, _, action) in _CASES.items():
        plan = engine.plan(action, name)
        assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, plan.refused
        assert diagnose_table(engine.database, engine.database.table(name)).verdict is Verdict.HEALTHY
    seen = []
    for root in (twin, engine.database.root):
        found: dict[str, list[list[str]]] = {name: [] for name in _CASES}
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
        seen.append(found)
    for name in _CASES:
        assert [len(rows) for rows in seen[1][name]] == [510, 516], name
        assert seen[1][name] == seen[0][name], name

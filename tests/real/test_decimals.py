"""DECIMAL columns (QuestDB 9.2.0 and later): healthy, compared to the last digit, salvaged as the server shows."""

import csv
import shutil
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Verdict
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, SalvageSettings, Settings
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.test_sequencer_repairs import captured, engine_of
from tests.real.versions import binary_of

pytestmark = pytest.mark.faults  # it fetches a server of another version

_COLUMNS = (
    "ts TIMESTAMP, a DECIMAL(2,1), b DECIMAL(4,2), c DECIMAL(9,0), d DECIMAL(18,3), e DECIMAL(38,10), f DECIMAL(76,20)"
)
_AT = "'2023-11-15T01:00:00Z'"
_ROW = f"({_AT}, 1.5m, -0.04m, 123456789m, -123456789012345.678m, 1234567890123456789012345678.0123456789m, {{}}m)"
_LARGE = "-12345678901234567890123456789012345678901234567890.{}"
_NULLS = f"({_AT}, null, null, null, null, null, null)"
_ZEROS = f"({_AT}, 0.0m, 0.00m, 0m, 0.000m, 0m, 0m)"


@dataclass
class Found:
    verdict: Verdict
    plan: Plan
    outcome: Outcome
    truth: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    rows: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    files: dict[str, Path] = field(default_factory=dict)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    work = tmp_path_factory.mktemp("decimals")
    root = work / "root"
    questdb = binary_of("9.3.4")
    with PrivateServer(root, questdb, settings=SERVER) as server:
        for name in ("money", "twin"):
            server.query(f"CREATE TABLE {name} ({_COLUMNS}) TIMESTAMP(ts) PARTITION BY DAY WAL")
            server.query(f"INSERT INTO {name} VALUES {_ROW.format(_LARGE.format(5))}, {_NULLS}")
        wait_until_applied(server)
        server.query("ALTER TABLE money SUSPEND WAL")
        for name in ("money", "twin"):  # one digit of 70 differs, then nothing does
            server.query(f"INSERT INTO {name} VALUES {_ROW.format(_LARGE.format(6))}, {_ZEROS}")
            server.query(f"INSERT INTO {name} VALUES {_ROW.format(_LARGE.format(5))}, {_NULLS}")
        server.kill()
    files = {kind: _salvaged(root, work / kind, kind) for kind in ("csv", "parquet")}
    engine = engine_of(root, work / "state")
    verdict = diagnose_table(engine.database, engine.database.table("twin")).verdict
    shutil.rmtree(engine.database.table("money").path / "txn_seq")
    engine = captured(engine)
    plan = engine.plan("rebuild-sequencer", "money")
    result = Found(verdict, plan, engine.run(plan, plan.confirmation).outcome, files=files)
    with PrivateServer(root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        result.truth = Counter(server.query("SELECT * FROM twin"))
        result.rows = Counter(server.query("SELECT * FROM money"))
    return result


def _salvaged(root: Path, to: Path, kind: str) -> Path:
    questdb = QuestDBSettings(db_root=str(root))
    settings = Settings(state_dir=str(to / "state"), questdb=questdb, salvage=SalvageSettings(format=kind), bare=True)
    engine = Engine(settings)
    plan = engine.plan("salvage-wal", "money")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    return next(to.rglob(f"*.{kind}"))


def test_a_table_with_decimals_is_healthy(found: Found) -> None:
    assert found.verdict is Verdict.HEALTHY


def test_the_last_digit_tells_what_is_applied(found: Found) -> None:
    assert (found.plan.rows_back, found.plan.confirmation) == (4, "money lose 0")
    assert found.outcome is Outcome.DONE
    assert found.rows == found.truth


def test_csv_has_all_digits(found: Found) -> None:
    with found.files["csv"].open(newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    values = Counter(tuple(Decimal(text) if text else None for text in row[1:]) for row in rows)
    assert values == _unapplied(found)
    assert {row[2] for row in rows} == {"-0.04", "0.00", ""}


def test_parquet_has_decimals(found: Found) -> None:
    table = pyarrow.parquet.read_table(found.files["parquet"])
    columns = [table.column(name).to_pylist() for name in "abcdef"]
    assert Counter(zip(*columns, strict=True)) == _unapplied(found)
    assert str(table.schema.field("f").type) == "decimal256(76, 20)"


def _unapplied(found: Found) -> Counter[tuple[Any, ...]]:
    applied = Counter({row: 1 for row in found.truth if row[6] is None or str(row[6]).rstrip("0").endswith(".5")})
    return Counter(row[1:] for row in (found.truth - applied).elements())

"""A partition that was split and squashed after a column was added: the column's file has more entries than values."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import wait_until_applied
from tests.real.test_convert_table import engine_of
from tests.real.test_sequencer_repairs import captured
from tests.real.versions import binary_of

_SPLITS = {
    "cairo.writer.data.append.page.size": "16384",
    "cairo.o3.column.memory.size": "16384",
    "cairo.o3.partition.split.min.size": "2000",
}
_TABLES = {"grown": ("", "2024-01-05T12:00:00.5", 1_000_000), "replaced": (" DEDUP UPSERT KEYS(ts)",
           "2024-01-05T12:00:00", 60_000_000)}  # fmt: skip
"""Its keys, and when and how far apart 90 rows come that split the first week."""


@pytest.fixture(scope="module")
def binary() -> ServerBinary:
    return binary_of("9.3.4")


@pytest.fixture(scope="module")
def grown(binary: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("squashed") / "root"
    with PrivateServer(root, binary, settings=_SPLITS) as server:
        for table, (keys, start, step) in _TABLES.items():
            rows = f"INSERT INTO {table} SELECT timestamp_sequence('{{}}', {{}}L), x + {{}}"
            for statement in (
                f"CREATE TABLE {table} (ts TIMESTAMP, id LONG) TIMESTAMP(ts) PARTITION BY WEEK WAL{keys}",
                rows.format("2024-01-01", 60_000_000, 0) + " FROM long_sequence(9000)",
                f"ALTER TABLE {table} ADD COLUMN uu LONG",
                f"ALTER TABLE {table} ADD COLUMN vc VARCHAR",
                rows.format("2024-01-10", 60_000_000, 10_000) + ", x, 'v' || x FROM long_sequence(700)",
                rows.format(start, step, 20_000) + ", x, 'v' || x FROM long_sequence(90)",
            ):
                server.query(statement)
                wait_until_applied(server)
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    yield root
    shutil.rmtree(root.parent)


def _without(grown: Path, binary: ServerBinary, folder: Path, table: str, name: str) -> Engine:
    """Return an engine on a copy in which a file of the table is zeros."""
    root = shutil.copytree(grown, folder / "root")
    engine = engine_of(root, folder / "state", binary)
    file = engine.database.table(table).path / name
    file.write_bytes(bytes(file.stat().st_size))
    return captured(engine)


@pytest.mark.parametrize("table", _TABLES)
def test_its_state_is_made_again_with_every_value(
    grown: Path, binary: ServerBinary, table: str, tmp_path: Path
) -> None:
    engine = _without(grown, binary, tmp_path.resolve(), table, "_txn")
    plan = engine.plan("repair-table-state", table)
    assert (plan.rows_lost.phrase, plan.refused) == ("0", ())
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    with PrivateServer(engine.database.root, binary, settings=_SPLITS) as server:
        found = server.query(
            f"SELECT count(), sum(id - uu), count(vc), sum(CASE WHEN vc = 'v' || uu THEN 1 END) FROM {table}"
        )
        assert found == [(9790 if table == "grown" else 9700, 700 * 10_000 + 90 * 20_000, 790, 790)]


@pytest.mark.parametrize("table", _TABLES)
def test_without_cv_nobody_knows_where_its_columns_begin(
    grown: Path, binary: ServerBinary, table: str, tmp_path: Path
) -> None:
    plan = _without(grown, binary, tmp_path.resolve(), table, "_cv").plan("repair-metadata", table)
    given_up = {each.column for each in plan.values_lost}
    assert (plan.rows_lost.phrase, given_up) == (("0", {"uu", "vc"}) if table == "grown" else ("unknown", set()))

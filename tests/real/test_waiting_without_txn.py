"""`_txn` is lost while transactions wait, and the WAL of those before them is purged: nothing of them is given up.

The waiting rows have timestamps of rows that the table has, or come behind an ALTER that is not applied either.
"""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from console.diagnosis.model import Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import wait_until_applied
from tests.real.test_convert_table import engine_of
from tests.real.test_sequencer_repairs import captured
from tests.real.waiting import until

_SWEEPS: Final = {"dev.mode.enabled": "true", "cairo.wal.purge.interval": "500"}
_ROWS: Final = (
    "INSERT INTO {} (ts, id, f, s) SELECT timestamp_sequence('2024-01-0{}', {}L), x + {}, x * 0.5, 'k' || (x % 5) "
    "FROM long_sequence({})"
)
_MINUTE: Final = 60_000_000


def _later(time: str, rows: int = 70, step: int = _MINUTE, first: int = 5000) -> str:
    return _ROWS.format("{t}", time, step, first, rows)


_MORE: Final = _later("3T10", 100)
_WAITING: Final = {
    "apart": [_later("1T01:00:00.5")],
    "some": [_later("1T01", step=_MINUTE // 2)],
    "every": [_later("1T01")],
    "single": [_later("1T01:01", 1)],
    "newest": [_later("3T18:39")],
    "two": [_later("1T01"), _later("2T05", first=9000)],
    "fresh": [_later("1T01"), _later("4T05", first=9000)],
    "added": ["ALTER TABLE {t} ADD COLUMN n SYMBOL", _MORE],
    "alone": ["ALTER TABLE {t} ADD COLUMN n LONG"],
    "dropped": ["ALTER TABLE {t} DROP COLUMN g", _MORE],
    "renamed": ["ALTER TABLE {t} RENAME COLUMN g TO h", _MORE],
    "typed": ["ALTER TABLE {t} ALTER COLUMN g TYPE LONG", _MORE],
    "keys": ["ALTER TABLE {t} DEDUP ENABLE UPSERT KEYS(ts)", _MORE],
    "keyless": ["ALTER TABLE {t} DEDUP DISABLE", _MORE],
    "narrowed": [_MORE],
    "ttl": ["ALTER TABLE {t} SET TTL 1 WEEK", _MORE],
}
"""What waits, by table; each has 4,000 rows, one a minute, up to 18:39 of the third day."""


def _rows(root: Path, questdb: ServerBinary) -> dict[str, Counter[str]]:
    """Start a server, let it apply what waits, and return the rows of each table."""
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        wait_until_applied(server)
        return {name: Counter(map(repr, server.query(f"SELECT * FROM {name}"))) for name in _WAITING}


def test_what_waits_is_still_applied(questdb: ServerBinary, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        for name in _WAITING:
            keys = {"keyless": "DEDUP UPSERT KEYS(ts)", "narrowed": "DEDUP UPSERT KEYS(ts, s)"}.get(name, "")
            server.query(
                f"CREATE TABLE {name} (ts TIMESTAMP, id LONG, f DOUBLE, g INT, s SYMBOL) TIMESTAMP(ts) "
                f"PARTITION BY DAY WAL {keys}"
            )
            server.query(_ROWS.format(name, 1, _MINUTE, 0, 4000))
        server.query("ALTER TABLE narrowed DEDUP ENABLE UPSERT KEYS(ts)")  # `_meta` keeps the other key
        server.query(_ROWS.format("narrowed", "2T01", _MINUTE, 0, 100))
        wait_until_applied(server)
    tables = {table.name: table.path for table in DatabaseRoot.locate(root).tables()}
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        until(lambda: not [each for name in _WAITING for each in tables[name].glob("wal*")], "the WAL is purged", 60)
        for name, statements in _WAITING.items():
            server.query(f"ALTER TABLE {name} SUSPEND WAL")
            for statement in statements:
                server.query(statement.format(t=name))
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    twin = shutil.copytree(root, tmp_path / "twin")
    for name in _WAITING:
        (tables[name] / "_txn").unlink()
    engine = captured(engine_of(root, tmp_path / "state", questdb))
    for name in _WAITING:
        plan = engine.plan("repair-table-state", name)
        assert (plan.rows_lost.phrase, plan.values_lost, plan.refused) == ("0", (), ()), name
        assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, name
    assert {each.verdict for each in engine.diagnosis().tables} == {Verdict.HEALTHY}
    assert _rows(root, questdb) == _rows(twin, questdb)


@pytest.mark.parametrize("kind", ["VARCHAR", "LONG"])
def test_applied_rows_with_two_damaged_columns_come_only_once(questdb: ServerBinary, tmp_path: Path, kind: str) -> None:
    """They differ from those in the WAL, and are no others: the ids are the same."""
    root = tmp_path.resolve() / "root"
    value = "'a-long-name-of-' || x" if kind == "VARCHAR" else "x * 7"
    with PrivateServer(root, questdb, settings={"cairo.wal.purge.interval": "600000"}) as server:
        server.query(f"CREATE TABLE t (ts TIMESTAMP, a {kind}, b {kind}, id LONG) TIMESTAMP(ts) PARTITION BY DAY WAL")
        server.query(
            f"INSERT INTO t SELECT timestamp_sequence('2024-01-01', 1000000L), {value}, {value}, x "
            "FROM long_sequence(100)"
        )
        wait_until_applied(server)
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    table = DatabaseRoot.locate(root).table("t").path
    for column in "ab":
        (file,) = table.glob(f"2024-01-01*/{column}.d")
        data = file.read_bytes()
        file.write_bytes(bytes(len(data)) if kind == "VARCHAR" else b"\x5a" * 800 + data[800:])
    (table / "_txn").unlink()
    engine = captured(engine_of(root, tmp_path / "state", questdb))
    plan = engine.plan("repair-table-state", "t")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, plan.refused
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        wait_until_applied(server)
        assert server.query("SELECT count() FROM t") == [(100,)]


def test_a_partition_that_cannot_be_read_says_nothing_of_what_waits(questdb: ServerBinary, tmp_path: Path) -> None:
    """The rows of the other days show that it is not applied."""
    root = tmp_path.resolve() / "root"
    create = "CREATE TABLE t (ts TIMESTAMP, id LONG, f DOUBLE, g INT, s SYMBOL) TIMESTAMP(ts) PARTITION BY DAY WAL"
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        server.query(create)
        server.query(_ROWS.format("t", 1, _MINUTE, 0, 4000))
        wait_until_applied(server)
    table = DatabaseRoot.locate(root).table("t").path
    with PrivateServer(root, questdb, settings=_SWEEPS) as server:
        until(lambda: not [*table.glob("wal*")], "the WAL is purged", 60)
        server.query("ALTER TABLE t SUSPEND WAL")
        server.query(_later("1T23:30", 180, _MINUTE // 2).format(t="t"))
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    os.truncate(table / "2024-01-01" / "g.d", 100)
    (table / "_txn").unlink()
    plan = captured(engine_of(root, tmp_path / "state", questdb)).plan("repair-table-state", "t")
    assert (plan.rows_lost.phrase, plan.refused) == ("0", ())

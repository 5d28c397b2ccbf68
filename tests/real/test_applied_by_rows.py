"""What is applied, told by the rows alone: no log is left, and every row must be there once, as in an undamaged twin.

Each case is two tables that get the same statements; the second one is the twin, which applies them all. The first one
is suspended in between, killed, and its `txn_seq` removed. Before that, both got transactions whose WAL is purged, so
that their number says nothing: only rows can.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from console.recovery.model import Outcome, Plan
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.test_sequencer_repairs import captured, engine_of

Round = Sequence[str]
"""One statement for each writer; all their transactions are open at the same time, so each has a WAL of its own."""

_REFUSED = -1
_OLDER = 9
"""Transactions before the case: more than it has itself."""
_UUID = "'1d3a3b2c-8f6e-4a51-9d0b-{0:012d}'"
_LONG256 = "0x{0:064x}"


@dataclass(frozen=True, slots=True)
class Case:
    """A table: `{t}` in statements stands for its name. `back`: rows that must come back, _REFUSED for a refusal."""

    name: str
    columns: str
    applied: Sequence[Round]
    pending: Sequence[Round]
    back: int
    dedup: str = ""
    strike: Callable[[Path], None] = lambda table: shutil.rmtree(table / "txn_seq")

    def create(self, name: str) -> str:
        keys = f" DEDUP UPSERT KEYS({self.dedup})" if self.dedup else ""
        return f"CREATE TABLE {name} ({self.columns}) TIMESTAMP(ts) PARTITION BY DAY WAL{keys}"


def _at(hour: int, day: int = 15) -> str:
    return f"'2023-11-{day:02d}T{hour:02d}:00:00.000000Z'"


def _insert(*rows: str) -> str:
    return f"INSERT INTO {{t}} VALUES {', '.join(f'({row})' for row in rows)}"


def _empty_log(table: Path) -> None:
    """Only the log is lost: what the structure changes were stays beside it."""
    (table / "txn_seq" / "_txnlog").write_bytes(b"")


def _lose_page(table: Path) -> None:
    """The log is removed, and a page of the table's own column never reached the disk."""
    shutil.rmtree(table / "txn_seq")
    with next(table.glob("2023-11-15*/px.d")).open("r+b") as stream:
        stream.write(bytes(4096))


_MANY = "INSERT INTO {t} SELECT timestamp_sequence('2023-11-15', 1000000), 'A', x + 0.5 FROM long_sequence(1500)"
_SYMBOLS = "ts TIMESTAMP, sym SYMBOL, venue SYMBOL"
_KEYED = "ts TIMESTAMP, sym SYMBOL, px DOUBLE"
_WIDE = (
    "ts TIMESTAMP, id UUID, hash LONG256, ip IPV4, g GEOHASH(20b), c CHAR, b BOOLEAN, n BYTE, s SHORT, i INT, l LONG, "
    "d DATE, f FLOAT, txt STRING, vc VARCHAR, raw BINARY, a DOUBLE[]"
)


def _wide(hour: int, number: int) -> str:
    return (
        f"{_at(hour)}, {_UUID.format(number)}, {_LONG256.format(number + 1)}, '10.0.0.{number % 250}', #u33d8, 'x', "
        f"true, {number % 100}, {number}, {number}, {number}, {number}, {number}.5, 'text {number}', "
        f"'vc {number}', null, ARRAY[{number}.0, null]"
    )


def _nulls(hour: int) -> str:
    return f"{_at(hour)}, {', '.join(['null'] * 16)}"


_CASES = (
    Case(
        "only_symbols", _SYMBOLS,
        [[_insert(f"{_at(22)}, 'BTC', 'A'", f"{_at(22)}, 'ETH', 'A'")]],
        [[_insert(f"{_at(22)}, 'SOL', 'A'")]], 1,
    ),
    Case(
        "symbols_swapped", _SYMBOLS,
        [[_insert(f"{_at(22)}, 'BTC', 'ETH'")]],
        [[_insert(f"{_at(22)}, 'ETH', 'BTC'")], [_insert(f"{_at(22)}, null, 'BTC'", f"{_at(22)}, '', 'BTC'")]], 3,
    ),
    Case(
        "symbols_twice", _SYMBOLS,
        [[_insert(f"{_at(22)}, 'BTC', 'A'")], [_insert(f"{_at(22)}, 'BTC', 'A'")]],
        [[_insert(f"{_at(22)}, 'BTC', 'A'")], [_insert(f"{_at(22)}, 'BTC', 'A'", f"{_at(22)}, 'BTC', 'A'")]], 3,
    ),
    Case("one_column", "ts TIMESTAMP", [[_insert(_at(1))], [_insert(_at(1))]], [[_insert(_at(1))]], 1),
    Case("one_column_later", "ts TIMESTAMP", [[_insert(_at(1))]], [[_insert(_at(2))], [_insert(_at(1))]], 2),
    Case(
        "twice_within", _KEYED,
        [[_insert(f"{_at(1)}, 'A', 1", f"{_at(1)}, 'A', 1")]],
        [[_insert(f"{_at(1)}, 'A', 1", f"{_at(1)}, 'A', 1", f"{_at(1)}, 'B', 1")]], 3,
    ),
    Case(
        "two_writers_one_row", _KEYED,
        [[_insert(f"{_at(1)}, 'A', 1"), _insert(f"{_at(1)}, 'A', 2")]],
        [[_insert(f"{_at(1)}, 'A', 2"), _insert(f"{_at(1)}, 'A', 1")]], _REFUSED,
    ),
    Case(
        "two_writers", _KEYED,
        [[_insert(f"{_at(1)}, 'A', 1"), _insert(f"{_at(1)}, 'B', 1")]],
        [[_insert(f"{_at(1)}, 'A', 2"), _insert(f"{_at(1)}, 'B', 2")]], 2,
    ),
    Case("wide", _WIDE, [[_insert(_wide(1, 1))], [_insert(_wide(1, 2))]], [[_insert(_wide(1, 3), _wide(2, 4))]], 2),
    Case("wide_newer", _WIDE, [[_insert(_wide(1, 1))]], [[_insert(_wide(5, 3))]], 1),
    Case(
        "wide_null", _WIDE,
        [[_insert(_wide(1, 1), _nulls(1))]],
        [[_insert(_nulls(1), _wide(1, 0))], [_insert(_wide(1, 1))]], 3,
    ),
    Case("wide_all_new", _WIDE, [], [[_insert(_wide(1, 1))]], 1),
    Case(
        "out_of_order", _KEYED,
        [[_insert(f"{_at(9)}, 'A', 1", f"{_at(12)}, 'A', 2")], [_insert(f"{_at(10)}, 'A', 1")]],
        [[_insert(f"{_at(10)}, 'A', 2", f"{_at(1, 14)}, 'A', 3")], [_insert(f"{_at(9)}, 'A', 1")]], 3,
    ),
    Case(
        "updated", _KEYED,
        [
            [_insert(f"{_at(1)}, 'A', 1", f"{_at(2)}, 'A', 2")],
            ["UPDATE {t} SET px = 7 WHERE px = 2"],
            [_insert(f"{_at(3)}, 'A', 3")],
        ],
        [[_insert(f"{_at(3)}, 'A', 4")]], 1,  # the table has one such row, whatever its price
    ),
    Case(
        "updated_before", _KEYED,
        [
            [_insert(f"{_at(1)}, 'A', 1", f"{_at(2)}, 'A', 2")],
            ["UPDATE {t} SET px = 7 WHERE px = 2"],
            [_insert(f"{_at(3)}, 'A', 3")],
        ],
        [[_insert(f"{_at(3)}, 'B', 4")], [_insert(f"{_at(4)}, 'A', 4")]], 2,
    ),
    Case(
        "column_added", _KEYED,
        [
            [_insert(f"{_at(1)}, 'A', 1")],
            ["ALTER TABLE {t} ADD COLUMN extra SYMBOL"],
            [_insert(f"{_at(1)}, 'A', 1, 'x'")],
        ],
        [[_insert(f"{_at(1)}, 'A', 1, 'y'")], [_insert(f"{_at(1)}, 'A', 1, null")]], 2,
    ),
    Case(
        "column_dropped", _KEYED,
        [[_insert(f"{_at(1)}, 'A', 1")], ["ALTER TABLE {t} DROP COLUMN sym"], [_insert(f"{_at(1)}, 1")]],
        [[_insert(f"{_at(1)}, 2")]], 1,
    ),
    Case(
        "column_converted", _KEYED,
        [
            [_insert(f"{_at(2)}, 'A', 1")],
            ["ALTER TABLE {t} ALTER COLUMN sym TYPE VARCHAR"],
            [_insert(f"{_at(1)}, 'B', 1")],
        ],
        [[_insert(f"{_at(1)}, 'C', 1")], [_insert(f"{_at(1)}, 'B', 1")]], 2,
    ),
    Case(
        "column_renamed", _KEYED,
        [
            [_insert(f"{_at(1)}, 'A', 1")],
            ["ALTER TABLE {t} RENAME COLUMN px TO price"],
            [_insert(f"{_at(1)}, 'A', 2")],
        ],
        [[_insert(f"{_at(1)}, 'A', 3")]], 1,
    ),
    Case(
        "column_pending", _KEYED,
        [[_insert(f"{_at(1)}, 'A', 1")]],
        [
            [_insert(f"{_at(1)}, 'A', 2")], ["ALTER TABLE {t} ADD COLUMN extra LONG"],
            [_insert(f"{_at(1)}, 'A', 1, 5")],
        ],
        _REFUSED,  # the change of columns is nowhere but in the log
    ),
    Case(
        "in_parquet", _KEYED,
        [
            [_insert(f"{_at(1, 14)}, 'A', 1", f"{_at(1)}, 'A', 1")],
            ["ALTER TABLE {t} CONVERT PARTITION TO PARQUET LIST '2023-11-14'"],
            [_insert(f"{_at(2)}, 'A', 1")],
        ],
        [[_insert(f"{_at(1, 14)}, 'B', 1")]], _REFUSED,
    ),
    Case(
        "beside_parquet", _KEYED,
        [
            [_insert(f"{_at(1, 14)}, 'A', 1", f"{_at(1)}, 'A', 1")],
            ["ALTER TABLE {t} CONVERT PARTITION TO PARQUET LIST '2023-11-14'"],
            [_insert(f"{_at(2)}, 'A', 1")],
        ],
        [[_insert(f"{_at(2)}, 'B', 1")], [_insert(f"{_at(1, 14)}, 'B', 1")]], 2,
    ),
    Case(
        "partition_dropped", _KEYED,
        [
            [_insert(f"{_at(1, 13)}, 'A', 1", f"{_at(1)}, 'A', 1")],
            ["ALTER TABLE {t} DROP PARTITION LIST '2023-11-13'"],
            [_insert(f"{_at(2)}, 'A', 1")],
        ],
        [[_insert(f"{_at(2)}, 'B', 1")]], 1,
    ),
    Case(
        "dropped_at_the_cut", _KEYED,
        [
            [_insert(f"{_at(1)}, 'A', 1")],
            [_insert(f"{_at(1, 13)}, 'A', 1")],
            ["ALTER TABLE {t} DROP PARTITION LIST '2023-11-13'"],
        ],
        [[_insert(f"{_at(1, 16)}, 'B', 1")]], _REFUSED,
    ),
    Case(
        "keys_replaced", _KEYED,  # FAULTS: an equal row is there, yet the transaction before it is not applied
        [[_insert(f"{_at(1)}, 'K', 2", f"{_at(1)}, 'J', 1")]],
        [[_insert(f"{_at(1)}, 'K', 2.5", f"{_at(1)}, 'J', 9")], [_insert(f"{_at(1)}, 'K', 2")]], _REFUSED, "ts, sym",
    ),
    Case(
        "keys_new", _KEYED,
        [[_insert(f"{_at(1)}, 'K', 2", f"{_at(1)}, 'J', 1")], [_insert(f"{_at(2)}, 'K', 2")]],
        [[_insert(f"{_at(2)}, 'J', 1")], [_insert(f"{_at(2)}, 'J', 2", f"{_at(2)}, 'K', 5")]], 3, "ts, sym",
    ),
    Case(
        "keys_sent_again", _KEYED,
        [[_insert(f"{_at(1)}, 'K', 1")], [_insert(f"{_at(1)}, 'K', 2", f"{_at(1)}, 'J', 1")]],
        [[_insert(f"{_at(1)}, 'K', 2", f"{_at(1)}, 'J', 1")], [_insert(f"{_at(2)}, 'K', 3")]], 1, "ts, sym",
    ),
    Case(
        "keys_apart", _KEYED,
        [[_insert(f"{_at(1)}, 'A', 1"), _insert(f"{_at(1)}, 'B', 1")]],
        [
            [_insert(f"{_at(2)}, 'A', 2"), _insert(f"{_at(2)}, 'B', 2")],
            [_insert(f"{_at(3)}, 'A', 2"), _insert(f"{_at(3)}, 'B', 2")],
        ],
        4, "ts, sym",
    ),
    Case(
        "keys_crossed", _KEYED,
        [[_insert(f"{_at(1)}, 'A', 1"), _insert(f"{_at(1)}, 'B', 1")]],
        [[_insert(f"{_at(2)}, 'A', 2"), _insert(f"{_at(2)}, 'A', 3")]], _REFUSED, "ts, sym",
    ),
    Case(
        "keys_crossed_equal", _KEYED,
        [[_insert(f"{_at(1)}, 'A', 1"), _insert(f"{_at(1)}, 'B', 1")]],
        [[_insert(f"{_at(2)}, 'A', 2"), _insert(f"{_at(2)}, 'A', 2")]], 2, "ts, sym",
    ),
    Case(
        "keys_given_up", _KEYED,
        [
            [_insert(f"{_at(1)}, 'A', 1")], [_insert(f"{_at(1)}, 'A', 2")], ["ALTER TABLE {t} DEDUP DISABLE"],
            [_insert(f"{_at(1)}, 'A', 2")],
        ],
        [[_insert(f"{_at(1)}, 'A', 2")], [_insert(f"{_at(2)}, 'A', 2")]], _REFUSED, "ts, sym",
    ),
    Case(
        "keys_to_come", _KEYED,  # the rows behind the change lie in a segment of before it
        [[_insert(f"{_at(1)}, 'A', 1")]],
        [["ALTER TABLE {t} DEDUP ENABLE UPSERT KEYS(ts, sym)"], [_insert(f"{_at(1)}, 'A', 2")]],
        _REFUSED, "", _empty_log,
    ),
    Case(
        "column_to_come", _KEYED,
        [[_insert(f"{_at(1)}, 'A', 1")]],
        [["ALTER TABLE {t} ADD COLUMN extra LONG"], [_insert(f"{_at(1)}, 'A', 1, 2")]],
        1, "", _empty_log,
    ),
    Case("page_lost", _KEYED, [[_MANY]], [[_insert(f"{_at(1)}, 'B', 1")]], _REFUSED, "", _lose_page),
    Case(
        "page_lost_before", _KEYED,  # what came later is whole, and tells that the damaged rows were applied
        [[_MANY], [_insert(f"{_at(2)}, 'A', 1")]],
        [[_insert(f"{_at(2)}, 'B', 1")]], 1, "", _lose_page,
    ),
    Case(
        "nanoseconds", "ts TIMESTAMP_NS, sym SYMBOL, id UUID",
        [[_insert(f"{_at(1)}, 'A', {_UUID.format(1)}")]],
        [[_insert(f"{_at(1)}, 'A', {_UUID.format(2)}")], [_insert(f"{_at(1)}, 'A', {_UUID.format(1)}")]], 2,
    ),
)  # fmt: skip


@dataclass
class Found:
    """What came of a case: the plan, its outcome, the rows of the twin and the rows after the repair."""

    plan: Plan
    outcome: Outcome
    truth: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)


def _execute(connections: Sequence[psycopg.Connection[tuple[object, ...]]], statements: Round, name: str) -> None:
    used = connections[: len(statements)]
    for connection, statement in zip(used, statements, strict=True):
        connection.execute(statement.format(t=name).encode())
    for connection in used:
        connection.commit()


def _rows(server: PrivateServer, name: str) -> Counter[str]:
    return Counter(repr(row) for row in server.query(f"SELECT * FROM {name}"))


def _named() -> list[tuple[Case, str]]:
    return [(case, name) for case in _CASES for name in (case.name, f"{case.name}_twin")]


def _create(root: Path, questdb: ServerBinary) -> None:
    """Make a table and its twin for each case, with older rows whose WAL is purged."""
    with PrivateServer(root, questdb, settings=SERVER) as server:
        for case, name in _named():
            server.query(case.create(name))
            for hour in range(_OLDER):
                server.query(f"INSERT INTO {name} (ts) VALUES ({_at(hour, 1)})")
        wait_until_applied(server)
    for old in (root / "db").glob("*~*/wal*"):  # as the purge does, but at once
        shutil.rmtree(old) if old.is_dir() else old.unlink()


def _write(root: Path, questdb: ServerBinary) -> None:
    """Write what is applied, and what only the twins apply, and kill the server."""
    with PrivateServer(root, questdb, settings=SERVER) as server:
        writers = [server.connect() for _ in range(2)]
        for writer in writers:
            writer.autocommit = False
        for case, name in _named():
            for statements in case.applied:
                _execute(writers, statements, name)
                wait_until_applied(server)  # a change of columns must be seen by the writers
        for case in _CASES:
            server.query(f"ALTER TABLE {case.name} SUSPEND WAL")
        for name, statements in ((name, each) for case, name in _named() for each in case.pending):
            _execute(writers, statements, name)
        server.kill()


@pytest.fixture(scope="module")
def found(questdb: ServerBinary, workshop: Path) -> dict[str, Found]:
    root = workshop / "root"
    _create(root, questdb)
    _write(root, questdb)
    for case in _CASES:
        case.strike(_directory(root, case.name))
    engine = captured(engine_of(root, workshop / "state"))
    results = {}
    for case in _CASES:
        plan = engine.plan("rebuild-sequencer", case.name)
        results[case.name] = Found(plan, engine.run(plan, plan.confirmation).outcome)
    for name, result in results.items():
        if result.outcome is not Outcome.DONE:
            shutil.rmtree(_directory(root, name))
    with PrivateServer(root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        for name, result in results.items():
            result.truth = _rows(server, f"{name}_twin")
            if result.outcome is Outcome.DONE:
                result.rows = _rows(server, name)
    return results


def _directory(root: Path, table: str) -> Path:
    return next(path for path in (root / "db").glob(f"{table}~*") if path.is_dir())


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_each_row_is_there_once_or_the_plan_is_refused(case: Case, found: dict[str, Found]) -> None:
    result = found[case.name]
    codes = [refusal.code for refusal in result.plan.refused]
    if case.back == _REFUSED:
        assert set(codes) & {"applied-ambiguous", "order-ambiguous", "structure-change-lost"}
        return
    assert result.outcome is Outcome.DONE, [refusal.reason for refusal in result.plan.refused]
    lost_page = {row: count for row, count in (result.truth - result.rows).items() if case.strike is not _lose_page}
    assert (sum(result.rows.values()), lost_page) == (sum(result.truth.values()), {})
    assert (result.plan.rows_back, result.plan.confirmation) == (case.back, f"{case.name} lose 0")

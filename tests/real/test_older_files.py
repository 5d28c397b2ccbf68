"""Tables with one file of an older state, or without `_txn` and what it is told from; brought back beside a twin.

All share a server that makes them, and those of `seen`: it shows every row, before and after it is written to. Every
third one is in `make test`, all are in `make faults` (WALMEDIC_FAULT_OLDER: a regular expression of names).
"""

import os
import re
import shutil
import struct
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.deep_files import DeepFiles
from console.diagnosis.model import Code
from console.questdb.formats.table import META_COLUMN, META_HEADER, TXN_RECORD
from console.questdb.layout import DatabaseRoot
from console.questdb.table_txn import read_table_txn
from console.recovery.model import Lost, Outcome, Plan, RowsLost
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.table_repair.index_files import column_index
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.test_repair_state import Rows, seen
from tests.real.test_sequencer_repairs import captured, engine_of

pytestmark = pytest.mark.timeout(1800)  # one fixture repairs all tables, one after the other

_ACTIONS: Final = ("repair-metadata", "repair-table-state", "repair-symbols", "rebuild-index")
Strike = Callable[[Path, Path], object]
"""Damages a table, given its directory and its `_meta` from before the changes."""


@dataclass(frozen=True, slots=True)
class Case:
    """A table: what changes it after its `_meta` was kept, what is only committed, and what then happens to it."""

    name: str
    strike: Strike
    changes: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    wal: bool = True
    refused: bool = False
    exact: bool = False  # the disk proves all of it: nothing is lost, and nothing is announced


@dataclass
class Ended:
    """What was planned for a table, and what its twin and itself then showed."""

    case: Case
    step: str | None
    plans: list[Plan]
    outcome: Outcome | None
    truth: list[Rows | str] = field(default_factory=list)
    found: list[Rows | str] = field(default_factory=list)

    @property
    def announced(self) -> RowsLost:
        """Rows that all plans together give up."""
        return RowsLost.total(plan.rows_lost for plan in self.plans)

    def __str__(self) -> str:
        rows = [
            (sum((a - b).values()), sum((b - a).values()), a.total())
            if isinstance(a, Counter) and isinstance(b, Counter)
            else (a if isinstance(a, str) else a.total(), b if isinstance(b, str) else b.total())
            for a, b in zip(self.truth, self.found, strict=False)
        ]
        said = [(p.action, p.confirmation, [r.reason for r in p.refused], p.warnings) for p in self.plans]
        return f"{self.case.name}: {self.step} {self.outcome} lost, more, of: {rows}; {said}"


def _older(table: Path, before: Path) -> None:
    """`_meta` is the one from before the changes."""
    (table / "_meta").write_bytes(before.read_bytes())


def _without(*names: str) -> Strike:
    def strike(table: Path, before: Path) -> None:
        for path in [path for name in names for path in table.glob(name)]:
            path.unlink()

    return strike


def _shifted(name: str) -> Strike:
    def strike(table: Path, before: Path) -> None:
        area = read_table_txn(table).current
        assert area is not None
        content = bytearray((table / "_txn").read_bytes())
        at = area.base + TXN_RECORD.at(name)
        struct.pack_into("<q", content, at, struct.unpack_from("<q", content, at)[0] + 60_000_000)
        (table / "_txn").write_bytes(content)

    return strike


def _gap(table: Path, before: Path) -> None:
    """Header and record of `_txn` are whole, its partition table is zeros, and a directory in the middle is gone."""
    area = read_table_txn(table).current
    assert area is not None
    content, times = bytearray((table / "_txn").read_bytes()), area.partitions["timestamp"]
    entries = times.tobytes()[:8] + struct.pack("<q", int(area.partitions["rows"][0]))
    assert entries in content
    while (at := content.find(entries)) >= 0:  # 32 bytes for each partition
        content[at : at + 32 * len(times)] = bytes(32 * len(times))
    (table / "_txn").write_bytes(content)
    (middle,) = table.glob("2024-01-02*")
    shutil.rmtree(middle)


def _header(**values: int) -> Strike:
    """`_meta` has other settings."""

    def strike(table: Path, before: Path) -> None:
        content = bytearray((table / "_meta").read_bytes())
        META_HEADER.put(content, 0, **values)
        (table / "_meta").write_bytes(content)

    return strike


def _keys(table: Path, before: Path) -> None:
    """`_meta` has dedup keys where there are none, and the other way round."""
    content = bytearray((table / "_meta").read_bytes())
    for column in (0, 1):
        content[META_HEADER.size + META_COLUMN.size * column + META_COLUMN.at("flags")] ^= 8
    (table / "_meta").write_bytes(content)


def _insert(day: int, rows: int, first: int) -> str:
    start = f"timestamp_sequence('2024-01-0{day}T0{first % 7}', 60000000L)"
    return (
        f"INSERT INTO {{t}} SELECT {start}, x + {first}, x / 4.0, 'S' || (x % 5), 'v' || x FROM long_sequence({rows})"
    )


_LATER: Final = {
    "add": ("ALTER TABLE {t} ADD COLUMN fee DOUBLE", "INSERT INTO {t} (ts, id, fee) VALUES ('2024-01-03T20', 9, 1.5)"),
    "index": ("ALTER TABLE {t} ADD COLUMN s2 SYMBOL INDEX", "INSERT INTO {t} (ts, s2) VALUES ('2024-01-03T20', 'q')"),
    "type": ("ALTER TABLE {t} ALTER COLUMN px TYPE FLOAT",),
    "drop": ("ALTER TABLE {t} DROP COLUMN px", "INSERT INTO {t} (ts, id) VALUES ('2024-01-03T20', 9)"),
    "rename": ("ALTER TABLE {t} RENAME COLUMN px TO price",),
    "settings": (
        "ALTER TABLE {t} SET TTL 90 YEARS", "ALTER TABLE {t} ALTER COLUMN sym SYMBOL CAPACITY 1024",
        "ALTER TABLE {t} ALTER COLUMN sym ADD INDEX",
    ),
    "dedup": ("ALTER TABLE {t} DEDUP ENABLE UPSERT KEYS(ts, id)",),
    "many": (
        "ALTER TABLE {t} ADD COLUMN fee DOUBLE", "ALTER TABLE {t} DROP COLUMN px",
        "ALTER TABLE {t} RENAME COLUMN fee TO fees", "INSERT INTO {t} (ts, fees) VALUES ('2024-01-03T20', 2)",
    ),
}  # fmt: skip
_UPDATE, _RISE = "UPDATE {t} SET px = -1 WHERE id < 20", "UPDATE {t} SET px = px + 1 WHERE id < 20"
_MORE, _TRUNCATE = _insert(2, 20, 500), "TRUNCATE TABLE {t}"
_TTL, _SQUASH = "ALTER TABLE {t} SET TTL 2 WEEKS", "ALTER TABLE {t} SQUASH PARTITIONS"
_NO_TXN: Final = _without("_txn")
_STATEMENTS: Final = {
    "update": (_UPDATE,), "update_more": (_UPDATE, _MORE), "rise": (_RISE,), "rise_more": (_RISE, _MORE),
    "chain": ("UPDATE {t} SET v = 'filled' WHERE v = 'v5'", "UPDATE {t} SET v = 'v5' WHERE v = 'v6'"),
    "apart": ("UPDATE {t} SET v = 'filled' WHERE id = 5", "UPDATE {t} SET v = 'v5', px = 1 WHERE id = 6"),
    "truncate": (_TRUNCATE,), "truncate_more": (_TRUNCATE, _MORE),
    "drop_more": ("ALTER TABLE {t} DROP PARTITION LIST '2024-01-01'", _MORE),
    "ttl": (_TTL,), "squash": (_SQUASH,),
    "capacity": ("ALTER TABLE {t} ALTER COLUMN sym SYMBOL CAPACITY 2048",),
}  # fmt: skip
_TO_SYMBOL: Final = "ALTER TABLE {t} ALTER COLUMN v TYPE SYMBOL"
_CAPACITY: Final = "ALTER TABLE {t} ALTER COLUMN v SYMBOL CAPACITY 4096"
_BEFORE: Final = "INSERT INTO {t} (ts, fee) VALUES ('2024-01-03T00:00:01', 1)"
_ALL: Final = (
    *(Case(f"wal_{name}", _older, changes) for name, changes in _LATER.items()),
    *(
        Case(f"plain_{name}", _older, changes, wal=False, refused=name in ("add", "index", "type"))
        for name, changes in _LATER.items()
        if name != "dedup"
    ),
    *(Case(f"symbol_{each}", _without("_txn", f"sym.{each}"), (_MORE,)) for each in "cokv"),
    *(Case(f"plain_{each}", _without("_txn", f"sym.{each}"), wal=False) for each in "ck"),
    *(Case(f"done_{name}", _NO_TXN, changes) for name, changes in _STATEMENTS.items()),
    *(Case(f"open_{name}", _NO_TXN, changes[:-1], changes[-1:]) for name, changes in _STATEMENTS.items()),
    *(
        Case(f"flag_{name}_{changes}", strike, _LATER[changes])
        for name, strike in (("wal", _header(wal=0)), ("ttl", _header(ttl=1)), ("keys", _keys))
        for changes in ("add", "dedup")
    ),
    Case("open_squash_more", _NO_TXN, (), (_SQUASH, _insert(5, 20, 500)), exact=True),
    Case("open_ttl_more", _NO_TXN, (), (_TTL, _insert(5, 20, 500)), exact=True),
    Case("cv_last", _without("_cv"), _LATER["add"]),
    Case("cv_written_anew", _without("_cv"), (_LATER["add"][0], _BEFORE, _LATER["add"][1])),
    Case("record_gap", _gap, refused=True),
    Case("flag_plain", _header(wal=1), wal=False),
    Case("cv_capacity", _without("_cv"), (_TO_SYMBOL, _CAPACITY), exact=True),
    *(Case(f"{name}_{wal}", _shifted(name), wal=wal) for name in ("min_ts", "max_ts") for wal in (True, False)),
)
_WANTED: Final = os.environ.get("WALMEDIC_FAULT_OLDER")
_CASES: Final = _ALL[::3] if _WANTED is None else tuple(case for case in _ALL if re.search(_WANTED, case.name))


def _make(root: Path, kept: Path, questdb: ServerBinary) -> None:
    root.mkdir(parents=True)
    with PrivateServer(root, questdb, settings={**SERVER, "cairo.wal.purge.interval": "1000"}) as server:
        for case in _CASES:
            kind = "WAL" if case.wal else "BYPASS WAL"
            server.query(
                f"CREATE TABLE {case.name} (ts TIMESTAMP, id LONG, px DOUBLE, sym SYMBOL, v VARCHAR) "
                f"TIMESTAMP(ts) PARTITION BY DAY {kind}"
            )
            for statement in (_insert(1, 50, 0), _insert(2, 50, 100), _insert(3, 50, 200), _insert(1, 9, 300)):
                server.query(statement.format(t=case.name))
        wait_until_applied(server)
        directories = {str(n): str(d) for n, d in server.query("SELECT table_name, directoryName FROM tables()")}
        for case in _CASES:
            shutil.copy(root / "db" / directories[case.name] / "_meta", kept / case.name)
        for turn in range(max(len(case.changes) for case in _CASES)):
            for case in _CASES:
                for statement in case.changes[turn : turn + 1]:
                    server.query(statement.format(t=case.name))
            wait_until_applied(server)
        for case in _CASES:
            if case.pending:
                server.query(f"ALTER TABLE {case.name} SUSPEND WAL")
                for statement in case.pending:
                    server.query(statement.format(t=case.name))
        server.kill()
    (root / "db" / "tables.d.lock").touch()


def _repaired(root: Path, alone: Path, case: Case, directory: str, before: Path) -> Ended:
    """Damage a table, in a root of its own, and take the steps that a check names; put it back where it is repaired."""
    (alone / "db").mkdir(parents=True)
    for path in (root / "db").iterdir():
        if path.is_file():
            shutil.copy(path, alone / "db" / path.name)
    (root / "db" / directory).rename(alone / "db" / directory)
    engine = engine_of(alone, alone.with_name(f"state-{case.name}"))
    case.strike(alone / "db" / directory, before)
    ended, table = Ended(case, None, [], None), engine.database.table(case.name)
    while len(ended.plans) < len(_ACTIONS):
        step = diagnose_table(engine.database, table).next_step.action
        ended.step = ended.step or step
        if step not in _ACTIONS:
            break
        plan = captured(engine).plan(step, case.name)
        ended.plans.append(plan)
        ended.outcome = engine.run(plan, plan.confirmation).outcome
        if ended.outcome is not Outcome.DONE:
            break
    if ended.outcome is Outcome.DONE:
        (alone / "db" / directory).rename(root / "db" / directory)
    return ended


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, workshop: Path) -> dict[str, Ended]:
    """What became of each table."""
    root, twin, kept = workshop / "root", workshop / "twin", workshop / "kept"
    kept.mkdir()
    _make(root, kept, questdb)
    shutil.copytree(root, twin)
    directories = {table.name: table.directory for table in DatabaseRoot.locate(root).tables()}
    found = {
        case.name: _repaired(root, workshop / case.name, case, directories[case.name], kept / case.name)
        for case in _CASES
    }
    sys.stdout.write("".join(f"{each}\n" for each in found.values()))
    names = [each.case.name for each in found.values() if each.outcome is Outcome.DONE]
    truth, shown = seen(twin, names, questdb), seen(root, names, questdb)
    for name in names:
        found[name].truth, found[name].found = truth[name], shown[name]
    sys.stdout.write("".join(f"{each}\n" for each in found.values()))
    return found


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_the_table_is_brought_back_with_the_loss_that_was_announced(case: Case, ended: dict[str, Ended]) -> None:
    each = ended[case.name]
    assert each.step in _ACTIONS, each
    if case.refused:
        assert each.outcome is Outcome.REFUSED, each
        assert each.plans[-1].refused[0].instead, each
        return
    assert each.outcome is Outcome.DONE, each
    kinds = {lost.kind for plan in each.plans for lost in plan.values_lost}
    for true, found in zip(each.truth, each.found, strict=True):
        assert isinstance(true, Counter), each
        assert isinstance(found, Counter), each
        assert not case.exact or (each.announced.phrase, kinds) == ("0", set()), each
        doubted = not case.name.startswith("done")  # what is in doubt counts as applied
        if doubted and kinds & {Lost.UPDATES, Lost.VALUES}:
            assert true.total() == found.total(), each
            continue
        if Lost.NAMES in kinds:
            true, found = _nameless(true), _nameless(found)
        lost = sum((true - found).values())
        assert not found - true, each
        assert lost <= (each.announced.value or 0) if each.announced.kind == "bound" else lost == each.announced.value


def _nameless(rows: Rows) -> Rows:
    """Return the rows with one name for all symbols."""
    found: Rows = Counter()
    for row, count in rows.items():
        found[re.sub(r"'(S\d+|symbol-\d+)'", "'any'", row)] += count
    return found


@pytest.mark.parametrize("struck", ["sym.k gone", "sym.v zeros", "late.k zeros", "late.v gone", "late.k other"])
def test_the_index_of_a_parquet_partition_is_made_again(struck: str, tmp_path: Path, questdb: ServerBinary) -> None:
    root, table = tmp_path / "root", "CREATE TABLE p (ts TIMESTAMP, id LONG, px DOUBLE, sym SYMBOL INDEX, v VARCHAR)"
    root.mkdir()
    wanted = [f"SELECT count(), sum(id) FROM p WHERE {name} = 'S{n}'" for name in ("sym", "late") for n in range(6)]
    wanted += ["SELECT count() FROM p WHERE late IS NULL", "SELECT * FROM p"]
    with PrivateServer(root, questdb, settings=SERVER) as server:
        server.query(f"{table} TIMESTAMP(ts) PARTITION BY DAY WAL")
        for day in (1, 2):
            server.query(_insert(day, 300, day * 1000).format(t="p"))
        server.query("INSERT INTO p (ts, id) VALUES ('2024-01-01T23:59', 7)")
        server.query("ALTER TABLE p ADD COLUMN late SYMBOL INDEX")
        server.query(
            "INSERT INTO p (ts, id, late) SELECT timestamp_sequence('2024-01-01T22', 60000000L), x, "
            "CASE WHEN x % 4 > 0 THEN 'S' || (x % 3) END FROM long_sequence(90)"
        )
        server.query("ALTER TABLE p CONVERT PARTITION TO PARQUET WHERE ts < '2024-01-02'")
        wait_until_applied(server)
        truth = [server.query(each) for each in wanted]
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    engine = captured(engine_of(root, tmp_path / "state"))
    directory = engine.database.table("p").path
    name, how = struck.split()
    (file,) = directory.glob(f"2024-01-01*/{name}*")
    if how == "gone":
        file.unlink()
    elif how == "other":  # whole, and of other symbols: only the full check sees it
        other = column_index(np.zeros(90, np.int32), 301, 256)
        file.write_bytes(other.keys)
        next(directory.glob("2024-01-01*/late.v*")).write_bytes(other.values)
        (found,) = DeepFiles(engine.database.table("p")).look().findings
        assert found.code is Code.INDEX_FILE_INVALID
    else:
        file.write_bytes(bytes(file.stat().st_size))
    engine = captured(engine)
    assert diagnose_table(engine.database, engine.database.table("p")).next_step.action in ("rebuild-index", None)
    plan = engine.plan("rebuild-index", "p")
    files = {change.target.rsplit("/", 1)[-1].partition(".")[0] for stage in plan.stages for change in stage.changes}
    assert files == {name.partition(".")[0]}
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, plan.refused
    assert not DeepFiles(engine.database.table("p")).look().findings
    with PrivateServer(root, questdb, settings=SERVER) as server:
        assert truth == [server.query(each) for each in wanted]


@pytest.mark.parametrize("kind", ["WAL", "BYPASS WAL"])
def test_symbols_that_only_a_parquet_partition_has_keep_their_keys(
    kind: str, tmp_path: Path, questdb: ServerBinary
) -> None:
    """The symbol map is of before two symbols that `_txn` counts, and only data.parquet has them."""
    root, rows = (
        tmp_path / "root",
        "INSERT INTO p SELECT timestamp_sequence('{}', 60000000L), '{}'||x%2 FROM long_sequence(50)",
    )
    root.mkdir()
    with PrivateServer(root, questdb, settings={**SERVER, "cairo.wal.purge.interval": "200"}) as server:
        server.query(f"CREATE TABLE p (ts TIMESTAMP, sy SYMBOL) TIMESTAMP(ts) PARTITION BY DAY {kind}")
        server.query(rows.format("2024-01-01", "k"))
        wait_until_applied(server)
        folder = DatabaseRoot.locate(root).table("p").path
        older = {path: path.read_bytes() for path in folder.glob("sy.*")}
        server.query(rows.format("2024-01-01T12", "p"))
        server.query(rows.format("2024-01-02", "k"))
        server.query("ALTER TABLE p CONVERT PARTITION TO PARQUET LIST '2024-01-01'")
        wait_until_applied(server)
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    for path, content in older.items():
        path.write_bytes(content)
    engine = captured(engine_of(root, tmp_path / "state"))
    table = engine.database.table("p")
    step = diagnose_table(engine.database, table).next_step.action
    assert step == "repair-symbols"
    plan = engine.plan(step, "p")
    assert [(lost.kind, lost.count) for lost in plan.values_lost] == [(Lost.NAMES, 2)]
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, plan.refused
    with PrivateServer(root, questdb, settings=SERVER) as server:
        server.query("INSERT INTO p VALUES ('2024-01-03', 'NEW')")
        wait_until_applied(server)
        found = dict(server.query("SELECT sy, count() FROM p"))
        assert sorted(found.values()) == [1, 25, 25, 50, 50], found
        assert found["NEW"] == 1

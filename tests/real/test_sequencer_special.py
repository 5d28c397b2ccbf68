"""Repairs that need more than a log: torn columns, views, lost segments, two backups, the incident's own shape."""

import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from console.questdb.log_encoding import encode_log_header, encode_records
from console.questdb.txn_log import HEADER_SIZE, RECORD, RECORD_SIZE, expected_v1_size, read_log
from console.recovery.model import Outcome, Plan
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import EPOCH, SERVER, applied_txn, log_records, wait_until_applied
from tests.real.test_sequencer_repairs import captured, engine_of
from tests.txn_file import put_seq_txn

_MINUTE = 60_000_000
_APPLIED, _PENDING, _ROWS = 6, 4, 300
_FILLER = 150_000
_TABLES = ("torn", "behind", "lost", "two", "incident", "unlogged", "told", "untold", "reversed")


@dataclass
class Shown:
    """What the server showed after the repairs, by table."""

    plans: dict[str, Plan] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    rows: dict[str, set[int]] = field(default_factory=dict)
    days: dict[str, list[object]] = field(default_factory=dict)
    view: list[tuple[object, ...]] = field(default_factory=list)
    last_event_rows: int = 0


def _insert(server: PrivateServer, table: str, batch: int, rows: int = _ROWS) -> None:
    """Insert rows numbered from `batch` * _ROWS on, one per minute."""
    values = (f"({EPOCH + i * _MINUTE}, {i}, {i}.5)" for i in range(batch * _ROWS, batch * _ROWS + rows))
    server.query(f"INSERT INTO {table} VALUES {', '.join(values)}")


def _build(root: Path, questdb: ServerBinary) -> None:
    settings = {**SERVER, "cairo.wal.segment.rollover.row.count": "100000"}
    with PrivateServer(root, questdb, settings=settings, whole_log=True) as server:  # it tells what was applied
        for table in _TABLES:
            server.query(f"CREATE TABLE {table} (ts TIMESTAMP, n LONG, px DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL")
        server.query(
            "CREATE MATERIALIZED VIEW seen WITH BASE behind REFRESH MANUAL AS "
            "(SELECT ts, sum(n) total FROM behind SAMPLE BY 1h) PARTITION BY DAY"
        )
        for batch in range(_APPLIED):
            for table in _TABLES:
                _insert(server, table, batch)
            if batch == 2:
                wait_until_applied(server)
                server.query("REFRESH MATERIALIZED VIEW seen INCREMENTAL")
                while not server.query("SELECT count() FROM seen")[0][0]:
                    pass
        for table in ("told", "untold"):
            server.query(f"UPDATE {table} SET px = px + 1 WHERE n = 5")
        wait_until_applied(server)
        for table in _TABLES:
            server.query(f"ALTER TABLE {table} SUSPEND WAL")
            for batch in range(_APPLIED, _APPLIED + _PENDING):
                _insert(server, table, batch)
        server.kill()


def _directory(root: Path, table: str) -> Path:
    return next(path for path in (root / "db").glob(f"{table}~*") if path.is_dir())


def _segment(table: Path) -> Path:
    return next(iter(sorted(table.glob("wal*/0"))))


def _lengthen(table: Path) -> None:
    """Put filler below the applied transactions, so that the log is as long as one that crashes a server."""
    put_seq_txn(table, _APPLIED + _FILLER)
    log = read_log(table / "txn_seq")
    real = log.records(1, _APPLIED + _PENDING)
    top = _FILLER + len(real)
    content = encode_log_header(top, 1) + encode_records(np.zeros(_FILLER, RECORD)) + encode_records(real)
    (table / "txn_seq" / "_txnlog").write_bytes(content.ljust(expected_v1_size(top), b"\0"))


def _damage(root: Path) -> None:
    torn = _directory(root, "torn")
    with (_segment(torn) / "ts.d").open("r+b") as stream:  # a page of timestamps of the last transaction but one
        at = -(-16 * _ROWS * (_APPLIED + 2) // 4096) * 4096
        stream.seek(at)
        stream.write(bytes(64))
    shutil.rmtree(torn / "txn_seq")
    shutil.rmtree(_directory(root, "behind") / "txn_seq")
    lost = _directory(root, "lost")
    _segment(lost).rename(root / "a lost segment")
    two = _directory(root, "two")
    shutil.copytree(two / "txn_seq", two / "txn_seq.backup.20251110_032600")
    older = two / "txn_seq.corrupted.20251110_032025"
    shutil.copytree(two / "txn_seq", older)
    with (older / "_txnlog").open("r+b") as stream:  # copied while three transactions were still to come
        stream.seek(4)
        stream.write(struct.pack("<q", _APPLIED + 1))
        stream.seek(HEADER_SIZE + RECORD_SIZE * (_APPLIED + 1))
        stream.write(bytes(RECORD_SIZE * 3))
    shutil.rmtree(two / "txn_seq")
    incident = _directory(root, "incident")
    _lengthen(incident)
    log = incident / "txn_seq" / "_txnlog"
    with log.open("r+b") as stream:
        stream.truncate(log.stat().st_size - 4096)
    shutil.copytree(incident / "txn_seq", incident / "txn_seq.corrupted.20251110_032025")
    shutil.copytree(incident / "txn_seq", incident / "txn_seq.backup.20251110_032600")
    shutil.rmtree(incident / "txn_seq")
    unlogged = _directory(root, "unlogged") / "txn_seq" / "_txnlog"
    with unlogged.open("r+b") as stream:  # the crash came between the segment and the log
        stream.seek(4)
        stream.write(struct.pack("<q", _APPLIED + _PENDING - 1))
        stream.seek(HEADER_SIZE + RECORD_SIZE * (_APPLIED + _PENDING - 1))
        stream.write(bytes(RECORD_SIZE))
    for table in ("told", "untold"):
        segment = _directory(root, table)
        shutil.rmtree(segment / "txn_seq")
    back = _directory(root, "reversed") / "txn_seq" / "_txnlog"
    with back.open("r+b") as stream:  # the header of before: below what is applied
        stream.seek(4)
        stream.write(struct.pack("<q", 2))


_ACTIONS = {
    "torn": "rebuild-sequencer",
    "behind": "rebuild-sequencer",
    "lost": "repair-log",
    "two": "restore-sequencer",
    "incident": "restore-sequencer",
    "unlogged": "repair-log",
    "told": "rebuild-sequencer",
    "untold": "rebuild-sequencer",
    "reversed": "repair-log",
}


@pytest.fixture(scope="module")
def shown(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    work = tmp_path_factory.mktemp("special")
    root = work / "root"
    _build(root, questdb)
    log = work / "questdb.log"
    text = (root / "questdb.log").read_bytes()
    silent = [_directory(root, table).name.encode() for table in ("untold", "unlogged")]
    lines = text.splitlines(keepends=True)
    log.write_bytes(b"".join(line for line in lines if not any(name in line for name in silent)))
    _damage(root)
    engine = captured(engine_of(root, work / "state", log))
    found = Shown()
    for table, action in _ACTIONS.items():
        plan = engine.plan(action, table)
        found.plans[table] = plan
        found.outcomes[table] = engine.run(plan, plan.confirmation).outcome
    for table in _TABLES:
        if found.outcomes[table] is not Outcome.DONE:
            shutil.rmtree(_directory(root, table))
    whole = [table for table in _TABLES if found.outcomes[table] is Outcome.DONE]
    with PrivateServer(root, questdb, settings={**SERVER, "cairo.wal.purge.interval": "1000"}) as server:
        wait_until_applied(server)
        for table in whole:
            rows = [int(row[0]) for row in server.query(f"SELECT n FROM {table}")]
            found.rows[table] = set(rows)
            assert len(rows) == len(found.rows[table]), f"{table} has rows twice"
            found.days[table] = [
                row[0] for row in server.query(f"SELECT DISTINCT timestamp_floor('d', ts) d FROM {table}")
            ]
        server.query("REFRESH MATERIALIZED VIEW seen INCREMENTAL")
        for _ in range(200):
            found.view = server.query("SELECT ts, total FROM seen ORDER BY ts")
            if found.view == server.query("SELECT ts, sum(n) total FROM behind SAMPLE BY 1h ORDER BY ts"):
                break
    return found


_ALL = set(range((_APPLIED + _PENDING) * _ROWS))


def _batch(number: int) -> set[int]:
    return set(range(number * _ROWS, (number + 1) * _ROWS))


def test_a_torn_transaction_is_left_out_and_its_rows_are_announced_as_lost(shown: Shown) -> None:
    plan = shown.plans["torn"]
    assert plan.confirmation == f"torn lose {_ROWS}"
    assert shown.rows["torn"] == _ALL - _batch(_APPLIED + 2)
    assert not [day for day in shown.days["torn"] if str(day).startswith("1970")]
    assert any("skipped" in warning for warning in plan.warnings)


def test_a_view_that_was_behind_gets_every_row_although_its_records_are_filler(shown: Shown) -> None:
    assert shown.rows["behind"] == _ALL
    assert any("seen" in warning for warning in shown.plans["behind"].warnings)
    assert len(shown.view) == (_APPLIED + _PENDING) * _ROWS // 60
    assert sum(int(str(total)) for _, total in shown.view) == sum(_ALL)


def test_rows_of_a_lost_segment_are_of_unknown_number_and_are_not_given_up_unrehearsed(shown: Shown) -> None:
    plan = shown.plans["lost"]
    assert plan.confirmation == "lost lose unknown"
    assert [refusal.code for refusal in plan.refused] == ["lose-unknown-without-rehearsal"]
    assert shown.outcomes["lost"] is Outcome.REFUSED


def test_the_better_of_two_backups_is_chosen_and_the_choice_explained(shown: Shown) -> None:
    plan = shown.plans["two"]
    assert "txn_seq.backup.20251110_032600 is the best of 2 backups" in plan.why
    assert f"maxTxn {_APPLIED + _PENDING}" in plan.why
    assert f"maxTxn {_APPLIED + 1}" in plan.why
    assert plan.why.count("sha256") == 2
    assert shown.rows["two"] == _ALL
    assert (plan.confirmation, plan.rows_maybe_twice) == ("two lose 0", 0)


def test_the_incident_comes_back_whole(shown: Shown) -> None:
    plan = shown.plans["incident"]
    assert "4,096 bytes short of its header" in plan.why
    assert "identical" in plan.why
    assert plan.confirmation == "incident lose 0"
    assert (plan.rows_back, plan.rows_maybe_twice) == (_PENDING * _ROWS, 0)
    assert shown.rows["incident"] == _ALL


def test_a_transaction_that_no_record_names_comes_back_and_is_announced_as_perhaps_twice(shown: Shown) -> None:
    assert shown.plans["unlogged"].rows_maybe_twice == _ROWS
    assert shown.rows["unlogged"] == _ALL


def test_the_servers_log_settles_what_rows_cannot(shown: Shown) -> None:
    assert "server's log" in str(shown.plans["told"].requirements)
    assert shown.rows["told"] == _ALL
    plan = shown.plans["told"]
    assert plan.rows_maybe_twice == 0  # the log shows that the last commit was sequenced


def test_without_the_log_an_update_at_the_cut_is_refused_naming_what_would_settle_it(shown: Shown) -> None:
    refusal = shown.plans["untold"].refused[0]
    assert refusal.code == "applied-ambiguous"
    assert "questdb.log" in refusal.instead
    assert shown.outcomes["untold"] is Outcome.REFUSED


def test_a_header_below_what_is_applied_is_raised(shown: Shown) -> None:
    assert shown.outcomes["reversed"] is Outcome.DONE
    assert shown.rows["reversed"] == _ALL


def test_undo_puts_back_every_byte(tmp_path: Path, questdb: ServerBinary) -> None:
    root = tmp_path / "root"
    with PrivateServer(root, questdb, settings={**SERVER, "cairo.wal.apply.enabled": "false"}) as server:
        server.query("CREATE TABLE undone (ts TIMESTAMP, n LONG, px DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL")
        _insert(server, "undone", 0, 10)
        server.kill()
    table = _directory(root, "undone")
    assert applied_txn(table) == 0
    assert len(log_records(table)[1]) == 1
    (table / "txn_seq" / "_txnlog").write_bytes(b"")
    engine = captured(engine_of(root, tmp_path / "state"))
    before = _bytes_of(table)
    plan = engine.plan("rebuild-sequencer", "undone")
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert _bytes_of(table) != before
    assert engine.undo(result.entry, engine.plan_undo(result.entry).confirmation).outcome is Outcome.DONE
    assert _bytes_of(table) == before


def _bytes_of(table: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(table)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(table.rglob("*"))
    }


@pytest.mark.parametrize("log_gone", [False, True])
def test_a_lost_event_index_costs_no_row(log_gone: bool, tmp_path: Path, questdb: ServerBinary) -> None:
    """`_event` has all that the index says: two writers, so that each segment is opened several times."""
    root = tmp_path / "root"
    root.mkdir()
    settings = {**SERVER, "cairo.wal.segment.rollover.row.count": "100000"}
    with PrivateServer(root, questdb, settings=settings) as server:
        server.query("CREATE TABLE t (ts TIMESTAMP, n LONG, px DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL")
        _insert(server, "t", 0)
        wait_until_applied(server)
        server.query("ALTER TABLE t SUSPEND WAL")
        with server.connect() as other:
            for batch in (1, 3):
                other.execute("BEGIN")
                rows = range((batch + 1) * _ROWS, (batch + 2) * _ROWS)
                other.execute("INSERT INTO t VALUES " + ", ".join(f"({EPOCH + i * _MINUTE}, {i}, {i}.5)" for i in rows))
                _insert(server, "t", batch)
                other.execute("COMMIT")
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    table = _directory(root, "t")
    struck = list(table.glob("wal*/*/_event.i"))
    assert len(struck) == 2
    for path in struck:
        path.write_bytes(bytes(path.stat().st_size))
    if log_gone:
        shutil.rmtree(table / "txn_seq")
    engine = captured(engine_of(root, tmp_path / "state"))
    (report,) = (each for each in engine.diagnosis().tables if each.table == "t")
    assert report.next_step.action is not None, report
    plan = engine.plan(report.next_step.action, "t")
    if log_gone:
        plan = engine.plan("rebuild-sequencer", "t")
    assert (plan.rows_lost.phrase, plan.rows_back) == ("0", 4 * _ROWS), plan
    before = _bytes_of(table)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    undone = engine.undo(result.entry, engine.plan_undo(result.entry).confirmation)
    assert undone.outcome is Outcome.DONE, undone
    assert _bytes_of(table) == before
    plan = engine.plan(plan.action, "t")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, plan.refused
    with PrivateServer(root, questdb, settings=SERVER) as server:
        server.query("ALTER TABLE t RESUME WAL")
        wait_until_applied(server)
        assert [row[0] for row in server.query("SELECT n FROM t ORDER BY n")] == list(range(5 * _ROWS))

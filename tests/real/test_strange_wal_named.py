"""WAL and logs of another station, or of another time, in place of the table's own: no start, and not called healthy.

The other station was made by the same statements, so that table ids, columns and WAL ids are the same.
"""

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose_table
from console.diagnosis.model import Code, Finding, Harm, Severity, TableReport, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.codes import RefusalCode
from console.recovery.sequencer.disk import read_table
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.table.ledger import Evidence
from tests.real.belonging_cases import overwrite
from tests.real.generated_tables import SERVER, wait_until_applied
from tests.real.table_lives import Past, World, build
from tests.real.test_sequencer_repairs import captured, engine_of

NAMES = (
    "plain",
    "named",
    "inside",
    "inside_alone",
    "younger",
    "stale",
    "old",
    "locked",
    "copied",
    "behind",
    "unlocked",
)
INSIDE = ("inside", "old", "locked", "copied", "only")
_LATER = 1200  # seconds between the two stations


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Build once, and strike each table in its own way."""
    root = tmp_path_factory.mktemp("strange") / "root"
    pasts = [Past("other"), *(Past(name) for name in NAMES), Past("single", writers=1), Past("only", writers=1)]
    made = build(root, pasts, questdb)
    for path in made.table("other").rglob("*"):
        _later(path)
    shutil.rmtree(made.table("named") / "wal2")
    shutil.copytree(made.table("other") / "wal2", made.table("named") / "wal2")
    for end in "ock":
        overwritten = made.table("named") / "wal2" / f"sym.{end}"
        overwritten.unlink(missing_ok=True)
        shutil.copy2(made.table("other") / f"sym.{end}", overwritten)
    values = made.table("named") / "wal2" / "sym.c"
    overwrite(values, 4, "Z".encode("utf-16-le"))
    _renamed(made, "named")
    for name in ("inside", "inside_alone"):
        _put_in(made, name, "wal2/0", "wal2/0")
    _put_in(made, "old", "wal2/0", "wal2/0", -2 * _LATER)
    _put_in(made, "locked", "wal2/0", "wal2/0", lock=True)
    _put_in(made, "copied", "wal2/0", "wal2/0", _LATER, copy=shutil.copyfile)
    _put_in(made, "behind", "wal2/0", "wal2/1", lock=True)
    _put_in(made, "unlocked", "wal2/0", "wal2/1")
    _put_in(made, "only", "wal1/0", "wal1/0", _LATER, of="single")
    shutil.rmtree(made.table("inside_alone") / "txn_seq")
    log = made.table("younger") / "txn_seq" / "_txnlog"
    (created,) = struct.unpack_from("<q", log.read_bytes(), 12)
    overwrite(log, 12, struct.pack("<q", created + _LATER * 1_000_000))
    _later(log)
    _without_the_last_of_each_writer(made.table("stale"))
    return made


def _without_the_last_of_each_writer(table: Path) -> None:
    """The sequencer is from before two commits, and before the second writer came."""
    log = table / "txn_seq" / "_txnlog"
    (top,) = struct.unpack_from("<q", log.read_bytes(), 4)
    overwrite(log, 4, struct.pack("<q", top - 2))
    overwrite(log, 76 + 28 * (top - 2), bytes(56))
    overwrite(table / "txn_seq" / "_wal_index.d", 0, struct.pack("<i", 1))


def _later(path: Path) -> None:
    moved = path.lstat().st_mtime_ns + _LATER * 1_000_000_000
    os.utime(path, ns=(moved, moved))


def _put_in(
    world: World,
    name: str,
    source: str,
    target: str,
    shift: int = 0,
    *,
    of: str = "other",
    lock: bool = False,
    copy: Callable[[str, str], object] = shutil.copy2,
) -> None:
    """Put a segment of another table in the place `target`, `shift` seconds later than it was made."""
    own, other = world.table(name) / target, world.table(of) / source
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(other, own, copy_function=copy)
    if copy is shutil.copyfile:
        os.utime(own)
    if lock:
        shutil.copy2(other.with_name(f"{other.name}.lock"), own.with_name(f"{own.name}.lock"))
    for path in (*own.iterdir(), own):
        moved = path.lstat().st_mtime_ns + shift * 1_000_000_000
        os.utime(path, ns=(moved, moved))
    _renamed(world, name)


def _renamed(world: World, name: str) -> None:
    """Give the segments the table's id, as in a station that was made by the same statements."""
    for segment in world.table(name).glob("wal*/*/"):
        time = (segment / "_meta").stat().st_mtime_ns, segment.stat().st_mtime_ns
        overwrite(segment / "_meta", 24, struct.pack("<i", int(world.table(name).name.rpartition("~")[2])))
        os.utime(segment / "_meta", ns=(time[0], time[0]))
        os.utime(segment, ns=(time[1], time[1]))


def _report(world: World, name: str) -> tuple[TableReport, list[Finding]]:
    database = DatabaseRoot.locate(world.root)
    report = diagnose_table(database, database.table(name))
    return report, [each for each in report.findings if each.code is Code.WAL_FOREIGN]


def test_the_table_beside_them_is_healthy(world: World) -> None:
    report, found = _report(world, "plain")
    assert (report.verdict, found) == (Verdict.HEALTHY, [])


def test_a_wal_that_the_log_names_and_that_is_not_the_tables_keeps_the_server_down(
    world: World, tmp_path: Path
) -> None:
    report, found = _report(world, "named")
    assert [(each.severity, each.start) for each in found] == [(Severity.DAMAGE, Harm.TAKES_FOREIGN_ROWS)], report
    assert (report.verdict, report.rows_at_risk, report.rows_unapplied) == (Verdict.BROKEN, None, None)
    refused = engine_of(world.root, tmp_path / "state").plan("start-server").refused
    assert RefusalCode.WAL_FOREIGN in {each.code for each in refused if each.table == "named"}
    assert not [each for each in refused if each.table == "plain"]


@pytest.mark.parametrize("name", INSIDE)
def test_a_segment_that_the_log_cannot_have_named_keeps_the_server_down(
    name: str, world: World, tmp_path: Path
) -> None:
    report, found = _report(world, name)
    assert [(each.severity, each.start) for each in found] == [(Severity.DAMAGE, Harm.TAKES_FOREIGN_ROWS)], report
    assert (report.verdict, report.rows_at_risk, report.rows_unapplied) == (Verdict.BROKEN, None, None)
    refused = engine_of(world.root, tmp_path / "state").plan("start-server").refused
    assert RefusalCode.WAL_FOREIGN in {each.code for each in refused if each.table == name}


@pytest.mark.parametrize("name", ["behind", "unlocked"])
def test_a_segment_that_is_not_its_writers_next_one_is_not_brought_in(name: str, world: World, tmp_path: Path) -> None:
    report, found = _report(world, name)
    assert [(each.severity, each.start) for each in found] == [(Severity.RISK, Harm.NONE)], report
    assert report.verdict is Verdict.AT_RISK
    plan = captured(engine_of(world.root, tmp_path / "state")).plan("repair-log", name)
    assert RefusalCode.WAL_NOT_PROVEN in {refusal.code for refusal in plan.refused}, plan


def test_that_the_segment_is_the_tables_own_can_be_said(world: World) -> None:
    segment = world.table("inside") / "wal2" / "0"
    lock, told = segment.with_name("0.lock").stat().st_mtime_ns, segment.stat().st_mtime_ns
    os.utime(segment, ns=(lock, lock))
    try:
        assert _report(world, "inside")[1] == []
    finally:
        os.utime(segment, ns=(told, told))


def test_a_server_would_have_applied_foreign_rows(world: World, questdb: ServerBinary, tmp_path: Path) -> None:
    copy = world.copy(tmp_path / "root")
    with PrivateServer(copy.root, questdb, settings=SERVER) as server:
        wait_until_applied(server)
        for name in INSIDE:
            source = "single" if name == "only" else "other"
            theirs = {row[0] for row in server.query(f"SELECT id FROM {source}")}
            assert {row[0] for row in server.query(f"SELECT id FROM {name}")} & theirs, name


def test_without_a_log_its_rows_make_the_loss_unknown(world: World, tmp_path: Path) -> None:
    plan = captured(engine_of(world.root, tmp_path / "state")).plan("rebuild-sequencer", "inside_alone")
    assert plan.rows_lost.kind == "unknown", plan
    assert Evidence.WAL_UNPROVEN in {entry.evidence for entry in plan.ledger}


def test_a_log_that_was_created_later_than_a_table_of_one_life_is_not_its_own(world: World) -> None:
    origins = read_table(DatabaseRoot.locate(world.root).table("younger")).origins
    assert not origins.log("txn_seq").own
    assert not origins.wals, "its WAL is not judged by that log"


def test_a_sequencer_that_never_gave_out_a_wal_is_older_than_its_commits(world: World, tmp_path: Path) -> None:
    report, _ = _report(world, "stale")
    unnamed = [each for each in report.findings if each.code is Code.LOG_TAIL_UNLOGGED and each.rows]
    assert [(each.severity, each.rows) for each in unnamed] == [(Severity.RISK, 5)] * 2, report.findings
    assert (report.rows_at_risk, report.next_step.action) == (10, "repair-log")
    engine = captured(engine_of(world.root, tmp_path / "state"))
    refused = engine.plan("start-server").refused
    assert RefusalCode.PURGE_CLOCK_NOT_EMPTY in {each.code for each in refused if each.table == "stale"}
    plan = engine.plan("repair-log", "stale")
    assert (plan.refused, plan.rows_lost.phrase, plan.rows_back) == ((), "0", 40)

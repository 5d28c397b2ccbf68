"""A commit that a kill cut off between its record and the log's header: what the server does, and what is said of it.

The server writes a record behind the header's end, and the header last. An ALTER writes the sequencer's _meta between
the two. Nobody was told of such a commit. Measured on 9.1.0: the next commit takes the record's place. Once _meta is
written, every ALTER fails until a commit of rows has taken that place, and the first ALTER after the next start
suspends the table then.
"""

import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code, Severity, TableReport, Verdict
from console.questdb.layout import DatabaseRoot
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import wait_until_applied
from tests.real.test_sequencer_repairs import captured, engine_of
from tests.real.waiting import until

SETTINGS = {"cairo.wal.purge.interval": "600000", "dev.mode.enabled": "true"}
BEGUN, WRITTEN, ROWS = "begun", "written", "rows"
"""An ALTER that was cut off before it wrote the sequencer's _meta, one that was cut off after that, an INSERT."""
TABLES = (BEGUN, WRITTEN, ROWS)
_REGRESS, _UNLOGGED = Code.LOG_STRUCTURE_VERSION_REGRESS, Code.LOG_TAIL_UNLOGGED


@dataclass
class World:
    """The database as it was cut off, and as a server left it that took one row more into each table."""

    cut: Path
    written_to: Path
    settings: dict[str, str]
    binary: ServerBinary
    taken: dict[str, int] = field(default_factory=dict)  # rows that the server shows after one more
    errors: dict[str, str] = field(default_factory=dict)  # what an ALTER says then

    def reports(self, root: Path) -> dict[str, TableReport]:
        """Return what check says of the tables."""
        return {report.table: report for report in diagnose(DatabaseRoot.locate(root)).tables}

    def server(self, root: Path) -> PrivateServer:
        """Return a server on `root`."""
        return PrivateServer(root, self.binary, settings=self.settings)


def _cut_off(table: Path, metadata: bytes | None) -> None:
    """Leave what a kill leaves between the last record and the header; `metadata`: before _meta was written, too."""
    with (table / "txn_seq" / "_txnlog").open("r+b") as log:
        log.seek(4)
        (last,) = struct.unpack("<q", log.read(8))
        log.seek(4)
        log.write(struct.pack("<q", last - 1))
    if metadata is not None:
        (table / "txn_seq" / "_meta").write_bytes(metadata)


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def _answer(server: PrivateServer, sql: str) -> str:
    try:
        server.query(sql)
    except psycopg.Error as error:
        return str(error)
    return ""


def _suspended(server: PrivateServer, table: str) -> bool:
    return bool(server.query(f"select suspended from wal_tables() where name = '{table}'")[0][0])


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.faults)], ids=["one file", "chunks"])
def world(
    request: pytest.FixtureRequest, questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    root = tmp_path_factory.mktemp("cut").resolve() / "root"
    root.mkdir()
    settings = {**SETTINGS, **({"cairo.default.sequencer.part.txn.count": "3"} if request.param == 2 else {})}
    with PrivateServer(root, questdb, settings=settings) as server:
        for name in TABLES:
            server.query(f"create table {name} (ts timestamp, v int) timestamp(ts) partition by day wal")
            server.query(f"insert into {name} values ('2025-01-01', 1)")
            server.query(f"insert into {name} values ('2025-01-02', 2)")
        wait_until_applied(server)
        tables = {name: DatabaseRoot.locate(root).table(name).path for name in TABLES}
        for name in TABLES:
            server.query(f"alter table {name} suspend wal")
        metadata = (tables[BEGUN] / "txn_seq" / "_meta").read_bytes()
        server.query(f"alter table {BEGUN} add column late int")
        server.query(f"alter table {WRITTEN} add column late int")
        server.query(f"insert into {ROWS} values ('2025-01-03', 3)")
        server.kill()
    for name in TABLES:
        _cut_off(tables[name], metadata if name == BEGUN else None)
    made = World(root, root.parent / "written", settings, questdb)
    shutil.copytree(root, made.written_to)
    with made.server(made.written_to) as server:
        for name in TABLES:
            server.query(f"insert into {name} (ts, v) values ('2025-01-04', 4)")
        wait_until_applied(server)
        for name in TABLES:
            made.taken[name] = int(server.query(f"select count() from {name}")[0][0])
            if name != WRITTEN:
                made.errors[name] = _answer(server, f"alter table {name} add column later int")
        wait_until_applied(server)
    yield made
    shutil.rmtree(root.parent)


def test_the_next_commit_takes_the_place_of_what_was_cut_off(world: World) -> None:
    assert world.taken == dict.fromkeys(TABLES, 3)
    assert world.errors == {BEGUN: "", ROWS: ""}


def test_a_structure_change_that_was_cut_off_is_a_note(world: World) -> None:
    report = world.reports(world.cut)[BEGUN]
    assert [(f.code, f.severity, f.seq_txn) for f in report.findings] == [(_UNLOGGED, Severity.NOTE, 3)]
    assert (report.verdict, report.can_write, report.next_step.action) == (Verdict.HEALTHY, True, None)
    assert report.rows_unapplied == report.rows_at_risk == 0
    after = world.reports(world.written_to)[BEGUN]
    assert (after.verdict, after.findings) == (Verdict.HEALTHY, ())


def test_rows_that_no_commit_ended_stay_known_beside_it(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.cut, tmp_path / "root")
    segment = DatabaseRoot.locate(tmp_path / "root").table(BEGUN).path / "wal1" / "0"
    assert (segment / "_event").is_file()
    with (segment / "ts.d").open("r+b") as column:  # a timestamp and the number of its row: written, not committed
        column.seek(2 * 16)
        column.write(struct.pack("<qq", 1_735_948_800_000_000, 2))
    report = world.reports(tmp_path / "root")[BEGUN]
    assert (report.verdict, report.rows_unapplied) == (Verdict.HEALTHY, 0)


def test_rows_whose_record_the_header_does_not_count_are_no_note(world: World) -> None:
    """They leave next to no time to be killed in: a header that is too low is likelier, and then they were taken."""
    report = world.reports(world.cut)[ROWS]
    found = next(f for f in report.findings if f.code is _UNLOGGED)
    assert (found.severity, found.seq_txn) == (Severity.RISK, 3)
    assert (report.verdict, report.rows_at_risk, report.next_step.action) == (Verdict.BROKEN, 1, "repair-log")


def test_a_structure_change_that_metadata_has_is_a_risk_before_and_after_the_next_row(world: World) -> None:
    before, after = world.reports(world.cut)[WRITTEN], world.reports(world.written_to)[WRITTEN]
    for report, last in ((before, 2), (after, 3)):
        found = next(f for f in report.findings if f.code is _REGRESS)
        assert (found.severity, found.seq_txn) == (Severity.RISK, last)
        assert (report.verdict, report.next_step.action) == (Verdict.AT_RISK, "repair-log")


def test_what_is_a_risk_comes_true_on_the_server(world: World, tmp_path: Path) -> None:
    for name in ("cut", "written_to"):
        shutil.copytree(getattr(world, name), tmp_path / name)
    with world.server(tmp_path / "cut") as server:
        assert "possible corruption" in _answer(server, f"alter table {WRITTEN} add column later int")
    with world.server(tmp_path / "written_to") as server:
        _answer(server, f"alter table {WRITTEN} add column later int")
        until(lambda: _suspended(server, WRITTEN), "the table is suspended")


@pytest.mark.parametrize("place", ["cut", "written_to"])
def test_the_repair_makes_each_of_them_whole(world: World, tmp_path: Path, place: str) -> None:
    root = tmp_path / "root"
    shutil.copytree(getattr(world, place), root)
    engine = captured(engine_of(root, tmp_path / "state"))
    due = [name for name, report in world.reports(root).items() if report.next_step.action is not None]
    assert due == [ROWS, WRITTEN] if place == "cut" else [WRITTEN]
    for name in due:
        plan = engine.plan("repair-log", name)
        assert (plan.refused, plan.confirmation) == ((), f"{name} lose 0")
        assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    assert {report.verdict for report in world.reports(root).values()} == {Verdict.HEALTHY}
    more = {name: world.taken[name] if place == "written_to" else 2 + (name == ROWS) for name in TABLES}
    with world.server(root) as server:
        for name in TABLES:
            server.query(f"alter table {name} add column third int")
            server.query(f"insert into {name} (ts, third) values ('2025-01-05', 5)")
        wait_until_applied(server)
        for name in TABLES:
            assert server.query(f"select count() from {name}") == [(more[name] + 1,)]
            assert server.query(f"select third from {name} where ts = '2025-01-05'") == [(5,)]
    assert {report.verdict for report in world.reports(root).values()} == {Verdict.HEALTHY}


@pytest.mark.parametrize("damage", ["record", "header"])
def test_a_log_that_needs_repair_leaves_out_the_change_that_was_only_begun(
    world: World, tmp_path: Path, damage: str
) -> None:
    """Applied record 1 is zeros, or the header counts one record of rows too few."""
    root = tmp_path / "root"
    shutil.copytree(world.cut, root)
    table = DatabaseRoot.locate(root).table(BEGUN).path
    log = table / "txn_seq" / "_txnlog"
    if damage == "header":
        _overwrite(log, 4, struct.pack("<q", 1))
    elif int.from_bytes(log.read_bytes()[:4], "little") == 0:
        _overwrite(log, 76, bytes(28))
    else:
        _overwrite(table / "txn_seq" / "_txn_parts" / "0", 0, bytes(60))
    engine = captured(engine_of(root, tmp_path / "state"))
    plan = engine.plan("repair-log", BEGUN)
    assert not plan.refused, plan.refused
    assert any("begun and not committed" in each and "late" in each for each in plan.warnings), plan.warnings
    assert plan.rows_lost.phrase == "0", plan.ledger
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    assert world.reports(root)[BEGUN].verdict is Verdict.HEALTHY
    with world.server(root) as server:
        server.query(f"alter table {BEGUN} add column third int")
        server.query(f"insert into {BEGUN} (ts, third) values ('2025-01-05', 5)")
        wait_until_applied(server)
        assert server.query(f"select count(), count(third) from {BEGUN}") == [(3, 1)]

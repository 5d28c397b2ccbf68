"""Each QuestDB version on its own files: healthy is healthy, counts are exact, a repair costs what it announces.

`WALMEDIC_VERSIONS` says which ones, `all` (make versions) is all of them. The run checks the table in docs/versions.md;
WRITE_DOCS=1 writes it.
"""

import csv
import os
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code, Severity, Verdict
from console.errors import WalmedicError
from console.questdb.formats.database import UPGRADE
from console.questdb.formats.sequencer import SEQUENCER_META
from console.questdb.known_formats import MIGRATION
from console.questdb.layout import DatabaseRoot
from console.questdb.server_version import Version
from console.questdb.version_behaviour import behaviour_of
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.purge_guard import INTERVAL_MS, SETTING
from console.recovery.tree.wal_locks import WalLocks
from console.settings import QuestDBSettings, SalvageSettings, Settings
from tests.real.generated_tables import applied_txn, copy_tree, log_records
from tests.real.versions import binary_of
from tests.real.waiting import until
from tests.versions.seen import Seen, engine_of, look
from tests.versions.table import Row, checked_or_written
from tests.versions.world import SETTINGS, VERSIONS

_CHOSEN = os.environ.get("WALMEDIC_VERSIONS", "8.1.4 9.3.4")
CHOSEN = VERSIONS if _CHOSEN == "all" else tuple(_CHOSEN.split())
_SWEEP = 500  # milliseconds
_PARQUET_8 = (8, 1, 0)
"""From here to 9.0 partitions are written in a Parquet format that these versions cannot read themselves."""


@pytest.fixture(scope="module", params=CHOSEN)
def seen(request: pytest.FixtureRequest, memory: Path) -> Iterator[Seen]:
    """One version after the other."""
    version: str = request.param
    work = memory / version
    yield look(version, work)
    shutil.rmtree(work, ignore_errors=True)


def test_healthy_tables_of_every_type_are_healthy_and_the_version_is_said(seen: Seen) -> None:
    told = {
        table.table: [finding.message for finding in table.findings if finding.severity is not Severity.NOTE]
        for table in seen.report.tables
    }
    verdicts = {table.table: table.verdict for table in seen.report.tables if table.verdict is not Verdict.HEALTHY}
    if _PARQUET_8 <= seen.world.numbers < (9, 0, 0):
        assert verdicts.pop("parquet") is Verdict.AT_RISK
        assert len(told.pop("parquet")) == 1
    assert {name: found for name, found in told.items() if found} == {}
    assert verdicts == {}
    assert [finding for finding in seen.report.findings if finding.severity is not Severity.NOTE] == []
    assert (seen.report.version, seen.report.versions_seen) == (seen.world.version, (seen.world.version,))


def test_counts_are_those_that_the_server_shows(seen: Seen) -> None:
    """Views hold no rows; a table with dedup keys has at most what is counted; a materialised view is refreshed."""
    tables = {table.table: table for table in seen.report.tables}
    assert set(tables) == (set(seen.truth) - set(seen.report.views)) | (set(tables) & {"parquet"})
    assert seen.report.views == (("some",) if seen.world.numbers >= (9, 3, 0) else ())
    counted = {name: (table.rows_applied or 0) + (table.rows_unapplied or 0) for name, table in tables.items()}
    exact = set(tables) - {"keyed", "hourly"} - ({"parquet"} if seen.world.numbers < (9, 0, 0) else set())
    assert {name: counted[name] for name in exact} == {name: seen.truth[name].total() for name in exact}
    assert counted["keyed"] >= seen.truth["keyed"].total() > 550


def test_every_damage_is_seen(seen: Seen) -> None:
    assert {name: verdict for name, verdict in seen.struck.items() if verdict is Verdict.HEALTHY} == {}


def test_a_repair_costs_what_it_announced(seen: Seen) -> None:
    for name, ended in seen.ended.items():
        if ended.case.refused:
            assert RefusalCode.VERSION_CANNOT_CONVERT in {each.code for each in ended.plan.refused}, name
            assert ended.outcome is Outcome.REFUSED
            continue
        assert ended.outcome is Outcome.DONE, (name, ended.plan.refused)
        lost, more = seen.truth[name] - ended.found, ended.found - seen.truth[name]
        assert (ended.plan.rows_lost.kind, ended.plan.rows_lost.value) == ("exact", lost.total()), name
        assert more.total() == 0, name
        assert ended.plan.questdb == seen.world.version


def test_a_rebuilt_sequencer_has_the_metadata_that_the_table_began_with(seen: Seen) -> None:
    for name in ("every_wal", "wide", "filling"):
        old, new = (DatabaseRoot.locate(root).table(name).sequencer for root in (seen.world.root, seen.repaired))
        assert (new / "_meta.0").read_bytes() == (old / "_meta.0").read_bytes(), name


def test_what_was_repaired_is_healthy_and_takes_rows_and_columns(seen: Seen) -> None:
    assert seen.after is not None
    done = {name for name, ended in seen.ended.items() if ended.outcome is Outcome.DONE}
    found = {
        table.table: [finding for finding in table.findings if finding.severity is not Severity.NOTE]
        for table in seen.after.tables
        if table.table in done
    }
    assert found == {name: [] for name in done}
    assert seen.written == {name: seen.ended[name].found.total() + 2 for name in done}


def test_a_conversion_keeps_the_ttl(seen: Seen) -> None:
    if "kept" not in seen.ended:
        pytest.skip("this version has no TTL")
    assert seen.ttl == [(900, "WEEK")]


def test_a_plan_is_proven_on_a_clone_by_this_version(seen: Seen) -> None:
    assert seen.rehearsed == ""


def test_the_table_in_the_docs_is_what_the_run_showed(seen: Seen) -> None:
    done = sum(ended.outcome is Outcome.DONE for ended in seen.ended.values())
    refused = sum(ended.outcome is Outcome.REFUSED for ended in seen.ended.values())
    checked_or_written(
        Row(
            version=seen.world.version,
            read=f"{len(seen.report.tables)} tables",
            diagnosed=f"{sum(v is not Verdict.HEALTHY for v in seen.struck.values())} of {len(seen.struck)} damages",
            repaired=f"{done} of {len(seen.ended)}" + (f", {refused} refused" if refused else ""),
            rehearsed="no" if seen.rehearsed else "yes",
        )
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_are_exported_whole(seen: Seen, tmp_path: Path, kind: str) -> None:
    database = _copied(seen, tmp_path)
    counted = {table.table: table for table in seen.report.tables}
    for action, name in (("salvage-wal", "every_wal"), ("salvage-table", "every_wal"), ("salvage-table", "parquet")):
        if name not in counted:
            continue
        state = tmp_path / action / name
        settings = Settings(
            state_dir=str(state), questdb=QuestDBSettings(db_root=str(database.root)),
            salvage=SalvageSettings(format=kind), bare=True,
        )  # fmt: skip
        engine = Engine(settings)
        plan = engine.plan(action, name)
        assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE, (action, name, plan.refused)
        rows = counted[name].rows_unapplied if action == "salvage-wal" else counted[name].rows_applied
        assert _exported(state, kind) == rows, (action, name)


def _exported(folder: Path, kind: str) -> int:
    """Return the rows of all files below `folder`."""
    if kind == "parquet":
        return sum(pyarrow.parquet.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))
    total = 0
    for path in folder.rglob("*.csv"):
        with path.open(newline="") as stream:
            total += sum(1 for _ in csv.reader(stream)) - 1
    return total


def test_a_suspension_on_disk_counts_for_versions_that_keep_it(seen: Seen, tmp_path: Path) -> None:
    database = _copied(seen, tmp_path)
    meta = database.table("by_week").sequencer / "_meta"
    content = bytearray(meta.read_bytes())
    content[SEQUENCER_META.at("suspended")] = 1
    meta.write_bytes(content)
    (report,) = diagnose(database, ["by_week"]).tables
    keeps = seen.world.numbers < (9, 0, 0)
    assert report.has(Code.TABLE_SUSPENDED) == keeps
    assert (report.can_write, report.next_step.action) == ((False, "resume-wal") if keeps else (True, None))


def test_a_newer_version_is_said_and_its_files_are_changed_only_in_known_formats(seen: Seen, tmp_path: Path) -> None:
    database = _copied(seen, tmp_path)
    words = database.db / "telemetry_config" / "version.c"
    old, new = (text.encode("utf-16-le") for text in (seen.world.version, "9.8.7".ljust(len(seen.world.version), "0")))
    words.write_bytes(words.read_bytes().replace(old, new))
    shutil.rmtree(database.table("wide").sequencer)
    engine = engine_of(database.root, tmp_path / "state", seen.world.version)
    capture = engine.plan("capture-evidence")
    assert engine.run(capture, capture.confirmation).outcome is Outcome.DONE
    plan = engine.plan("rebuild-sequencer", "wide")
    assert plan.questdb == new.decode("utf-16-le")
    assert plan.refused == ()
    assert any("newer than 9.3.4" in warning for warning in plan.warnings)
    assert any("REBASE WAL" in warning for warning in plan.warnings)
    upgrade = bytearray((database.db / "_upgrade.d").read_bytes())
    UPGRADE.put(upgrade, 0, migration_version=MIGRATION + 1)
    (database.db / "_upgrade.d").write_bytes(upgrade)
    assert RefusalCode.VERSION_NOT_KNOWN in {each.code for each in engine.plan("rebuild-sequencer", "wide").refused}
    assert engine.plan("salvage-wal", "wide").refused == ()


def test_a_view_is_no_table(seen: Seen, tmp_path: Path) -> None:
    if not seen.report.views:
        pytest.skip("this version has no views")
    database = _copied(seen, tmp_path)
    with pytest.raises(WalmedicError, match="some is a view"):
        database.table("some")
    (view,) = database.views()
    (view.path / "_view").write_bytes(bytes(64))
    assert [finding.code for finding in diagnose(database).findings] == [Code.VIEW_FILES_INVALID]


def _copied(seen: Seen, to: Path) -> DatabaseRoot:
    copy_tree(seen.world.root, to.resolve() / "root")
    return DatabaseRoot.locate(to / "root")


@pytest.mark.faults
@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "unguarded"])
def test_wal_that_the_log_does_not_name_survives_three_sweeps_by_the_guard_alone(
    seen: Seen, tmp_path: Path, guarded: bool
) -> None:
    database = _copied(seen, tmp_path)
    root = database.root
    table = database.table("by_hour")
    with (table.sequencer / "_txnlog").open("r+b") as log:
        log.seek(4)
        log.write(struct.pack("<q", applied_txn(table.path)))  # what waits is named no more
    before = {wal.id for wal in table.wals()}
    waiting = {wal for _, wal, _, _ in log_records(seen.world.root / "db" / table.directory)[1]} & before
    by_locks = behaviour_of(Version.parse(seen.world.version)).file_locks_hold_wal
    interval = INTERVAL_MS if guarded and not by_locks else _SWEEP
    with WalLocks(database.db) as locks:
        if guarded and by_locks:
            locks.hold(table)
        with PrivateServer(root, binary_of(seen.world.version), settings={**SETTINGS, SETTING: str(interval)}):
            if guarded:
                time.sleep(4 * _SWEEP / 1000)
                assert waiting <= {wal.id for wal in table.wals()}
            else:
                until(lambda: not waiting <= {wal.id for wal in table.wals()}, "the purge removes it")

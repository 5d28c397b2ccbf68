"""raise-wal-index on a captured table: never below a WAL on disk, nor below one that a record still names."""

import shutil
import struct
from pathlib import Path

import pytest

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Change
from console.settings import QuestDBSettings, Settings
from tests.data.samples import KINDS, Kind, sample_database


@pytest.mark.parametrize("kind", KINDS)
def test_a_wal_that_is_purged_and_named_by_a_record_is_not_taken_again(kind: Kind, tmp_path: Path) -> None:
    database = sample_database(kind, tmp_path.resolve() / "sample")
    table = database.table("altered")
    index = table.sequencer / "_wal_index.d"
    index.write_bytes(struct.pack("<q", 0).ljust(4096, b"\0"))
    highest = max(wal.id for wal in table.wals())
    assert _written(database, tmp_path).after == str(highest)
    # as after a purge: its directory is gone, and an applied record names it
    last = struct.pack("<i", highest + 3)
    log = table.sequencer / ("_txnlog" if kind == KINDS[0] else "_txn_parts/0")
    content = bytearray(log.read_bytes())
    at = (76 if kind == KINDS[0] else 0) + 8  # the first record's walId
    content[at : at + 4] = last
    log.write_bytes(content)
    change = _written(database, tmp_path)
    assert (change.before, change.after) == ("0", str(highest + 3))


def test_what_the_check_finds_low_is_raised_above_a_wal_that_is_not_the_table_s(tmp_path: Path) -> None:
    database = sample_database(KINDS[0], tmp_path.resolve() / "sample")
    table = database.table("altered")
    foreign = max(wal.id for wal in table.wals()) + 3
    shutil.copytree(database.table("kinds").path / "wal1", table.path / f"wal{foreign}")
    (report,) = diagnose(database, tables=["altered"]).tables
    assert {Code.WAL_FOREIGN, Code.WAL_INDEX_LOW} <= {finding.code for finding in report.findings}
    assert report.next_step.action == "raise-wal-index"
    assert _written(database, tmp_path).after == str(foreign)


def _written(database: DatabaseRoot, place: Path) -> Change:
    settings = Settings(state_dir=str(place / "state"), questdb=QuestDBSettings(db_root=str(database.root)), bare=True)
    plan = Engine(settings).plan("raise-wal-index", "altered")
    (stage,) = plan.stages
    (change,) = stage.changes
    return change

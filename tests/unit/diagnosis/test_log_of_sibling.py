"""A log whose creation time another table's log has is foreign in a check, as in a plan; a copy of the table is not."""

import os
import shutil

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code
from console.questdb.layout import DatabaseRoot, TableDirectory
from tests.unit.diagnosis.conftest import Diagnose, put


def test_a_log_that_another_table_has_too_is_foreign(
    database: DatabaseRoot, altered: TableDirectory, diagnosed: Diagnose
) -> None:
    other = next(each for each in database.tables() if each.wal and each.directory != altered.directory)
    made = (other.sequencer / "_txnlog").read_bytes()[12:20]
    assert not diagnosed().has(Code.SEQUENCER_FOREIGN)
    put(altered.sequencer / "_txnlog", 12, "<8B", *made)
    report = diagnosed()
    assert report.has(Code.SEQUENCER_FOREIGN)
    assert report.next_step.action == "rebuild-sequencer"
    whole = next(each for each in diagnose(database).tables if each.directory == altered.directory)
    assert [each.code for each in whole.findings] == [each.code for each in report.findings]
    at = int.from_bytes(made, "little") * 1000 - 1_000_000
    os.utime(altered.path / "_name", ns=(at, at))  # the log was created with this table: the other has the copy
    assert not diagnosed().has(Code.SEQUENCER_FOREIGN)
    os.utime(other.path / "_name", ns=(at + 500_000, at + 500_000))
    assert diagnosed().has(Code.SEQUENCER_FOREIGN)


def test_a_copy_of_the_table_beside_it_speaks_against_nothing(
    database: DatabaseRoot, altered: TableDirectory, diagnosed: Diagnose
) -> None:
    shutil.copytree(altered.path, database.db / "altered_copy")
    assert not diagnosed().has(Code.SEQUENCER_FOREIGN)

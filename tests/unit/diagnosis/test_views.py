"""What is wrong with a materialised view: its base table began anew, it is invalid, or its own files are damaged."""

import zlib

from console.diagnosis.database import diagnose
from console.diagnosis.model import Code, Severity
from console.questdb.layout import DatabaseRoot, TableDirectory
from tests.unit.diagnosis.conftest import put, set_applied, zero_record


def test_a_view_whose_base_table_began_anew(database: DatabaseRoot, altered: TableDirectory) -> None:
    put(altered.sequencer / "_txnlog", 4, "<q", 2)
    for txn in range(3, 10):
        zero_record(altered, txn)
    set_applied(altered, 2)
    view = next(table for table in diagnose(database).tables if table.table == "hourly")
    found = next(f for f in view.findings if f.code is Code.VIEW_BEHIND)
    assert (found.severity, found.seq_txn) == (Severity.RISK, 9)


def test_a_view_that_is_invalid_or_whose_files_are_damaged(database: DatabaseRoot) -> None:
    table = database.table("hourly")

    def found() -> list[tuple[Code, Severity, str | None]]:
        (report,) = diagnose(database, ["hourly"]).tables
        return [(each.code, each.severity, each.file) for each in report.findings]

    assert found() == []
    state, definition = table.path / "_mv.s", table.path / "_mv"
    whole = state.read_bytes()
    a, b = (40 + int.from_bytes(whole[at : at + 8], "little") for at in (8, 24))
    region, length = (a, 16) if whole[0] & 1 else (b, 32)
    end = region + int.from_bytes(whole[length : length + 8], "little")
    invalid = bytearray(whole)
    invalid[region + 16] = 1  # the first byte of the first block
    put_crc(invalid, region, end)
    state.write_bytes(invalid)
    assert found() == [(Code.VIEW_BEHIND, Severity.NOTE, f"{table.directory}/_mv.s")]
    invalid[region + 16] = 0
    state.write_bytes(invalid)
    assert found() == [(Code.VIEW_FILES_INVALID, Severity.RISK, f"{table.directory}/_mv.s")]
    state.unlink()
    assert found() == []  # as before the first refresh
    definition.write_bytes(definition.read_bytes()[:50])
    assert found() == [(Code.VIEW_FILES_INVALID, Severity.RISK, f"{table.directory}/_mv")]
    definition.unlink()
    assert found() == [(Code.VIEW_FILES_INVALID, Severity.RISK, f"{table.directory}/_mv")]


def put_crc(data: bytearray, region: int, end: int) -> None:
    """Put the checksum of a region of a block file right."""
    data[region : region + 4] = zlib.crc32(data[region + 12 : end]).to_bytes(4, "little")

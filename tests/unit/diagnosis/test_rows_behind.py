"""Rows behind the last event of a segment: without a log check does not say that nothing was committed."""

import shutil
import struct

from console.diagnosis.model import Severity
from console.questdb.layout import TableDirectory
from tests.unit.diagnosis.conftest import Diagnose


def _add_row(table: TableDirectory) -> None:
    """Put one more row into the timestamps of the newest segment, as a writer does that commits later or never."""
    path = table.path / "wal1" / "2" / "ts.d"
    held = path.read_bytes()
    rows = struct.unpack(f"<{len(held) // 8}q", held)
    last = max(number for number, stamp in zip(rows[1::2], rows[::2], strict=True) if stamp)
    with path.open("r+b") as file:
        file.seek(16 * (last + 1))
        file.write(struct.pack("<qq", rows[2 * last] + 1, last + 1))


def test_rows_behind_the_last_event_are_unknown_without_a_log(altered: TableDirectory, diagnosed: Diagnose) -> None:
    assert diagnosed().rows_unapplied == 0
    _add_row(altered)
    assert diagnosed().rows_unapplied == 0  # the log names all that was committed
    shutil.rmtree(altered.sequencer)
    report = diagnosed()
    assert report.rows_unapplied is None
    note = next(f for f in report.findings if "behind the last transaction" in f.message)
    assert (note.severity, "at most 1" in note.message) == (Severity.NOTE, True)

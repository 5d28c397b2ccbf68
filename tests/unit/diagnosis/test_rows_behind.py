"""Rows behind the last event of a segment: without a log check does not say that nothing was committed."""

import os
import shutil
import struct

import psutil
import pytest

from console.diagnosis.model import Code, Severity
from console.questdb.layout import TableDirectory
from tests.unit.diagnosis.conftest import Diagnose, put, set_applied, zero_record


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


@pytest.mark.parametrize("closed", [False, True])  # as its writer closes it too if QuestDB refuses the commit
@pytest.mark.parametrize(("seconds", "severity"), [(60.0, Severity.NOTE), (-60.0, Severity.RISK)])
def test_a_last_transaction_without_a_record_may_be_committed_if_the_power_failed(
    altered: TableDirectory, diagnosed: Diagnose, seconds: float, severity: Severity, closed: bool
) -> None:
    """The event is written before the record: after a kill without a new start of the machine nothing is lost."""
    zero_record(altered, 9)
    put(altered.sequencer / "_txnlog", 4, "<q", 8)
    set_applied(altered, 8)
    written = psutil.boot_time() + seconds
    events = altered.path / "wal1" / "2" / "_event"
    if not closed:
        os.truncate(events, 4096)
    os.utime(events, (written, written))
    os.utime(altered.path / "_name", (1, 1))  # else it were a copy without its times
    found = next(each for each in diagnosed().findings if each.code is Code.LOG_TAIL_UNLOGGED)
    assert (found.severity, found.rows) == (severity, 1)
    assert (diagnosed().next_step.action == "repair-log") is (severity is Severity.RISK)

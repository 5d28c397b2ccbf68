"""Every finding leads somewhere, and what did not help is not proposed again."""

import pytest

from console.diagnosis.model import Code, Finding, Severity, TableHistory, Verdict
from console.diagnosis.next_step import next_step
from console.diagnosis.purge_clock import PurgeClock
from console.diagnosis.server.cause import Cause, cause_of, own_file
from console.diagnosis.situation import Situation
from console.diagnosis.verdict import can_read, verdict_of

TABLE = "trades~12"
WORDS = {
    "symbol column map is corrupt [path=/var/lib/questdb/db/trades~12/sym]": Cause.OWN_FILES,
    "could not open read-write [file=/srv/db/trades~12/2025-11-08/price.d]": Cause.OWN_FILES,
    "Unknown format: /srv/db/trades~12/2025-11-08/sym.k": Cause.OWN_FILES,
    "Partition '2025-11-06' does not exist in table directory. Run 'ALTER TABLE …'": Cause.OWN_FILES,
    "java.lang.AssertionError": Cause.OWN_FILES,
    "could not open read-only [file=/srv/db/trades~12/wal3/0/px.d]": Cause.UNKNOWN,
    "cannot read WAL event file for seqTxn=5, cannot read WAL event file for seqTxn=5, ]": Cause.UNKNOWN,
    "DISK FULL [28] could not allocate file [path=/srv/db/trades~12/2025-11-08/price.d]": Cause.DISK_FULL,
    "[28] No space left on device": Cause.DISK_FULL,
    "TOO MANY OPEN FILES [24] could not open read-write [file=/srv/db/trades~12/_txn]": Cause.OPEN_FILES,
    "could not open read-write /srv/db/trades~12/2025-11-08/price.d [errno=13]": Cause.PERMISSION,
    "OUT OF MMAP AREAS could not mmap [size=16384]": Cause.MEMORY,
    "": Cause.UNKNOWN,
}


@pytest.mark.parametrize(("said", "cause"), WORDS.items())
def test_the_servers_own_words_name_the_cause(said: str, cause: Cause) -> None:
    assert cause_of(said, TABLE) is cause


def test_the_file_that_it_names_is_one_of_this_table() -> None:
    assert own_file("could not open /db/trades~12/2025-11-08/price.d, errno=2", TABLE) == "2025-11-08/price.d"
    assert own_file("could not open /db/trades~13/2025-11-08/price.d", TABLE) is None


def situation(*findings: Finding, **more: object) -> Situation:
    return Situation(findings=findings, clock=PurgeClock("none"), waiting=3, backup="", **more)  # type: ignore[arg-type]


def found(code: Code, severity: Severity = Severity.DAMAGE) -> Finding:
    return Finding(code, severity, "something", f"{TABLE}/_txn")


@pytest.mark.parametrize("severity", [Severity.DAMAGE, Severity.RISK])
@pytest.mark.parametrize("code", Code)
def test_whatever_was_found_there_is_something_to_do(code: Code, severity: Severity) -> None:
    step = next_step(situation(found(code, severity)))
    assert step.reason
    assert step != next_step(situation())
    assert step.action != "capture-evidence"  # that is what comes first, and never all there is
    assert verdict_of((found(code, severity),)) is not Verdict.HEALTHY


@pytest.mark.parametrize("code", Code)
def test_evidence_that_is_there_is_not_asked_for_again(code: Code) -> None:
    before = next_step(situation(found(code)))
    after = next_step(situation(found(code), history=TableHistory(evidence=True)))
    assert (before.action, before.reason, False) == (after.action, after.reason, after.evidence)


@pytest.mark.parametrize("code", [Code.LOG_HEADER_ZEROED, Code.LOG_RECORD_ZEROED, Code.LOG_MAX_TXN_BELOW_APPLIED])
def test_a_log_that_cannot_be_its_own_base_is_made_anew(code: Code) -> None:
    """As the plan of repair-log decides: it refuses a log that ends below what is applied."""
    assert next_step(situation(found(code))).action == "repair-log"
    assert next_step(situation(found(code), log_serves=False)).action == "rebuild-sequencer"
    copy = Situation((found(code),), PurgeClock("none"), waiting=3, backup="txn_seq.1", log_serves=False)
    assert next_step(copy).action == "restore-sequencer"


def suspended(error: str, **more: object) -> Situation:
    cause = cause_of(error, TABLE)
    return situation(found(Code.TABLE_SUSPENDED), suspended=True, error=error, cause=cause, applied=75, **more)


@pytest.mark.parametrize(("said", "cause"), WORDS.items())
def test_resume_is_proposed_only_where_nothing_else_stops_the_table(said: str, cause: Cause) -> None:
    step = next_step(suspended(said, free=1 << 20))
    assert (step.action == "resume-wal") is (cause is Cause.UNKNOWN)
    assert "files are whole" not in step.reason
    if cause is not Cause.UNKNOWN:
        assert said in step.reason, "the server's own words are told"


def test_a_disk_with_room_again_is_no_reason_not_to_resume() -> None:
    assert next_step(suspended("[28] No space left on device", free=50 << 30)).action == "resume-wal"


def test_after_a_resume_that_failed_it_is_not_proposed_again() -> None:
    failed = TableHistory(stopped_at=76)
    assert next_step(suspended("", history=failed)).action == "copy-table"
    assert next_step(suspended("", history=TableHistory(stopped_at=60))).action == "resume-wal"
    own = next_step(suspended("symbol column map is corrupt", history=failed))
    assert own.action is None


def test_a_partition_that_the_server_cannot_read_makes_the_table_unreadable() -> None:
    broken = situation(found(Code.PARTITION_UNREADABLE))
    assert can_read(broken) is False
    assert next_step(broken).evidence

"""A symbolic link in the place of a table's own file: it is not followed, and nothing behind it is called gone."""

import pytest

from console.diagnosis.model import Code, Severity, Verdict
from console.questdb.layout import TableDirectory
from tests.unit.diagnosis.conftest import Diagnose

PLACES = ("_txn", "_meta", "txn_seq", "txn_seq/_txnlog", "wal1", "wal1/0", "wal1/0/_event")


@pytest.mark.parametrize("place", PLACES)
def test_what_is_behind_a_link_is_unknown_and_not_gone(
    place: str, altered: TableDirectory, diagnosed: Diagnose
) -> None:
    path, away = altered.path / place, altered.path.parent / "away"
    if not path.exists():
        pytest.skip(f"the sample has no {place}")
    path.rename(away)
    path.symlink_to(away)
    report = diagnosed()
    assert report.verdict is Verdict.UNKNOWN, report
    assert (report.rows_at_risk, report.rows_unapplied) == (None, None), report
    assert not [each for each in report.findings if each.severity is Severity.DAMAGE], report.findings
    assert report.has(Code.UNREADABLE)
    assert report.next_step.action is None
    assert f"{altered.directory}/{place} is a symbolic link" in report.next_step.reason

"""Every damage that does not crash: one table each in one real server per log format. What `check` says of the dead
files, then what the server does when it is started on them, so that code, offset and count are held against it."""

import pytest

from console.diagnosis.model import Code, Severity, Verdict
from console.recovery.server.jvm import ServerBinary
from tests.real.damage_matrix import Case, cases
from tests.real.damage_strikes import APPLIED, LAST, ROWS
from tests.real.damage_world import LIVE, World, build_world

PAIRS = [(version, case) for version in (1, 2) for case in cases(version)]
NAMES = [f"v{version}-{case.table}" for version, case in PAIRS]


@pytest.fixture(scope="module")
def worlds(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> dict[int, World]:
    """Both databases, damaged, diagnosed while dead, and then run."""
    return {version: build_world(version, questdb, tmp_path_factory.mktemp(f"matrix{version}")) for version in (1, 2)}


@pytest.mark.parametrize(("version", "case"), PAIRS, ids=NAMES)
def test_what_check_says_of_the_dead_files(worlds: dict[int, World], version: int, case: Case) -> None:
    world = worlds[version]
    report = world.reports[case.table]
    grave = {finding.code for finding in report.findings if finding.severity is not Severity.NOTE}
    assert grave == case.codes, report.findings
    applied = APPLIED if case.pending else LAST
    if case.reaches >= 0:
        assert report.rows_applied == case.rows(1, applied)
        assert report.applied_txn == applied + (case.name == "lag_overflow")
    else:  # set back: what it says is less than what was there
        assert report.rows_applied is not None
        assert report.rows_applied < case.rows(1, LAST)
    waits = None if case.waits is None else ROWS * case.waits
    assert report.rows_unapplied == waits, report.findings
    if waits is None:
        assert any(
            "cannot be known" in f.message or "set back" in f.message or "decoded" in f.message for f in report.findings
        )
    healthy = not case.codes
    assert (report.verdict is Verdict.HEALTHY) == healthy
    by_hand = ("lag_overflow", "convert_marker", "event_index_cut")
    assert (report.next_step.action is None) == (healthy or case.name in by_hand)
    assert (report.next_step.reason == "nothing to do") == healthy
    if case.at is not None:
        code, _, txn = case.at
        found = next(finding for finding in report.findings if finding.code is code)
        assert found.offset == world.offsets[case.table]
        assert txn is None or found.seq_txn == txn


@pytest.mark.parametrize(("version", "case"), PAIRS, ids=NAMES)
def test_what_the_server_does_with_them(worlds: dict[int, World], version: int, case: Case) -> None:
    world, report = worlds[version], worlds[version].reports[case.table]
    seen = report.rows_applied if case.reaches < 0 else case.rows(1, case.reaches)
    assert world.rows[case.table] == seen
    said = world.wal_tables.get(case.table)
    assert (said is not None) == case.listed
    if said is not None:
        assert said["suspended"] == case.suspended
    arrives = case.arrives and not case.refusal
    if case.refusal:
        assert case.refusal in world.errors[case.table]
    else:
        assert world.errors.get(case.table) == ("" if case.written else None)
        assert world.after_insert[case.table] == (seen or 0) + int(arrives)
    if case.wal_kept is not None:
        assert world.wal_kept[case.table] == case.wal_kept
    # What check promised: a row that is written now arrives, or does not; every table here can be read; WAL that it
    # says the sweep would take is taken, and no other.
    assert report.can_write is (arrives if case.writes is None else case.writes)
    assert report.can_read is True
    if case.waits and case.wal_kept is not None:
        assert report.has(Code.WAL_AT_RISK_OF_PURGE) != case.wal_kept


@pytest.mark.parametrize(("version", "case"), PAIRS, ids=NAMES)
def test_whether_the_table_can_still_be_altered(worlds: dict[int, World], version: int, case: Case) -> None:
    world = worlds[version]
    if not case.written:
        assert any("before the mapped part" in finding.message for finding in world.reports[case.table].findings)
    elif case.refusal:
        assert world.alter_errors[case.table]
    elif case.no_alter:
        assert case.no_alter in world.alter_errors[case.table]
        assert not case.altered or case.codes
    else:
        assert world.alter_errors[case.table] == ""
    # Where rows are written well and only structure is not, check says just that.
    report = world.reports[case.table]
    if report.can_write and case.no_alter:
        assert any("ALTER" in finding.message or "zeros" in finding.message for finding in report.findings), report


@pytest.mark.parametrize("altered", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_torn_data_is_applied_without_complaint(worlds: dict[int, World], version: int, altered: bool) -> None:
    """Why `check` has to look at the columns: count, state, even `min(ts)` are those of a healthy table."""
    world, tail = worlds[version], "_altered" if altered else ""
    assert world.strange[f"data_torn{tail}"] == 5 * ROWS
    assert world.strange[f"intact{tail}"] == 0
    assert world.reports[f"data_torn{tail}"].rows_at_risk == 5 * ROWS


@pytest.mark.parametrize("version", [1, 2])
def test_a_lag_count_without_rows_is_healed_by_a_start_and_swallows_a_row_under_a_live_server(
    worlds: dict[int, World], version: int
) -> None:
    world = worlds[version]
    assert world.after_insert["lag_overflow"] == LAST * ROWS + 1
    assert world.after_insert[LIVE] == LAST * ROWS
    assert world.live is not None
    assert (world.live.has(Code.LAG_OVERFLOW), world.live.can_write) == (True, False)


@pytest.mark.parametrize("version", [1, 2])
def test_a_header_below_applied_is_seen_in_wal_tables_alone(worlds: dict[int, World], version: int) -> None:
    said = worlds[version].wal_tables["header_below_applied"]
    assert said["sequencerTxn"] < said["writerTxn"]

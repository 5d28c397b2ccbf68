"""Damages to unapplied rows, each repaired by the recommended step: it moves on, and what was told is a note after."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from console.diagnosis.model import Code, Severity, TableReport, Verdict
from console.questdb.segment import read_segment
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.rehearsal import rehearsing
from console.recovery.rehearsal.model import RehearsalOutcome
from console.recovery.server.jvm import ServerBinary
from console.settings import QuestDBSettings, Settings
from tests.real.generated_tables import Batch, applied_txn, build, log_records
from tests.real.plain_recipes import plain
from tests.real.sequencer_damage import tear

Strike = Callable[[Path], None]


def _segment(table: Path) -> tuple[Path, int]:
    """Return the segment and the segment transaction of the second record that is not applied."""
    _, wal, segment, txn = log_records(table)[1][applied_txn(table) + 1]
    return table / f"wal{wal}" / str(segment), txn


def _no_column(table: Path) -> None:
    (_segment(table)[0] / "px.d").unlink()


def _torn_timestamps(table: Path) -> None:
    assert tear(table, random.Random(1))


def _event_cut(table: Path) -> None:
    folder, txn = _segment(table)
    offset = int(read_segment(folder).events["offset"][txn])
    with (folder / "_event").open("r+b") as stream:
        stream.truncate(offset + 6)


def _event_of_no_type(table: Path) -> None:
    folder, txn = _segment(table)
    offset = int(read_segment(folder).events["offset"][txn])
    with (folder / "_event").open("r+b") as stream:
        stream.seek(offset + 12)
        stream.write(b"\x4d")


def _no_segment(table: Path) -> None:
    shutil.rmtree(_segment(table)[0])


KNOWN_LOSS: dict[str, Strike] = {"no_column": _no_column, "torn": _torn_timestamps}
UNKNOWN_LOSS: dict[str, Strike] = {"cut": _event_cut, "no_type": _event_of_no_type, "no_segment": _no_segment}


@pytest.fixture(scope="module")
def batch(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Tables of one real server, killed with rows that are not applied."""
    names = [*KNOWN_LOSS, *UNKNOWN_LOSS]
    recipes = [plain(300 + at, name, writers=1, pending_rounds=6) for at, name in enumerate(names)]
    return build(tmp_path_factory.mktemp("steps") / "root", recipes, questdb)


def _engine(root: Path, state: Path) -> Engine:
    return Engine(Settings(state_dir=str(state), questdb=QuestDBSettings(db_root=str(root)), bare=True))


def _report(engine: Engine, table: str) -> TableReport:
    return next(each for each in engine.diagnosis().tables if each.table == table)


def _alone(engine: Engine, table: str) -> None:
    """Remove the other tables: the step of the station is then this one's."""
    for each in engine.database.tables():
        if each.name != table and not each.system:
            shutil.rmtree(each.path)


def _done(engine: Engine, action: str, table: str | None) -> None:
    plan = engine.plan(action, table)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result


def _walked(batch: Batch, work: Path, name: str, strike: Strike, binary: ServerBinary) -> list[str]:
    """Damage the table of that name, take the recommended steps, and return them; it ends healthy."""
    copied = batch.copy(work / "root")
    engine = _engine(copied.root, work / "state")
    _alone(engine, name)
    strike(engine.database.table(name).path)
    assert _report(engine, name).verdict is Verdict.BROKEN
    taken: list[str] = []
    while (step := engine.first_step()) is not None:
        assert len(taken) < 6, taken
        plan = engine.plan(step.action, step.table)
        if {refusal.code for refusal in plan.refused} == {RefusalCode.LOSE_UNKNOWN_WITHOUT_REHEARSAL}:
            assert "rehearse" in step.reason
            ended = rehearsing.rehearse(engine, step.action, name)
            assert ended.outcome is RehearsalOutcome.PASSED, ended
            taken.append("rehearse")
            continue
        _done(engine, step.action, step.table)
        taken.append(step.action)
    report = _report(engine, name)
    assert report.verdict is Verdict.HEALTHY, report.findings
    assert report.next_step.reason == "nothing to do"
    assert all(finding.offset is None or finding.offset >= 0 for finding in report.findings)
    return taken


@pytest.mark.parametrize(("name", "strike"), KNOWN_LOSS.items())
def test_what_is_torn_is_repaired_once_and_a_note_afterwards(
    batch: Batch, questdb: ServerBinary, tmp_path: Path, name: str, strike: Strike
) -> None:
    assert _walked(batch, tmp_path, name, strike, questdb) == ["capture-evidence", "repair-log"]
    engine = _engine(tmp_path / "root", tmp_path / "state")
    notes = [each for each in _report(engine, name).findings if each.code is Code.LOG_TAIL_UNLOGGED]
    assert notes
    assert all(each.severity is Severity.NOTE for each in notes)
    if name == "no_column":  # more than one: it is the journal that makes it a note
        assert _report(_engine(tmp_path / "root", tmp_path / "other"), name).verdict is Verdict.AT_RISK


@pytest.mark.faults
@pytest.mark.parametrize(("name", "strike"), UNKNOWN_LOSS.items())
def test_what_is_lost_without_a_count_is_rehearsed_and_repaired(
    batch: Batch, questdb: ServerBinary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, strike: Strike
) -> None:
    monkeypatch.setattr(rehearsing, "server_binary", lambda *_: (questdb, ""))
    taken = _walked(batch, tmp_path, name, strike, questdb)
    assert taken in (
        ["capture-evidence", "rehearse", "repair-log"],
        ["capture-evidence", "repair-log"],  # the loss is known
    )

"""Actions in a process of their own: launched, watched, taken back, found again by who works on the database."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from console import cli
from console.questdb.layout import DatabaseRoot
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Claim, Outcome, Plan, Progress, RunResult
from console.recovery.process.launch import RunningAction, attach, launch
from console.recovery.rehearsal.launching import rehearsal_of
from console.recovery.rehearsal.model import Rehearsal, RehearsalOutcome
from console.recovery.store.living import process_stamp, runs_walmedic
from console.settings import Settings, for_db_root
from tests.data.samples import sample_database

TABLE = "altered"
_PATIENCE = 60.0


@pytest.fixture
def database(tmp_path: Path) -> DatabaseRoot:
    """A database whose table `altered` has its sequencer as a backup only."""
    root = sample_database("v1", tmp_path / "root")
    (root.db / "tables.d.lock").touch()
    sequencer = root.table(TABLE).sequencer
    sequencer.rename(sequencer.with_name("txn_seq.backup.20251110_032600"))
    return root


@pytest.fixture
def engine(database: DatabaseRoot, tmp_path: Path) -> Engine:
    """An engine on it, its evidence captured."""
    settings = for_db_root(Settings(state_dir=str(tmp_path / "state")), str(database.root))
    made = Engine(settings)
    plan = made.plan("capture-evidence")
    assert made.run(plan, plan.confirmation).outcome is Outcome.DONE
    return made


def _watched(running: RunningAction) -> tuple[RunResult, list[Progress]]:
    progress: list[Progress] = []
    deadline = time.monotonic() + _PATIENCE
    while (result := running.result()) is None:
        assert time.monotonic() < deadline
        progress += running.poll()
        time.sleep(0.02)
    return result, progress + running.poll()


def _files(database: DatabaseRoot) -> dict[str, bytes]:
    return {str(p.relative_to(database.db)): p.read_bytes() for p in sorted(database.db.rglob("*")) if p.is_file()}


def _restore(engine: Engine) -> Plan:
    plan = engine.plan("restore-sequencer", TABLE)
    assert plan.needed, plan
    assert not plan.refused, plan.refused
    return plan


def test_launched_taken_back_and_done_again(
    engine: Engine, database: DatabaseRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.recovery.process.child_process.terminal", lambda: "/dev/pts/7")
    before = _files(database)
    plan = _restore(engine)
    done, progress = _watched(launch(engine, plan, plan.confirmation))
    assert done.outcome is Outcome.DONE, done
    assert [p.stage for p in progress if p.state == "done"] == [stage.id for stage in plan.stages]
    entry = engine.journal.entry(done.entry)
    assert entry.worker.data["terminal"] == "/dev/pts/7"
    assert f"walmedic run restore-sequencer {TABLE} --plan {plan.plan_id}" in entry.worker.data["command"]

    back = engine.plan_undo(done.entry)
    undone, progress = _watched(launch(engine, back, back.confirmation, undoes=done.entry))
    assert undone.outcome is Outcome.DONE, undone
    # What the action itself had told in the same folder is not told again.
    assert [p.stage for p in progress if p.state == "done"] == [stage.id for stage in back.stages]
    assert _files(database) == before
    entry = engine.journal.entry(done.entry)
    assert entry.outcome is not None
    assert entry.outcome["outcome"] == "done"
    assert engine.unfinished() == ()
    assert [r.code for r in engine.plan_undo(done.entry).refused] == ["already-undone"]

    again = _restore(engine)
    second, _ = _watched(launch(engine, again, again.confirmation))
    assert second.outcome is Outcome.DONE, second
    assert second.entry != done.entry


def test_a_void_plan_and_a_wrong_phrase_come_back_as_their_sentence(engine: Engine, database: DatabaseRoot) -> None:
    plan = _restore(engine)
    wrong, _ = _watched(launch(engine, plan, f"{TABLE} lose 7"))
    assert wrong.outcome is Outcome.REFUSED
    assert "type exactly" in wrong.message
    backup = database.table(TABLE).path / "txn_seq.backup.20251110_032600" / "_wal_index.d"
    os.utime(backup, (1, 1))
    backup.write_bytes(backup.read_bytes()[:-1] + b"\1")
    void, _ = _watched(launch(engine, plan, plan.confirmation))
    assert void.outcome is Outcome.REFUSED
    assert engine.unfinished() == ()


_HOLDER = """
import sys, time
from console.recovery.engine import Engine
from console.recovery.store.locks import StationLock
from console.settings import Settings, for_db_root
engine = Engine(for_db_root(Settings(state_dir=sys.argv[1]), sys.argv[2]))
StationLock(engine.state, engine.database.db).acquire("restoring")
{journalled}
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("resumed", [False, True])
def test_what_runs_is_found_by_its_process_and_what_died_is_not(engine: Engine, resumed: bool) -> None:
    """A killed run leaves its entry; whoever goes on with it is found, and gone once it is dead."""
    plan = _restore(engine)
    assert attach(engine) is None
    killed = _killed_in_a_stage(engine, plan)
    journalled = f"engine.journal.resume({killed!r})" if resumed else ""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _HOLDER.format(journalled=journalled),
            str(engine.state.root),
            str(engine.database.root),
            *("-m", "console"),  # what a run is known by
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        found = attach(engine)
        if not resumed:
            assert found is None  # it works on something else: the entry is a dead one's
            return
        assert found is not None
        assert (found.entry.id, found.plan.plan_id, found.running.pid) == (killed, plan.plan_id, holder.pid)
        assert found.running.result() is None
        assert [p.stage for p in found.running.poll()][:1] == [plan.stages[0].id]
        holder.kill()
        deadline = time.monotonic() + _PATIENCE
        # Not yet reaped by its parent: a zombie is dead.
        while (result := found.running.result()) is None:
            assert time.monotonic() < deadline
        assert result.outcome is Outcome.UNFINISHED
        assert attach(engine) is None
    finally:
        holder.kill()
        holder.communicate()


def test_a_later_process_of_the_same_id_is_not_the_run(engine: Engine) -> None:
    """The run's process ended, and its id went to another walmedic: the entry is cut off, not at work."""
    plan = _restore(engine)
    killed = _killed_in_a_stage(engine, plan)
    worker = engine.journal.entry(killed).worker.data
    rehearsals = engine.state.made(engine.state.root / "rehearsals" / f"plan-{plan.plan_id}")
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)", "-m", "console"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as later:
        try:
            assert later.stdout is not None
            later.stdout.readline()
            assert runs_walmedic(later.pid, process_stamp(later.pid))
            running = RunningAction(engine, later.pid, entry=killed, stamp=worker["stamp"])
            result = running.result()
            assert result is not None
            assert result.outcome is Outcome.UNFINISHED
            for stamp, alive in ((worker["stamp"], False), (process_stamp(later.pid), True)):
                (rehearsals / "pid").write_text(f"{later.pid} {stamp}")
                rehearsal = rehearsal_of(engine, plan)
                assert rehearsal is not None
                assert rehearsal.alive is alive
        finally:
            later.kill()
    assert not runs_walmedic(later.pid, process_stamp(later.pid))


def test_a_cut_off_run_is_finished_in_a_process_and_says_how(engine: Engine) -> None:
    plan = _restore(engine)
    killed = _killed_in_a_stage(engine, plan)
    finish = engine.plan(plan.action, TABLE)
    assert any(f"entry {killed} was cut off" in warning for warning in finish.warnings)
    step = engine.first_step()
    assert step is not None
    assert (step.action, step.table) == ("restore-sequencer", TABLE)
    open_now = [each.spec.id for each in engine.availability(TABLE) if each.open]
    assert open_now == ["restore-sequencer"]
    result, progress = _watched(launch(engine, finish, finish.confirmation))
    assert (result.outcome, result.entry) == (Outcome.DONE, killed), result
    assert [p.stage for p in progress if p.state == "done"][-1] == plan.stages[-1].id
    assert engine.journal.entry(killed).worker.kind == "resumed"


def test_a_rehearsal_that_ended_is_read_by_a_later_console(engine: Engine) -> None:
    plan = _restore(engine)
    proven = (Claim(ClaimKey.ROWS, "rows", "8", "8", ok=True), Claim(ClaimKey.MAX, "newest row", "5", "4", ok=False))
    ended = Rehearsal("20261123-1", plan, RehearsalOutcome.FAILED, "rows differ", proven, 27.5, None, ("a view",))
    assert rehearsal_of(engine, plan) is None
    folder = engine.state.made(engine.state.root / "rehearsals" / f"plan-{plan.plan_id}")
    (folder / "pid").write_text("999999999")
    (folder / "stdout").write_text(json.dumps(ended.to_json()))
    (folder / "stderr").write_text("")
    found = rehearsal_of(engine, plan)
    assert found is not None
    assert not found.alive
    result = found.result()
    assert result is not None
    assert (result.outcome, result.message, result.verification) == (ended.outcome, "rows differ", proven)
    # What could not be done at all leaves its last words.
    (folder / "stdout").write_text("")
    (folder / "stderr").write_text('{"entry": "x"}\nwalmedic: there is no Java on PATH\n')
    refused = found.result()
    assert refused is not None
    assert (refused.outcome, refused.message) == (RehearsalOutcome.REFUSED, "there is no Java on PATH")


def _killed_in_a_stage(engine: Engine, plan: Plan) -> str:
    """Run the plan in a child that kills itself when the second stage begins; return the entry."""
    pid = os.fork()
    if not pid:
        try:
            engine.run(
                plan,
                plan.confirmation,
                lambda progress: os.kill(os.getpid(), signal.SIGKILL) if progress.stage == plan.stages[1].id else None,
            )
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    (cut_off,) = engine.unfinished()
    return cut_off.id


def test_check_says_first_what_was_cut_off(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    """Else it takes what the action had begun to build for a backup, or says that all is well."""
    killed = _killed_in_a_stage(engine, _restore(engine))
    root, state = str(engine.database.root), str(engine.state.root)
    assert cli.main(["check", TABLE, "--json", "--db-root", root, "--state-dir", state]) == 1
    report = json.loads(capfd.readouterr().out)
    said = [each["message"] for each in report["findings"] if each["code"] == "entry-unfinished"]
    assert len(said) == 1
    assert killed in said[0]
    step = report["tables"][0]["next_step"]
    assert step["action"] == "restore-sequencer"
    assert f"entry {killed}" in step["reason"]

"""The way back once a server has started on a repair: the evidence, with the rows taken since as its announced cost."""

import errno
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine, PlanChangedError, WrongPhraseError
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.faults.broken_database import ACTIONS, ROWS, captured, tree_of, wait_until_rows
from tests.faults.interposed import KILLS, failing, interposed, killed_in_child

# Of the kills of each repair (test_kill.py), so many more for its undo.
_KILLS = max(3, KILLS // 4)
_SINCE = 3  # rows that the server takes in each table after the repair


def _repaired(root: Path, state: Path, action: str) -> tuple[Engine, str]:
    """Capture and repair one table; return the engine and the entry of the repair."""
    engine = captured(root, state, ACTIONS[action])
    plan = engine.plan(action, ACTIONS[action])
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    return engine, result.entry


@pytest.fixture(scope="module")
def started(master: Path, questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All tables repaired, applied by a server that took a few more rows and purged, stopped again."""
    work = tmp_path_factory.mktemp("started")
    shutil.copytree(master, work / "root")
    for action in ACTIONS:
        _repaired(work / "root", work / "state", action)
    with PrivateServer(work / "root", questdb, settings={"cairo.wal.purge.interval": "200"}) as server:
        wait_until_rows(server, ROWS)
        for table in ACTIONS.values():
            for number in range(_SINCE):  # one into a partition of before, the others into new ones
                server.query(f"INSERT INTO {table} (ts, v) VALUES ('2024-01-0{4 + number}T12:00:00', {100 + number})")
        wait_until_rows(server, ROWS + _SINCE)
    yield work / "root"
    shutil.rmtree(work)


def _case(action: str, master: Path, started: Path, folder: Path) -> tuple[Engine, str]:
    """A copy of the broken database, one table of it repaired and then as the server left it."""
    shutil.copytree(master, folder / "root")
    engine, entry = _repaired(folder / "root", folder / "state", action)
    table = engine.database.table(ACTIONS[action]).path
    shutil.rmtree(table)
    shutil.copytree(started / "db" / table.name, table)
    return engine, entry


def _without_aside(tree: dict[str, tuple[str, int, int, int]]) -> dict[str, tuple[str, int, int, int]]:
    """Leave out what was moved aside, and modes of WAL locks (empty files that a server makes anew)."""
    return {path: content for path, content in tree.items() if "since.walmedic-MARK.old" not in path}


def _undo(engine: Engine, entry: str) -> Outcome:
    return engine.undo(entry, engine.plan_undo(entry).confirmation).outcome


@pytest.mark.parametrize("action", ACTIONS)
def test_the_table_is_as_the_evidence_has_it(action: str, master: Path, started: Path, tmp_path: Path) -> None:
    original = tree_of(master)
    engine, entry = _case(action, master, started, tmp_path)
    table = ACTIONS[action]
    before = tree_of(tmp_path / "root")
    plan = engine.plan_undo(entry)
    assert plan.refused == ()
    assert plan.confirmation == f"{table} lose {_SINCE}"
    assert "moved aside" in plan.why
    assert tree_of(tmp_path / "root") == before
    with pytest.raises(WrongPhraseError, match=f"type exactly: {table} lose {_SINCE}"):
        engine.undo(entry, f"{table} lose 0")
    result = engine.undo(entry, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert [claim.ok for claim in result.verification] == [True]
    after = tree_of(tmp_path / "root")
    assert _without_aside(after) == original
    aside = {path.split("since.walmedic-MARK.old/")[1] for path in after if "since.walmedic-MARK.old/" in path}
    assert {"_txn", "txn_seq/_txnlog"} <= aside
    assert any(path.startswith("2024-01-05") and path.endswith("/v.d") for path in aside)  # a partition taken since
    assert {r.code for r in engine.plan_undo(entry).refused} == {"already-undone"}
    again = engine.plan(action, table)  # the evidence counts: the table is as it has it
    assert again.refused == ()
    assert again.confirmation.startswith(f"{table} lose 0")
    assert engine.run(again, again.confirmation).outcome is Outcome.DONE


def test_evidence_that_was_edited_or_partly_removed_is_not_put_back(
    master: Path, started: Path, tmp_path: Path
) -> None:
    engine, entry = _case("rebuild-sequencer", master, started, tmp_path)
    plan = engine.plan_undo(entry)
    assert not plan.refused
    before = tree_of(tmp_path / "root")
    inside = engine.database.table(ACTIONS["rebuild-sequencer"]).directory
    victim = next((engine.state.evidence).glob(f"*/db/{inside}/wal*/0/_event"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + b"\1")
    assert not engine.plan_undo(entry).refused  # its size is right, and a plan reads no content
    assert engine.undo(entry, plan.confirmation).outcome is Outcome.REFUSED
    victim.unlink()
    assert {refusal.code for refusal in engine.plan_undo(entry).refused} == {"evidence-damaged"}
    assert engine.unfinished() == ()
    assert tree_of(tmp_path / "root") == before
    victim.write_bytes(whole)
    assert engine.undo(entry, plan.confirmation).outcome is Outcome.DONE


@pytest.mark.parametrize("action", ACTIONS)
def test_an_undo_killed_anywhere_is_finished(action: str, master: Path, started: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    original = tree_of(master)
    engine, entry = _case(action, master, started, tmp_path / "whole")
    with interposed(lambda number, call: None) as made:
        _undo(engine, entry)
    calls = len(made.names)
    instants = [(at, done) for at in range(calls) for done in (False, True)]
    # Nearly all is in place again before the last rename, so that the table can be taken for one no server has written.
    last = (calls - 1 - made.names[::-1].index("rename"), False)
    for at, done in instants if len(instants) <= _KILLS else [last, *rng.sample(instants, _KILLS)]:
        label = f"seed {seed}: call {at} of {calls}, {done}"
        case = tmp_path / f"{at}-{done}"
        engine, entry = _case(action, master, started, case)
        evidence = tree_of(case / "state" / "evidence")
        assert killed_in_child(partial(_undo, engine, entry), at, done=done), label
        if rng.random() < 0.3 and engine.unfinished():
            killed_in_child(partial(_undo, engine, entry), rng.randrange(30), done=False)
        refused = {refusal.code for refusal in engine.plan_undo(entry).refused}
        assert refused in (set(), {"already-undone"}), label
        if not refused:
            assert _undo(engine, entry) is Outcome.DONE, label
        assert _without_aside(tree_of(case / "root")) == original, label
        assert engine.unfinished() == (), label
        assert engine.journal.verify() == (), label
        assert tree_of(case / "state" / "evidence") == evidence, label
        shutil.rmtree(case)


def test_an_error_takes_the_undo_back(master: Path, started: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    engine, entry = _case("rebuild-sequencer", master, started, tmp_path / "whole")
    with interposed(lambda number, call: None) as made:
        _undo(engine, entry)
    calls = len(made.names)
    # The comparison removes the empty directory of what was fetched: what fails just after that needs it again.
    removed = calls - 1 - made.names[::-1].index("rmdir")
    chosen = range(calls) if KILLS >= 500 else rng.sample(range(calls), 3)
    for at in {removed + 1, removed + 4, *chosen}:
        case = tmp_path / str(at)
        engine, entry = _case("rebuild-sequencer", master, started, case)
        before = tree_of(case / "root")

        plan = engine.plan_undo(entry)
        with interposed(failing(at, errno.ENOSPC)):
            try:
                outcome: Outcome | None = engine.undo(entry, plan.confirmation).outcome
            except WalmedicError:  # the journal itself: what it holds may be the end all the same
                last = engine.journal.entries()[-1]
                outcome = Outcome(last.outcome["outcome"]) if last.id != entry and last.outcome is not None else None
        while engine.unfinished():
            outcome = _undo(engine, entry)
        label = f"seed {seed}: call {at} of {calls}: {outcome}"
        if outcome is Outcome.DONE:
            assert _without_aside(tree_of(case / "root")) == _without_aside(tree_of(tmp_path / "whole" / "root")), label
        else:
            assert outcome in (None, Outcome.ROLLED_BACK, Outcome.REFUSED), label
            assert tree_of(case / "root") == before, label
            again = engine.plan_undo(entry)  # what the server has taken since is announced as before
            assert (again.refused, again.confirmation) == ((), plan.confirmation), label
        shutil.rmtree(case)


def test_what_the_evidence_only_lists_must_be_unchanged(started: Path, tmp_path: Path) -> None:
    """No segment is left there that touches the old partitions, so that evidence only lists them."""
    shutil.copytree(started, tmp_path / "root")
    table = DatabaseRoot.locate(tmp_path / "root").table("gone").path
    shutil.rmtree(table / "txn_seq")
    engine, entry = _repaired(tmp_path / "root", tmp_path / "state", "rebuild-sequencer")
    with (table / "_txn").open("r+b") as stream:  # as if a server had written
        stream.write(stream.read(1))
    assert engine.plan_undo(entry).refused == ()
    listed = next(path for path in sorted(table.glob("2024-*/v.d")))
    listed.write_bytes(listed.read_bytes() + b"x")
    before = tree_of(tmp_path / "root")
    plan = engine.plan_undo(entry)
    assert {refusal.code for refusal in plan.refused} == {"evidence-incomplete"}
    assert str(listed.relative_to(table)) in plan.refused[0].reason
    assert engine.undo(entry, plan.confirmation).outcome is Outcome.REFUSED
    assert tree_of(tmp_path / "root") == before


def test_a_plan_of_before_a_change_is_void(master: Path, started: Path, tmp_path: Path) -> None:
    engine, entry = _case("rebuild-sequencer", master, started, tmp_path)
    plan = engine.plan_undo(entry)
    real = engine.plan_undo

    def planned_earlier(name: str) -> object:
        assert name == entry
        return plan

    (engine.database.table("gone").path / "2024-01-09").mkdir()
    (engine.database.table("gone").path / "2024-01-09" / "v.d").write_bytes(b"new")
    before = tree_of(tmp_path / "root")
    engine.plan_undo = planned_earlier  # type: ignore[assignment,method-assign]
    with pytest.raises(PlanChangedError):
        engine.undo(entry, plan.confirmation)
    engine.plan_undo = real  # type: ignore[method-assign]
    assert tree_of(tmp_path / "root") == before


def test_two_repairs_on_one_capture_go_back_by_the_first(started: Path, tmp_path: Path) -> None:
    shutil.copytree(started, tmp_path / "root")
    table = DatabaseRoot.locate(tmp_path / "root").table("reused").path
    (table / "txn_seq" / "_wal_index.d").write_bytes(bytes(4096))
    with (table / "txn_seq" / "_txnlog").open("r+b") as stream:
        stream.seek(4)
        stream.write((5_000).to_bytes(8, "little"))
    damaged = tree_of(table)
    engine = captured(tmp_path / "root", tmp_path / "state", "reused")
    entries = []
    for action in ("raise-wal-index", "repair-log"):
        plan = engine.plan(action, "reused")
        result = engine.run(plan, plan.confirmation)
        assert result.outcome is Outcome.DONE, result
        entries.append(result.entry)
    (table / "_txn").touch()  # as if a server had written
    (refusal,) = engine.plan_undo(entries[1]).refused
    assert (refusal.code, refusal.instead) == ("moved-on", f"walmedic undo {entries[0]}, which takes both back")
    assert f"undone with it: {entries[1]}" in engine.plan_undo(entries[0]).warnings[0]
    assert _undo(engine, entries[0]) is Outcome.DONE
    assert _without_aside(tree_of(table)) == damaged
    assert {r.code for entry in entries for r in engine.plan_undo(entry).refused} == {"already-undone"}

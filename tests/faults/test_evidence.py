"""Evidence: whole, resumable, compared set by set, never with secrets; and the way back of each repair."""

import fcntl
import json
import os
import random
import re
import shutil
from functools import partial
from pathlib import Path

import pytest

from console.errors import WalmedicError
from console.recovery import execution
from console.recovery.actions.capture_evidence import capture as evidence
from console.recovery.engine import Engine
from console.recovery.evidence.selection import touched_partitions
from console.recovery.evidence.verification import verify_capture
from console.recovery.model import Outcome, Progress
from console.recovery.store.copying import CopyError, copy_out
from tests.faults.broken_database import ACTIONS, captured, settings_of, take_back, tree_of
from tests.faults.interposed import Kills, killed_in_child


def _capture(engine: Engine) -> None:
    plan = engine.plan("capture-evidence")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE


def test_a_capture_holds_every_sequencer_segment_and_touched_partition(root: Path, engine: Engine) -> None:
    folder = next((engine.state.evidence).iterdir())
    original = root / "db"
    for table in ACTIONS.values():
        directory = engine.database.table(table)
        inside = [p for p in directory.path.rglob("*") if p.is_file()]
        wanted = [p for p in inside if p.relative_to(directory.path).parts[0].startswith(("txn_seq", "wal", "_"))]
        assert len(wanted) > 10
        for path in wanted:
            assert (folder / "db" / path.relative_to(original)).read_bytes() == path.read_bytes()
        # Without _txn nothing says what unapplied rows touch: all are taken.
        partitions = touched_partitions(directory) or {each.name for each in directory.path.glob("2024-*")}
        assert partitions <= {each.name for each in (folder / "db" / directory.directory).iterdir()}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {item["mode"] for item in manifest["files"]} >= {0o644}
    assert not manifest["live"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))


def test_a_copy_from_under_a_living_server_opens_no_repair(root: Path, tmp_path: Path) -> None:
    engine = Engine(settings_of(root, tmp_path / "state"))
    with engine.database.lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "a server may be writing meanwhile" in engine.plan("capture-evidence").warnings[0]
        _capture(engine)
    (refusal,) = engine.plan("rebuild-sequencer", "gone").refused
    assert refusal.code == "no-evidence"
    assert "while a server lived" in refusal.reason


def test_copies_of_a_sequencer_are_set_side_by_side(root: Path, tmp_path: Path) -> None:
    engine = Engine(settings_of(root, tmp_path / "state"))
    table = engine.database.table("outrun")
    for name in ("txn_seq.backup.20251110_032030", "txn_seq.corrupted.20251110_032025"):
        shutil.copytree(table.sequencer, table.path / name)
    (table.path / "txn_seq.backup.20251110_032030" / "_txnlog").write_bytes(b"other")
    _capture(engine)
    folder = next(engine.state.evidence.iterdir())
    document = json.loads((folder / "manifest.json").read_text())["sequencers"][table.directory]
    assert len(document["sets"]) == 3
    assert document["same"]["_txnlog"] == [["txn_seq", "txn_seq.corrupted.20251110_032025"]]
    assert len(document["same"]["_meta"][0]) == 3


def test_a_changed_copy_is_found(engine: Engine) -> None:
    folder = next(engine.state.evidence.iterdir())
    assert verify_capture(folder).ok
    victim = random.choice([p for p in (folder / "db").rglob("*") if p.is_file() and p.stat().st_size])
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    claim = verify_capture(folder)
    assert not claim.ok
    assert str(victim.relative_to(folder)) in claim.found


def test_a_killed_capture_goes_on_where_it_stopped(root: Path, tmp_path: Path) -> None:
    engine = Engine(settings_of(root, tmp_path / "state"))
    before = tree_of(root)
    assert killed_in_child(partial(_capture, engine), 400, done=False)
    (cut_off,) = engine.unfinished()
    half = engine.state.evidence / cut_off.id
    copied = {p: p.stat().st_ino for p in (half / "db").rglob("*") if p.is_file()}
    noted = len((half / "copied.jsonl").read_text().splitlines())
    assert noted > 3
    assert engine.plan("rebuild-sequencer", "gone").refused != ()  # what is not whole counts for nothing
    _capture(engine)
    assert engine.unfinished() == ()
    assert verify_capture(half).ok
    kept = sum(p.stat().st_ino == inode for p, inode in copied.items() if p.exists())
    assert kept >= noted - 1
    assert tree_of(root) == before


def test_a_note_of_a_copy_that_is_gone_is_void_before_it_is_copied_anew(root: Path, tmp_path: Path) -> None:
    """A power loss took its name and not the note; a second one may then leave half of the new copy under that name."""
    engine = Engine(settings_of(root, tmp_path / "state"))
    assert killed_in_child(partial(_of_one_table, engine), 250, done=False)
    half = engine.state.evidence / engine.unfinished()[0].id
    noted = [json.loads(line)["path"] for line in (half / "copied.jsonl").read_text().splitlines()]
    gone = noted[len(noted) // 2]
    (half / gone).unlink()
    number = 0
    while not (half / gone).exists():  # killed with it made, and not noted
        number += 1
        assert killed_in_child(partial(_of_one_table, engine), number, done=True)
    kept = [json.loads(line)["path"] for line in (half / "copied.jsonl").read_text().splitlines()]
    assert kept == [path for path in noted if path != gone]
    os.truncate(half / gone, 0)  # a small file may have its content by then
    _of_one_table(engine)
    assert verify_capture(half).ok


def _of_one_table(engine: Engine) -> None:
    plan = engine.plan("capture-evidence", "outrun")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE


def _contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a finished capture; the manifest and the list that it is made of left out."""
    manifest = json.loads((folder / "manifest.json").read_text())
    assert verify_capture(folder).ok
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    document: dict[str, str] = {item["path"]: item["sha256"] for item in manifest["files"]}
    assert there == {*document, "manifest.json", "copied.jsonl"}
    return document


def test_a_capture_killed_at_any_instant_is_finished_or_taken_back(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_LEAST_PAUSE", 0.0)  # else how many lines it writes goes by the time that it takes
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    before = tree_of(root)
    first = Engine(settings_of(root, tmp_path / "undisturbed"))
    kills = Kills(partial(_of_one_table, first), rng)
    whole = _contents(next(first.state.evidence.iterdir()))
    while not kills.enough:
        engine = Engine(settings_of(root, tmp_path / "state"))
        kills.next(partial(_of_one_table, engine))
        label = f"seed {seed}: {kills.description}"
        if (cut_off := engine.unfinished()) and rng.random() < 0.5:
            undo = partial(engine.undo, cut_off[0].id, engine.plan_undo(cut_off[0].id).confirmation)
            killed_in_child(undo, rng.randrange(60), done=False)
            take_back(engine)
            folder = engine.state.evidence / cut_off[0].id  # gone, unless it was whole
            assert not folder.exists() or _contents(folder) == whole, label
        else:
            _of_one_table(engine)
            for folder in engine.state.evidence.iterdir():
                assert _contents(folder) == whole, label
        assert engine.unfinished() == (), label
        assert engine.journal.verify() == (), label
        shutil.rmtree(tmp_path / "state")
    assert tree_of(root) == before, f"seed {seed}"


def test_a_capture_stops_before_it_takes_the_room_of_others(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was free when the plan was made is not, some files later: the backlog grows meanwhile."""
    engine = Engine(settings_of(root, tmp_path / "state"))
    plan = engine.plan("capture-evidence")
    left = iter(range(26, -1, -1))
    monkeypatch.setattr(evidence, "free_space", lambda path: (next(left) << 20, 20 << 20))
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.ROLLED_BACK
    assert "20,971,520 bytes free" in result.message
    assert "20,971,520 stay free" in result.message
    assert list(engine.state.evidence.iterdir()) == []


def test_bytes_and_the_time_left_are_reported(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_LEAST_PAUSE", 0.0)
    engine = Engine(settings_of(root, tmp_path / "state"))
    assert killed_in_child(partial(_of_one_table, engine), 250, done=False)
    document: list[Progress] = []
    plan = engine.plan("capture-evidence", "outrun")
    assert engine.run(plan, plan.confirmation, document.append).outcome is Outcome.DONE
    copying = [each for each in document if each.total is not None]
    assert (copying[0].done or 0) > (copying[0].total or 0) / 3  # what the killed attempt copied is done
    assert [each.done for each in copying] == sorted(each.done or 0 for each in copying)
    assert copying[-1].done == copying[-1].total
    assert all(re.search(r", about \d+ s left$", each.message) for each in copying)


def test_a_state_directory_inside_the_database_is_refused(root: Path, tmp_path: Path) -> None:
    before = tree_of(root)
    (tmp_path / "link").symlink_to(root / "db")
    for place in (root / "state", root / "db" / "state", tmp_path / "link" / "deep" / "state"):
        with pytest.raises(WalmedicError, match="lies inside the database root"):
            Engine(settings_of(root, place))
    Engine(settings_of(root / "db", root / "state"))  # beside db, which is what was named
    assert tree_of(root) == before


def test_what_changes_while_it_is_copied_is_not_evidence(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(10 << 20))

    def grow(count: int) -> None:
        with source.open("ab") as stream:
            stream.write(b"x")

    with pytest.raises(CopyError, match="changed while it was copied"):
        copy_out(source, tmp_path / "target", "source", grow)


def test_a_link_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic link"):
        copy_out(tmp_path / "link", tmp_path / "target", "link")
    assert not (tmp_path / "target").exists()


def test_secrets_stay_where_they_are(root: Path, tmp_path: Path) -> None:
    canary = "CANARY-4711"
    configuration = root / "conf" / "server.conf"
    with configuration.open("a") as stream:
        stream.write(f"pg.password={canary}\nacl.oidc.client.secret = {canary}\n#pg.user=x\nhttp.user=joe\n")
    _capture(Engine(settings_of(root, tmp_path / "state")))
    everything = [p.read_bytes() for p in (tmp_path / "state").rglob("*") if p.is_file()]
    assert any(b"http.user=joe" in content for content in everything)
    assert not any(canary.encode() in content for content in everything)


@pytest.mark.parametrize("action", ACTIONS)
def test_each_repair_is_taken_back_byte_for_byte(action: str, root: Path, tmp_path: Path) -> None:
    original = tree_of(root)
    engine = captured(root, tmp_path / "state", ACTIONS[action])
    plan = engine.plan(action, ACTIONS[action])
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE
    assert tree_of(root) != original
    back = engine.plan_undo(result.entry)
    assert back.confirmation == f"{ACTIONS[action]} lose 0"
    undone = engine.undo(result.entry, back.confirmation)
    assert undone.outcome is Outcome.DONE
    assert tree_of(root) == original
    assert {r.code for r in engine.plan_undo(result.entry).refused} == {"already-undone"}
    again = engine.plan(action, ACTIONS[action])  # the evidence still counts: only we changed the table
    assert again.refused == ()
    assert engine.run(again, again.confirmation).outcome is Outcome.DONE


def test_an_undo_is_refused_once_the_world_has_moved_on_and_no_evidence_is_left(engine: Engine) -> None:
    plan = engine.plan("rebuild-sequencer", "gone")
    result = engine.run(plan, plan.confirmation)
    with (engine.database.table("gone").path / "_txn").open("r+b") as stream:
        stream.write(stream.read(1))
    shutil.rmtree(engine.state.evidence)
    before = tree_of(engine.database.root)
    refused = engine.undo(result.entry, "gone lose 0")
    assert refused.outcome is Outcome.REFUSED
    assert "QuestDB has changed the table" in refused.message
    assert tree_of(engine.database.root) == before

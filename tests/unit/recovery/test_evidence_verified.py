"""Evidence that was edited or partly removed carries no run: it is refused, and capturing again opens the way."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.recovery.evidence.index import EvidenceIndex
from console.recovery.model import Outcome, Progress
from console.recovery.store.places import root_key
from console.settings import Settings, for_db_root
from tests.data.samples import sample_database

TABLE = "altered"


def _capture(engine: Engine) -> Path:
    plan = engine.plan("capture-evidence")
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE
    return engine.state.evidence / result.entry


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine on a database without a sequencer in place."""
    root = sample_database("v1", tmp_path / "root")
    (root.db / "tables.d.lock").touch()
    sequencer = root.table(TABLE).sequencer
    sequencer.rename(sequencer.with_name("txn_seq.backup.20251110_032600"))
    return Engine(for_db_root(Settings(state_dir=str(tmp_path / "state")), str(root.root)))


def _index(engine: Engine) -> EvidenceIndex:
    return EvidenceIndex(engine.state, root_key(engine.database.db), engine.journal)


def _table_files(engine: Engine, folder: Path) -> list[Path]:
    inside = folder / "db" / engine.database.table(TABLE).directory
    return sorted(path for path in inside.rglob("*") if path.is_file() and path.stat().st_size)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _link(path: Path) -> None:
    aside = path.with_name("aside")
    path.rename(aside)
    path.symlink_to(aside)


@pytest.mark.parametrize("spoil", [_flip, _cut, Path.unlink, _link], ids=["a bit", "a byte short", "gone", "a link"])
def test_a_file_that_is_not_as_it_was_captured_stops_the_run(engine: Engine, spoil: Callable[[Path], None]) -> None:
    folder = _capture(engine)
    before = engine.plan("restore-sequencer", TABLE)
    assert not before.refused
    seed = random.randrange(1 << 30)
    spoil(random.Random(seed).choice(_table_files(engine, folder)))
    result = engine.run(before, before.confirmation)
    assert result.outcome is Outcome.REFUSED, seed
    assert str(folder) in result.message
    assert result.message.endswith("instead: capture-evidence")
    assert not engine.database.table(TABLE).sequencer.exists()
    _capture(engine)
    again = engine.plan("restore-sequencer", TABLE)
    assert engine.run(again, again.confirmation).outcome is Outcome.DONE


def test_of_captures_within_one_second_the_last_counts(engine: Engine) -> None:
    made = [_capture(engine).name for _ in range(6)]
    for name in made:
        folder = engine.state.evidence / name
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | {"at": "2026-01-01T00:00:00+00:00"}))
    assert [capture.id for capture in _index(engine).captures()] == made


def test_a_directory_taken_out_or_an_edited_manifest_is_refused_by_the_plan(engine: Engine) -> None:
    folder = _capture(engine)
    manifest = folder / "manifest.json"
    whole = manifest.read_bytes()
    edited = json.loads(whole)
    edited["files"] = [item for item in edited["files"] if not item["path"].endswith("/_txnlog")]
    manifest.write_text(json.dumps(edited))
    assert _codes(engine) == {"evidence-damaged"}
    manifest.write_bytes(whole)
    assert _codes(engine) == set()
    shutil.rmtree(folder / "db" / engine.database.table(TABLE).directory / "wal1")
    assert _codes(engine) == {"evidence-damaged"}


def _codes(engine: Engine) -> set[str]:
    return {refusal.code for refusal in engine.plan("restore-sequencer", TABLE).refused}


def test_what_is_damaged_of_another_table_does_not_matter_and_an_older_whole_capture_serves(engine: Engine) -> None:
    folder = _capture(engine)
    other = next(p for p in (folder / "db").iterdir() if p.is_dir() and not p.name.startswith(TABLE))
    shutil.rmtree(other)
    assert _codes(engine) == set()
    shutil.rmtree(_capture(engine) / "db" / engine.database.table(TABLE).directory)
    plan = engine.plan("restore-sequencer", TABLE)
    progress: list[Progress] = []
    assert engine.run(plan, plan.confirmation, progress.append).outcome is Outcome.DONE
    read = [each for each in progress if each.stage == "evidence"]
    assert read
    assert read[-1].done == read[-1].total


@pytest.mark.parametrize("name", ["_txn", "_meta", "_cv", "wal1/0/_event"])
def test_a_byte_that_changed_since_is_seen_though_the_time_was_put_back(engine: Engine, name: str) -> None:
    _capture(engine)
    assert _codes(engine) == set()
    path = engine.database.table(TABLE).path / name
    status, content = path.stat(), path.read_bytes()
    with path.open("r+b") as stream:
        stream.seek(random.Random(len(content)).randrange(len(content)))
        at = stream.tell()
        stream.write(bytes([content[at] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "no-evidence" in _codes(engine)

"""Bad input and bad circumstances from the command line: one sentence, the right exit code, nothing changed."""

import fcntl
import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.cli import run as command_line
from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.gate import policy
from console.recovery.gate.start_checks import start_refusals
from tests.faults.broken_database import settings_of, tree_of


class Outcome:
    """Exit code, standard output and standard error of one command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def walmedic(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """The command line on the broken database."""

    def call(*arguments: str, db_root: Path = root) -> Outcome:
        capfd.readouterr()
        code = command_line([*arguments, "--db-root", str(db_root), "--state-dir", str(tmp_path / "state")])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


def _codes(outcome: Outcome) -> set[str]:
    return {refusal["code"] for refusal in outcome.document["refused"]}


_RUN = ("run", "rebuild-sequencer", "gone", "--json", "--confirm", "gone lose 0")


def test_no_evidence(walmedic: Callable[..., Outcome], root: Path) -> None:
    before = tree_of(root)
    planned, done = walmedic("plan", "rebuild-sequencer", "gone", "--json"), walmedic(*_RUN)
    assert (planned.code, done.code) == (8, 8)
    assert _codes(planned) == _codes(done) == {"no-evidence"}
    assert done.document["outcome"] == "refused"
    assert {r["instead"] for r in planned.document["refused"]} == {"capture-evidence"}
    assert tree_of(root) == before


def test_evidence_that_is_no_longer_true(walmedic: Callable[..., Outcome], root: Path, engine: Engine) -> None:
    with (engine.database.table("gone").path / "_txn").open("r+b") as stream:
        stream.write(stream.read(1))
    before = tree_of(root)
    refused = walmedic(*_RUN)
    assert (refused.code, _codes(refused)) == (8, {"no-evidence"})
    assert "has changed since its evidence was captured" in refused.out
    assert tree_of(root) == before


def test_wrong_phrase_and_no_phrase(walmedic: Callable[..., Outcome], root: Path, engine: Engine) -> None:
    before = tree_of(root)
    for wrong in ("gone lose 1", "yes", "", "GONE LOSE 0", "gone  lose", "saved lose 0"):
        refused = walmedic("run", "rebuild-sequencer", "gone", "--json", "--confirm", wrong)
        assert refused.code == 16
        assert "type exactly: gone lose 0" in refused.err
    unconfirmed = walmedic("run", "rebuild-sequencer", "gone", "--json")
    assert unconfirmed.code == 8
    assert "--confirm 'gone lose 0'" in unconfirmed.err
    assert engine.journal.entries()[-1].action == "capture-evidence"
    assert tree_of(root) == before


def test_a_plan_that_is_no_longer_the_plan(walmedic: Callable[..., Outcome], root: Path, engine: Engine) -> None:
    before = tree_of(root)
    void = walmedic(*_RUN, "--plan", "0123456789abcdef")
    assert void.code == 8
    assert "its confirmation is void" in void.err
    assert void.document["plan_id"] == engine.plan("rebuild-sequencer", "gone").plan_id
    assert tree_of(root) == before


def test_a_living_server(walmedic: Callable[..., Outcome], root: Path, engine: Engine) -> None:
    before = tree_of(root)
    with engine.database.lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = walmedic(*_RUN)
        assert (refused.code, _codes(refused)) == (8, {"server-alive"})
        assert f"pid {os.getpid()}" in refused.document["message"]
    assert tree_of(root) == before


def test_no_lock_to_prove_anything_by(walmedic: Callable[..., Outcome], root: Path, engine: Engine) -> None:
    engine.database.lock.unlink()
    before = tree_of(root)
    refused = walmedic(*_RUN)
    assert (refused.code, _codes(refused)) == (8, {"server-unknown"})
    assert tree_of(root) == before


def test_a_process_with_files_open(walmedic: Callable[..., Outcome], root: Path, engine: Engine) -> None:
    before = tree_of(root)
    with (engine.database.table("gone").path / "_txn").open("r+") as opened:
        writer = subprocess.Popen(["sleep", "60"], stdin=opened)
        try:
            refused = walmedic(*_RUN)
        finally:
            writer.kill()
            writer.wait()
    assert (refused.code, _codes(refused)) == (8, {"files-open"})
    assert f"sleep (pid {writer.pid}) has files of gone open for writing" in refused.out
    assert tree_of(root) == before


def test_no_space(
    walmedic: Callable[..., Outcome], root: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.database.db == root.resolve() / "db"
    monkeypatch.setattr(policy, "free_space", lambda path: (1 << 20, 5 << 30))
    before = tree_of(root)
    refused = walmedic(*_RUN)
    assert (refused.code, _codes(refused)) == (8, {"disk-space"})
    assert tree_of(root) == before


def test_not_the_owner(
    walmedic: Callable[..., Outcome], root: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.database.db.is_dir()
    before = tree_of(root)
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    refused = walmedic(*_RUN)
    assert (refused.code, _codes(refused)) == (8, {"not-owner"})
    assert tree_of(root) == before


def test_a_root_that_is_none(walmedic: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for place in ("empty", "file", "not-there"):
        refused = walmedic(*_RUN, db_root=tmp_path / place)
        assert refused.code == 8
        assert str(tmp_path / place) in refused.err
        assert refused.err.count("\n") == 1
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("run", "rebuild-sequencer", "nobody", "--confirm", "x"), 8, "there is no table nobody"),
        (("run", "rebuild-sequencer", "--confirm", "x"), 8, "name it"),
        (("run", "drop-table", "gone", "--confirm", "x"), 8, "the actions are"),
        (("run",), 16, "Missing argument"),
        (("undo", "20200101-000000-abcdef", "--confirm", "x"), 8, "no entry"),
        (("plan", "rebuild-sequencer", "../../etc"), 8, "there is no table"),
    ],
)
def test_wrong_usage(
    walmedic: Callable[..., Outcome], root: Path, arguments: tuple[str, ...], code: int, word: str
) -> None:
    before = tree_of(root)
    refused = walmedic(*arguments)
    assert refused.code == code
    assert word in refused.err
    assert tree_of(root) == before


def test_links_under_the_root(walmedic: Callable[..., Outcome], root: Path, engine: Engine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    engine.database.table("gone").path.rename(outside)
    (engine.database.db / "gone~4").symlink_to(outside)
    directory = engine.database.table("saved").path
    index = engine.database.table("reused").sequencer / "_wal_index.d"
    index.rename(tmp_path / "index")
    index.symlink_to(tmp_path / "index")
    before, before_outside = tree_of(root), tree_of(outside)
    assert walmedic("run", "rebuild-sequencer", "gone", "--confirm", "gone lose 0").code == 8
    linked = walmedic("run", "raise-wal-index", "reused", "--json", "--confirm", "reused lose 0")
    assert linked.code == 8
    assert "unsafe-path" in _codes(linked)
    assert (tree_of(root), tree_of(outside)) == (before, before_outside)
    assert directory.is_dir()


def test_services_of_a_directory_that_has_none(walmedic: Callable[..., Outcome], root: Path) -> None:
    before = tree_of(root)
    for action in ("freeze-writer", "stop-server", "start-server", "thaw-writer"):
        refused = walmedic("run", action, "--json", "--confirm", f"{action} root")
        assert refused.code == 8
        assert "no-station" in _codes(refused)
    assert tree_of(root) == before


def test_a_journal_that_cannot_be_written(walmedic: Callable[..., Outcome], root: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no directory")
    before = tree_of(root)
    refused = walmedic("run", "capture-evidence", "--json", "--confirm", "capture-evidence root")
    assert (refused.code, _codes(refused) & {"journal-unwritable"}) == (8, {"journal-unwritable"})
    assert tree_of(root) == before


@pytest.mark.parametrize(
    ("max_txn", "codes"),
    [
        (1, {"log-below-applied", "purge-clock-not-empty", "wal-index-low"}),
        (4, {"purge-clock-not-empty", "wal-index-low"}),  # as many as are applied: the rest would go at the first sweep
        (6, {"purge-clock-not-empty", "wal-index-low"}),  # two would go once the two before them are applied
        (8, {"wal-index-low"}),
        (400, {"header-past-end", "wal-index-low"}),
    ],
)
def test_a_start_on_what_would_lose_rows_is_refused(root: Path, max_txn: int, codes: set[str]) -> None:
    database = DatabaseRoot.locate(root)
    with (database.table("reused").sequencer / "_txnlog").open("r+b") as stream:
        stream.seek(4)
        stream.write(struct.pack("<q", max_txn))
    context = Engine(settings_of(root, root.parent / "state"))._context()
    refusals = [r for r in start_refusals(context) if r.reason.startswith("reused:")]
    assert {refusal.code for refusal in refusals} == codes
    assert all("reused" in refusal.instead or "that table" in refusal.instead for refusal in refusals)


def test_hostile_names_are_shown_harmlessly(walmedic: Callable[..., Outcome], tmp_path: Path) -> None:
    for name in ("[/b]", "\x1b[2J", "'; DROP TABLE gone", "\u202egpj", "x" * 200, "a\nb"):
        refused = walmedic("plan", "repair-log", name)
        assert refused.code == 8
        assert "\x1b" not in refused.err
        assert "\u202e" not in refused.err
        assert refused.err.count("\n") == 1


def test_help_names_every_action_and_needs_no_database() -> None:
    from console.commands.recover import plan

    assert "ACTION" in CliRunner().invoke(plan, ["--help"]).output

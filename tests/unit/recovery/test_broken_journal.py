"""A journal that cannot be relied on stops every plan and run, and `walmedic journal` says so and does not exit 0."""

from collections.abc import Callable
from pathlib import Path

import pytest

from console import cli
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.settings import Settings, for_db_root
from tests.data.samples import sample_database

TABLE = "altered"

Tamper = Callable[[bytes], bytes]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine on a database without a sequencer in place; its evidence is captured, so a repair could be planned."""
    root = sample_database("v1", tmp_path / "root")
    (root.db / "tables.d.lock").touch()
    sequencer = root.table(TABLE).sequencer
    sequencer.rename(sequencer.with_name("txn_seq.backup.20251110_032600"))
    made = Engine(for_db_root(Settings(state_dir=str(tmp_path / "state")), str(root.root)))
    plan = made.plan("capture-evidence")
    assert made.run(plan, plan.confirmation).outcome is Outcome.DONE
    return made


@pytest.mark.parametrize(
    "tamper",
    [
        lambda whole: b"",
        lambda whole: b"junk",
        lambda whole: b"junk\n" * 3,
        lambda whole: b"x" + whole[1:],
        lambda whole: whole[: whole[:-1].rindex(b"\n") + 1],
        lambda whole: whole.replace(b"capture-evidence", b"capture-evidencE", 1),
    ],
    ids=["emptied", "junk", "junk lines", "first byte", "last line gone", "a word changed"],
)
def test_it_is_reported_and_nothing_is_done(
    engine: Engine, tamper: Tamper, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(engine.state.root.parent / "log"))
    before = engine.plan("restore-sequencer", TABLE)
    assert not before.refused
    path = engine.journal.path
    path.write_bytes(tamper(path.read_bytes()))
    left = path.read_bytes()
    refused = engine.plan("restore-sequencer", TABLE)
    assert "journal-broken" in {refusal.code for refusal in refused.refused}
    assert str(path) in next(refusal.reason for refusal in refused.refused if refusal.code == "journal-broken")
    assert engine.run(before, before.confirmation).outcome is Outcome.REFUSED
    assert path.read_bytes() == left
    arguments = ["journal", "--state-dir", str(engine.state.root)]
    assert cli.run(arguments) == 1
    told = capsys.readouterr().out
    assert "nothing has been done" not in told
    assert f"{path} cannot be relied on" in told
    assert cli.run([*arguments, "--json"]) == 1


def test_it_works_again_once_the_copy_is_back(engine: Engine) -> None:
    path = engine.journal.path
    whole = path.read_bytes()
    path.write_bytes(b"")
    assert engine.plan("restore-sequencer", TABLE).refused
    path.write_bytes(whole)
    assert not engine.plan("restore-sequencer", TABLE).refused

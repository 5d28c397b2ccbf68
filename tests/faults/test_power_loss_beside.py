"""Power loss while walmedic writes beside the tables: evidence, rows in files, the server's configuration."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from console.recovery.engine import Engine
from console.recovery.evidence.verification import verify_capture
from console.recovery.model import Outcome
from console.recovery.salvage.writing import damaged_files
from console.recovery.server.purge_guard import hold_by_configuration, let_go_by_configuration
from tests.faults.broken_database import SALVAGED, settings_of, take_back
from tests.faults.power_case import STATES, Case, printed, run
from tests.faults.power_loss import State


def _captured_whole(case: Case, state: State, label: str) -> None:
    """From a state on: go on with the capture or take it back; each manifest then stands for whole files."""
    engine, table = case.engine(), "outrun"
    ended = [entry for entry in engine.journal.entries() if entry.result is Outcome.DONE]
    if state.last:
        assert len(ended) == 1, label
    for entry in ended:
        assert verify_capture(case.state / "evidence" / entry.id).ok, label
    if engine.unfinished() and case.rng.random() < 0.5:
        take_back(engine)
    elif engine.unfinished() or not ended:
        run(engine, "capture-evidence", table)
    assert engine.unfinished() == (), label
    assert engine.journal.verify() == (), label
    folders = list((case.state / "evidence").glob("*"))
    for folder in folders:
        assert verify_capture(folder).ok, label
    if folders:
        assert engine.plan("repair-log", table).refused == (), label
    assert case.ended_as("before"), label


def test_a_capture_is_whole_or_none(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    states = case.drawn(lambda: run(case.engine(), "capture-evidence", "outrun"))
    case.tries(states, partial(_captured_whole, case))
    for first in case.rng.sample(states, min(len(states), 2 + STATES // 20)):
        case.vault.lay(first.image)
        if cut_off := case.engine().unfinished():
            again = case.drawn(lambda: run(case.engine(), "capture-evidence", "outrun"))
            again = case.rng.sample(again, min(len(again), max(2, STATES // 10)))
            label = [
                State(f"{first.description} ({cut_off[0].id}), then {each.description}", each.image) for each in again
            ]
            case.tries(label, partial(_captured_whole, case))
    printed(capsys, case, "capture-evidence")


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("action", ["salvage-wal", "salvage-table"])
def test_a_salvage_is_whole_or_none(action: str, form: str, case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_of(case.root, case.state)
    settings = replace(settings, salvage=replace(settings.salvage, format=form))
    whole: dict[str, int] = {}

    def check(state: State, label: str) -> None:
        engine = Engine(settings)
        ended = [entry for entry in engine.journal.entries() if entry.result is Outcome.DONE]
        assert len(ended) == 1 or not state.last, label
        if ended:
            assert _salvaged(case.state) == whole, label
        if engine.unfinished() and case.rng.random() < 0.5:
            take_back(engine)
            assert {path.parent for path in (case.state / "salvage").glob("*/*")} == {
                path.parent for path in (case.state / "salvage").glob("*/manifest.json")
            }, label
        else:
            run(engine, action, None)
            assert _salvaged(case.state) == whole, label
        assert engine.unfinished() == (), label
        assert engine.journal.verify() == (), label
        assert case.ended_as("before"), label

    states = case.drawn(lambda: run(Engine(settings), action, None))
    whole.update(_salvaged(case.state))
    assert sum(whole.values()) == SALVAGED[action]
    case.tries(states, check)
    printed(capsys, case, f"{action} to {form}")


def _salvaged(state: Path) -> dict[str, int]:
    """Return the rows of each file that a manifest names, and that is as the manifest says."""
    found = {}
    for manifest in (state / "salvage").glob("*/manifest.json"):
        content = json.loads(manifest.read_bytes())
        assert damaged_files(manifest.parent, content) == []
        for listed in content["files"]:
            found[f"{manifest.parent.name.removesuffix(content['entry'])}/{listed['file']}"] = int(listed["rows"])
    return found


def test_the_configuration_is_as_it_was(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """The purge guard in server.conf: held or not, and let go it is byte for byte what it was."""
    file = case.root / "conf" / "server.conf"
    with file.open("ab") as stream:
        stream.write(
            b"# " + b"x" * (512 - 2 - (file.stat().st_size + 20) % 512) + b"\n"
        )  # the block lies across a sector's border
    original = file.read_bytes()

    def check(state: State, label: str) -> None:
        assert file.read_bytes().startswith(original), label
        if case.rng.random() < 0.5:
            hold_by_configuration(case.root)
            assert b"\0" not in file.read_bytes(), label
        let_go_by_configuration(case.root)
        assert file.read_bytes() == original, label

    case.tries(case.drawn(lambda: hold_by_configuration(case.root), 10 + STATES), check)
    hold_by_configuration(case.root)
    case.tries(case.drawn(lambda: let_go_by_configuration(case.root), 10 + STATES), check)
    printed(capsys, case, "the purge guard in server.conf")

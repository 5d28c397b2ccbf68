"""Steps: an action names every step that its stages may use, so that a cut-off entry can be finished by it alone."""

import ast
from pathlib import Path

import pytest

from console.recovery.gate.registry import action_ids, action_module
from console.recovery.steps.steps import StepError, step_named
from console.recovery.undo import steps as undo_steps

_RECOVERY = Path(__file__).parents[3] / "console" / "recovery"


def test_each_action_names_its_steps_once() -> None:
    for action in action_ids():
        names = [step.name for step in action_module(action).STEPS]
        assert names, action
        assert len(set(names)) == len(names), action


def test_each_step_of_the_code_belongs_to_an_action_or_to_undo() -> None:
    used = {step.name for action in action_ids() for step in action_module(action).STEPS}
    used |= {step.name for step in undo_steps.STEPS}
    written = {
        str(ast.literal_eval(line.value))
        for path in _RECOVERY.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and "perform" in {getattr(each, "name", "") for each in node.body}
        for line in node.body
        if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "name"
    }
    assert len(written) > 20
    assert used == written


def test_a_step_of_another_version_is_refused() -> None:
    with pytest.raises(StepError, match="knows no step 'compare-moon'"):
        step_named(action_module("start-server").STEPS, "compare-moon")

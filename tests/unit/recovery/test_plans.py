"""Plans: an id that covers what they rest on, the phrase of the contract, JSON there and back."""

import json
from dataclasses import replace
from typing import Any

import pytest

from console.recovery import plans
from console.recovery.codes import RefusalCode
from console.recovery.gate.registry import UnknownActionError, action_ids, action_module, spec_of
from console.recovery.model import (
    ActionSpec,
    Change,
    Danger,
    Fact,
    Lost,
    LostValues,
    Plan,
    Refusal,
    Requirement,
    RowsLost,
    Stage,
)

_SPEC = ActionSpec("repair-log", "Repair", Danger.DATA, True, "…", "by rename")


def _plan(**changed: object) -> Plan:
    said: dict[str, object] = {
        "station": "hot",
        "table": "orders",
        "why": "because",
        "stages": (Stage("build", "build", "build-directory", {"n": 1}, (Change("create", "t", size=3),)),),
        "facts": (Fact("t/_txn", "abc"),),
        "rows_lost": RowsLost.exact(0),
        "refused": (Refusal(RefusalCode.NO_EVIDENCE, "reason", "instead", action="capture-evidence", table="orders"),),
        "requirements": (Requirement("claim", True, "evidence"),),
        "attachments": {"head": b"123"},
    }
    known: dict[str, Any] = {**said, **changed}
    return plans.make_plan(_SPEC, plans.Target(known.pop("station"), known.pop("table")), **known)


def test_the_same_plan_has_the_same_id_and_any_other_another() -> None:
    others = [
        _plan(table="trades"),
        _plan(facts=(Fact("t/_txn", "abd"),)),
        _plan(stages=()),
        _plan(attachments={"head": b"124"}),
        _plan(rows_lost=RowsLost("bound", 0)),
        _plan(rows_maybe_twice=1),
    ]
    assert _plan().plan_id == _plan(why="told otherwise").plan_id
    assert len({_plan().plan_id, *(other.plan_id for other in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    ("danger", "table", "lost", "phrase"),
    [
        (Danger.DATA, "orders", RowsLost.exact(0), "orders lose 0"),
        (Danger.DATA, "orders", RowsLost.exact(1000), "orders lose 1000"),
        (Danger.DATA, "orders", RowsLost("bound", 1000), "orders lose up-to-1000"),
        (Danger.DATA, "orders", RowsLost("unknown", None), "orders lose unknown"),
        (Danger.SERVICE, None, RowsLost.exact(0), "repair-log hot"),
        (Danger.SAFE, "orders", RowsLost.exact(0), "repair-log orders"),
        (Danger.DATA, "or[/b]\x1b[31mders\n", RowsLost.exact(0), "or[/b]ders lose 0"),
    ],
)
def test_the_phrase_is_the_contract(danger: Danger, table: str | None, lost: RowsLost, phrase: str) -> None:
    assert plans.confirmation(replace(_SPEC, danger=danger), "hot", table, lost) == phrase


@pytest.mark.parametrize(
    ("counts", "phrase"),
    [
        ({Lost.VALUES: [130]}, "orders lose 0 rows and 130 values"),
        ({Lost.VALUES: [130, 1000]}, "orders lose 0 rows and 1130 values"),
        ({Lost.NAMES: [3]}, "orders lose 0 rows and 3 names"),
        ({Lost.NAMES: [3], Lost.VALUES: [8]}, "orders lose 0 rows and 8 values and 3 names"),
        ({Lost.VALUES: [130, None]}, "orders lose 0 rows and unknown values"),
        ({Lost.VALUES: [0]}, "orders lose 0"),
    ],
)
def test_the_phrase_names_values_that_are_lost(counts: dict[Lost, list[int | None]], phrase: str) -> None:
    lost = [LostValues(kind, "px", "", count) for kind, each in counts.items() for count in each]
    assert plans.confirmation(replace(_SPEC, danger=Danger.DATA), "hot", "orders", RowsLost.exact(0), lost) == phrase


def test_json_goes_there_and_back() -> None:
    plan = _plan()
    document = json.loads(json.dumps(plans.to_json(plan)))
    assert document["schema"] == 1
    contract = "plan_id action table confirmation rows_lost rows_maybe_twice refused stages undo rehearsed"
    assert set(contract.split()) <= set(document)
    assert plans.from_json(document) == plan


def test_the_registry_holds_every_action_of_its_own_name() -> None:
    assert {"freeze-writer", "stop-server", "capture-evidence", "restore-sequencer", "rebuild-sequencer"} <= set(
        action_ids()
    )
    for action in action_ids():
        spec = spec_of(action)
        assert spec.id == action
        assert spec.summary.endswith(".")
        assert not spec.opposite or spec.opposite in action_ids()
        # What touches a table's files needs the server down and evidence; what goes through the server needs neither.
        through_the_server = {"resume-wal", "copy-table"}
        files = spec.danger is Danger.DATA and spec.needs_table and not spec.hides and action not in through_the_server
        assert spec.needs_evidence == files
        assert spec.offline == (files or spec.hides or action == "repair-registry")  # whose file is no table's
    with pytest.raises(UnknownActionError, match="the actions are freeze-writer"):
        action_module("drop-table")

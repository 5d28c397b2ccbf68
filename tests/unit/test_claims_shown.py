"""Every key of a claim is shown to fail once by a planted fault: here is where, and nothing is left out in silence."""

import ast
import functools
from pathlib import Path
from typing import Final

import pytest

from console.recovery.codes import ClaimKey

_ROOT: Final = Path(__file__).parents[2]
_FAULTS, _VALUES = "tests/faults/test_claims.py", "tests/real/test_value_proof.py"
_SEQUENCER = "test_a_fault_of_a_sequencer_fails_its_claim"
_SERVER = "test_what_the_server_says_otherwise_fails_its_claim"
_TABLE_REPAIR: Final = "tests/unit/recovery/test_table_repair.py"
_COPY: Final = "tests/real/test_copy_table.py"
_REHEARSAL, _REHEARSED = "tests/real/test_rehearsal.py", "tests/real/test_rehearsal_claims.py"
_SYSTEMD = "tests/real/test_actions_systemd.py"

# Which test plants a fault that fails the claim: its module and its name. The module's table names the key.
SHOWN: dict[ClaimKey, tuple[str, str]] = {
    **dict.fromkeys(
        (
            ClaimKey.LOG_OPENS, ClaimKey.LOG_MAX_TXN, ClaimKey.LOG_NOT_BELOW_APPLIED, ClaimKey.LOG_LENGTH,
            ClaimKey.LOG_RECORDS, ClaimKey.LOG_SEGMENTS, ClaimKey.LOG_UNNAMED, ClaimKey.LOG_META,
            ClaimKey.LOG_STRUCTURE, ClaimKey.STRUCTURE_NOT_BEHIND, ClaimKey.TABLE_ID, ClaimKey.WAL_INDEX,
            ClaimKey.OWNER,
        ),
        (_FAULTS, _SEQUENCER),
    ),
    ClaimKey.FILES_WRITTEN: (_TABLE_REPAIR, "test_a_file_that_is_not_as_planned_fails_its_claim"),
    ClaimKey.FILES_WHOLE: (_TABLE_REPAIR, "test_a_finding_that_is_left_fails_its_claim"),
    ClaimKey.EVIDENCE_WHOLE: (_FAULTS, "test_evidence_that_is_changed_while_it_is_captured"),
    ClaimKey.RESTORED: (_FAULTS, "test_a_table_that_is_not_as_the_evidence_has_it"),
    ClaimKey.SALVAGE_FILES: (_FAULTS, "test_exported_rows_that_are_damaged_or_left_out"),
    ClaimKey.SALVAGE_LEFT_OUT: (_FAULTS, "test_exported_rows_that_are_damaged_or_left_out"),
    **dict.fromkeys(
        (
            ClaimKey.TXN_READABLE, ClaimKey.CONVERTED, ClaimKey.LAG_EMPTY, ClaimKey.ROWS_ON_DISK,
            ClaimKey.LOG_BEGINS, ClaimKey.META_READABLE, ClaimKey.LAG, ClaimKey.TTL,
        ),
        (_FAULTS, "test_a_fault_of_a_conversion_fails_its_claim"),
    ),
    **dict.fromkeys(
        (
            ClaimKey.LISTED, ClaimKey.READABLE, ClaimKey.SUSPENDED, ClaimKey.APPLIED, ClaimKey.SEQUENCER,
            ClaimKey.ROWS, ClaimKey.MIN, ClaimKey.MAX, ClaimKey.PARTITIONS, ClaimKey.VALUES_READ, ClaimKey.SWEEP,
            ClaimKey.PLAIN, ClaimKey.CANARY, ClaimKey.NEW_COLUMN,
        ),
        (_VALUES, _SERVER),
    ),
    **dict.fromkeys(
        (ClaimKey.COPY_VALUES, ClaimKey.ROWS_COPIED, ClaimKey.COPY_DEFINITION),
        (_COPY, "test_a_fault_planted_in_a_copy_fails_its_claim"),
    ),
    **dict.fromkeys(
        (ClaimKey.COPY_NAME, ClaimKey.COPY_WRITES, ClaimKey.COPY_ROWS, ClaimKey.OLD_DIRECTORY),
        (_COPY, "test_a_fault_planted_after_a_copy_fails_its_claim"),
    ),
    **dict.fromkeys(
        (ClaimKey.COPY_LACKS, ClaimKey.COPY_ONLY),
        ("tests/real/test_copy_swap.py", "test_rows_of_a_copy_that_are_others_fail_their_claims"),
    ),
    ClaimKey.VALUES: (_VALUES, "test_each_planted_fault_fails_a_claim"),
    ClaimKey.ROWS_BACK: (_REHEARSAL, "test_a_plan_that_promises_too_much_fails"),
    **dict.fromkeys(
        (ClaimKey.SAME_PLAN, ClaimKey.CARRIED_OUT, ClaimKey.KNOWN),
        (_REHEARSED, "test_a_fault_planted_before_the_server_fails_its_claim"),
    ),
    **dict.fromkeys(
        (ClaimKey.WAL_KEPT, ClaimKey.TAKES_WRITES),
        (_REHEARSED, "test_a_fault_planted_beside_the_server_fails_its_claim"),
    ),
    **dict.fromkeys(
        (ClaimKey.UNIT_DOWN, ClaimKey.SERVER_GONE), (_SYSTEMD, "test_restart_always_does_not_win_the_gap")
    ),
    ClaimKey.UNIT_UP: (_SYSTEMD, "test_it_is_started_and_every_table_proven"),
    ClaimKey.ANSWERS: (
        "tests/real/test_suspended_advice.py", "test_what_the_server_does_not_apply_is_reported_with_its_cause",
    ),
    **dict.fromkeys(
        (ClaimKey.FIRST_BATCH, ClaimKey.ACKNOWLEDGED, ClaimKey.FRESH),
        ("tests/real/incident/drain_faults.py", "plant_in_a_drain"),
    ),
    ClaimKey.VERSION: ("tests/real/test_purge_guard.py", "test_a_newer_questdb_than_was_planned_is_stopped_again"),
    ClaimKey.SERVER_LIVES: (_REHEARSAL, "test_its_server_is_shut_in_and_modest_and_its_death_fails_it"),
}  # fmt: skip

# What is told and proves nothing.
NOTES: Final = frozenset(
    {
        ClaimKey.NOT_COMPARED, ClaimKey.SALVAGED, ClaimKey.NAME_FREED, ClaimKey.COPY_LATE, ClaimKey.COPY_CAUGHT_UP,
        ClaimKey.PENDING, ClaimKey.DRAINED, ClaimKey.DUPLICATES, ClaimKey.START_DOES_IT, ClaimKey.FURTHER_STEP,
    }
)  # fmt: skip


def test_every_key_is_in_one_of_the_lists() -> None:
    assert set(SHOWN) | NOTES == set(ClaimKey) - {ClaimKey.UNKNOWN}
    assert not set(SHOWN) & NOTES


@functools.cache
def _module(name: str) -> ast.Module:
    return ast.parse((_ROOT / name).read_text())


@pytest.mark.parametrize("key", SHOWN)
def test_the_test_that_shows_it_is_there(key: ClaimKey) -> None:
    module, test = SHOWN[key]
    tree = _module(module)
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert f"ClaimKey.{key.name}" in {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}


def test_what_is_a_note_is_only_ever_noted() -> None:
    made: dict[str, set[str]] = {"Claim": set(), "Claim.note": set()}
    for path in (_ROOT / "console").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in made and node.args:
                made[ast.unparse(node.func)].add(ast.unparse(node.args[0]))
    notes = {f"ClaimKey.{key.name}" for key in NOTES}
    assert notes <= made["Claim.note"]
    assert not notes & made["Claim"]

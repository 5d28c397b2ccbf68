"""Every finding code has a meaning, and docs/findings.md shows them (WRITE_DOCS=1 writes it)."""

import os
import re
from pathlib import Path

from console.diagnosis.model import Code
from console.recovery.gate.registry import action_ids
from tests.unit.diagnosis.meanings import MEANINGS

DOCUMENT = Path(__file__).parents[3] / "docs" / "findings.md"
_MARK = "<!-- findings -->\n"
_ACTION = re.compile(r"\b(?:repair|rebuild|restore|raise|resume|convert|capture|salvage)-[a-z]+(?:-[a-z]+)?\b")


def _table() -> str:
    rows = (
        f"| `{code.value}` | {meaning.what} | {meaning.server} | {meaning.to_do} |\n"
        for code, meaning in MEANINGS.items()
    )
    return "| code | what it means | what QuestDB does | what to do |\n| --- | --- | --- | --- |\n" + "".join(rows)


def test_every_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Code)


def test_each_action_that_is_named_is_one() -> None:
    named = {name for meaning in MEANINGS.values() for name in _ACTION.findall(meaning.to_do)}
    assert named
    assert named <= set(action_ids())


def test_the_document_shows_the_registry() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    head, mark, _ = text.partition(_MARK)
    assert mark
    written = head + mark + "\n" + _table()
    if os.environ.get("WRITE_DOCS"):
        DOCUMENT.write_text(written, encoding="utf-8")
        return
    assert text == written, "docs/findings.md differs from the registry: WRITE_DOCS=1 writes it anew"

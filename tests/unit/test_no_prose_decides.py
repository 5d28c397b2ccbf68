"""No decision rests on a sentence of our own: what is compared is a code, a field, or a foreign program's text."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from console.recovery.codes import ClaimKey

_ROOT = Path(__file__).parents[2]
_METHODS = ("startswith", "endswith", "removesuffix", "removeprefix", "partition", "split", "find", "index")
# Modules that match what psycopg, Redis, systemd, supervisord, container engines and the kernel say.
_FOREIGN = frozenset(
    {
        "console/questdb_client/watch.py", "console/redis_queue/facts.py", "console/redis_queue/location.py",
        "console/reporting/service_logs.py",
        "console/services/containers.py", "console/services/supervisor_log.py", "console/services/systemd.py",
    }
)  # fmt: skip


@functools.cache
def _sources() -> tuple[tuple[str, ast.Module], ...]:
    paths = [path for folder in ("console", "screens") for path in sorted((_ROOT / folder).rglob("*.py"))]
    return tuple((path.relative_to(_ROOT).as_posix(), ast.parse(path.read_text())) for path in paths)


def _prose(node: ast.expr) -> list[str]:
    """Return the texts of several words in an operand, or in a collection of them."""
    each = node.elts if isinstance(node, ast.Tuple | ast.Set | ast.List) else [node]
    texts = [one.value for one in each if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return [text for text in texts if " " in text.strip()]


def _compared(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from ((node.lineno, text) for each in (node.left, *node.comparators) for text in _prose(each))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
            yield from ((node.lineno, text) for each in node.args for text in _prose(each))


def test_nothing_is_compared_with_a_sentence_of_our_own() -> None:
    found = [
        f"{name}:{line} {text!r}"
        for name, tree in _sources()
        if name not in _FOREIGN
        for line, text in _compared(tree)
    ]  # fmt: skip
    assert found == []


def test_the_foreign_modules_do_compare_texts() -> None:
    """A module that no longer does is taken off the list."""
    assert {name for name, tree in _sources() if any(_compared(tree))} == _FOREIGN


def test_no_claim_is_made_that_cannot_fail() -> None:
    """`ok` is never just True: what cannot fail is a note (a server that lived to the end is compared as it ends)."""
    made = {
        (name, ast.unparse(call.args[0]))
        for name, tree in _sources()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Claim" and _is_true(call)
    }
    # Each of the three has a branch beside it that makes the same claim with False.
    assert made == {
        ("console/recovery/rehearsal/proof.py", "ClaimKey.SERVER_LIVES"),
        ("console/recovery/actions/resume_wal/action.py", "ClaimKey.ANSWERS"),
        ("console/recovery/actions/stop_server.py", "ClaimKey.SERVER_GONE"),
    }


def _is_true(call: ast.Call) -> bool:
    ok = [each.value for each in call.keywords if each.arg == "ok"] or call.args[4:5]
    return any(isinstance(each, ast.Constant) and each.value is True for each in ok)


def test_a_key_is_used_for_claims_or_for_notes() -> None:
    keys = {f"ClaimKey.{key.name}" for key in ClaimKey}
    used = {ast.unparse(node) for _, tree in _sources() for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert keys <= used

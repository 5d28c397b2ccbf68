"""Every sentence in the source that an operator can meet: plain words, short, no expression of the forbidden list.

The sentences are the string literals of console and screens but for docstrings and what goes to the log file. In an
f-string each figure or name counts as one word.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import console
import screens

_LONGEST = 25  # words of a sentence, or of a clause that ends in a colon or semicolon
_FEWEST = 4  # words from which on a literal is taken for a sentence
_FORBIDDEN = (
    "told", "tell", "tells", "said", "goes on", "go on", "as things are", "by itself", "way back", "maybe twice",
    "come back", "comes back", "claims proven", "claim proven", "must hold", "left out", "lives on", "hang on",
    "hangs on", "innocent", "no row waits", "nothing waits", "taken back", "take back", "rows that wait",
    "is assumed done", "again and again", "held down until",
)  # fmt: skip
_WORDS = re.compile(rf"\b({'|'.join(map(re.escape, _FORBIDDEN))})\b", re.IGNORECASE)
_SETTINGS = "console/station/configuration.py"  # writes a settings file, which is no sentence
_NOT_SHOWN = ("_LOG", "logging")
_ROOT = Path(console.__file__).parents[1]


def _modules() -> list[Path]:
    folders = (Path(console.__file__).parent, Path(next(iter(screens.__path__))))
    return sorted(file for folder in folders for file in folder.rglob("*.py"))


def _hidden(tree: ast.AST) -> set[int]:
    """Return the nodes that nobody is shown: docstrings, what goes to the log, the parts of an f-string."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            found.update(id(part) for part in node.values)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            if isinstance(of, ast.Name) and of.id in _NOT_SHOWN:
                found.update(id(part) for part in ast.walk(node))
    return found


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "N" for part in node.values)
    return ""


def sentences(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each sentence in the source of a module."""
    tree = ast.parse(source)
    hidden = _hidden(tree)
    for node in ast.walk(tree):
        text = _text(node) if id(node) not in hidden else ""
        if len(text.split()) >= _FEWEST:
            yield getattr(node, "lineno", 0), text


def faults(text: str) -> list[str]:
    """Return what is wrong with the words of a sentence."""
    found = [f"says {match[0]!r}" for match in _WORDS.finditer(text)]
    for clause in re.split(r"(?<=[.!?;:])\s", text):
        if len(clause.split()) > _LONGEST:
            found.append(f"{len(clause.split())} words: {clause}")
    return found


def test_every_sentence_is_plain_and_short() -> None:
    walked = 0
    wrong: list[str] = []
    for file in _modules():
        name = str(file.relative_to(_ROOT))
        for at, text in sentences(file.read_text("utf-8")) if name != _SETTINGS else ():
            walked += 1
            wrong.extend(f"{name}:{at}: {fault}" for fault in faults(text))
    assert wrong == []
    assert walked > 2_000


def test_the_walk_finds_what_it_looks_for() -> None:
    source = '''
"""A module about what must hold."""
def f(rows):
    """Told to nobody."""
    _LOG.info("the action goes on until it ends")
    yield f"told to go on, {rows} rows stopped again"
    yield "a short word"
'''
    found = list(sentences(source))
    assert [text for _, text in found] == ["told to go on, N rows stopped again"]
    assert faults(found[0][1]) == ["says 'told'", "says 'go on'"]
    assert faults("word " * 26)
    assert not faults("word " * 25)

"""docs/options.md: the blocks in it that are a command's own output, compared with what the command says, or written.

A block follows the line `<!-- made by a test: NAME -->`. `WRITE_DOCS=1` writes them anew.
"""

import difflib
import io
import os
import re
import textwrap
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from console.cli import run

DOCUMENT = Path(__file__).parents[3] / "docs" / "options.md"
_WIDTH = 120
_VOLATILE = (
    (re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{6}\b"), "20251110-101500-c0ffee"),  # an entry
    (re.compile(r"walmedic-[0-9a-f]{8}"), "walmedic-5eed5eed"),  # the mark in new names
    (re.compile(r"^plan [0-9a-f]{16}:", re.MULTILINE), "plan 0123456789abcdef:"),
    (re.compile(r"checked in [0-9.]+ s"), "checked in 0.1 s"),
    (re.compile(r"expected (\d+:\d+), found \1"), "expected 1000:1000, found 1000:1000"),  # the owner
    (
        re.compile(r"possible duplicates: [1-9]\d*"),
        "possible duplicates: 40",
    ),  # 20 rows for each writer that the power loss cut off
    (re.compile(r"sha256 [0-9a-f]{12}"), "sha256 0123456789ab"),
    (re.compile(r"^warning: the open files of .* could not be seen.*\n", re.MULTILINE), ""),
)


class Documented:
    """What commands said, with what differs from run to run made alike: names of places, ids, marks."""

    def __init__(self, places: dict[str, str]) -> None:
        self._places = sorted(places.items(), key=lambda item: -len(item[0]))

    def command(self, *arguments: str, exits: int) -> str:
        """Run `walmedic` with `arguments` and return what it wrote. Raises AssertionError for another exit code."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(arguments)
        assert code == exits, f"walmedic {' '.join(arguments)} ended {code}: {out.getvalue()}{err.getvalue()}"
        return self.plain(out.getvalue())

    def plain(self, text: str) -> str:
        """Return `text` with places and ids made alike, its lines folded."""
        for place, name in self._places:
            text = text.replace(place, name)
        for pattern, instead in _VOLATILE:
            text = pattern.sub(instead, text)
        return "\n".join(_folded(line) for line in text.rstrip("\n").split("\n"))


def _folded(line: str) -> str:
    if len(line) <= _WIDTH:
        return line.rstrip()
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(
        line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def same_as_documented(name: str, text: str) -> None:
    """Compare a block of the document with `text`, or write it. Raises AssertionError where they differ."""
    document = DOCUMENT.read_text()
    pattern = re.compile(rf"(<!-- made by a test: {re.escape(name)} -->\n```text\n)(.*?)(\n?```\n)", re.DOTALL)
    found = pattern.search(document)
    assert found is not None, f"docs/options.md has no block {name}"
    if os.environ.get("WRITE_DOCS"):
        DOCUMENT.write_text(document[: found.start()] + found[1] + text + "\n```\n" + document[found.end() :])
        return
    differs = "\n".join(
        difflib.unified_diff(found[2].splitlines(), text.splitlines(), "documented", "said", lineterm="")
    )
    assert not differs, f"docs/options.md, {name} (WRITE_DOCS=1 writes it anew):\n{differs}"

"""The table of versions in docs/versions.md: each row is what a run showed, and is held against it."""

import os
import re
from dataclasses import astuple, dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "versions.md"
_HEAD = "| QuestDB | read | diagnosed | repaired | rehearsed |\n| --- | --- | --- | --- | --- |\n"


@dataclass(frozen=True)
class Row:
    """What a run showed of one version, in words."""

    version: str
    read: str
    diagnosed: str
    repaired: str
    rehearsed: str

    @property
    def line(self) -> str:
        """The row in Markdown."""
        return f"| {' | '.join(astuple(self))} |\n"


def checked_or_written(row: Row) -> None:
    """Raise AssertionError if the docs say something else; WRITE_DOCS=1 puts the row there."""
    text = DOCS.read_text()
    before, rows, after = _parts(text)
    if os.environ.get("WRITE_DOCS"):
        rows[row.version] = row.line
        ordered = sorted(rows, key=lambda version: [int(part) for part in version.split(".")])
        DOCS.write_text(before + "".join(rows[version] for version in ordered) + after)
        return
    assert rows.get(row.version) == row.line


def _parts(text: str) -> tuple[str, dict[str, str], str]:
    before, head, rest = text.partition(_HEAD)
    lines = rest.splitlines(keepends=True)
    count = next((index for index, line in enumerate(lines) if not line.startswith("|")), len(lines))
    found = {match[1]: line for line in lines[:count] if (match := re.match(r"\| ([\d.]+) \|", line))}
    return before + head, found, "".join(lines[count:])

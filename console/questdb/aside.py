"""Where walmedic moves directories that QuestDB must not see: beside the table, in a directory without a `_txn`.

A whole table lies in there under its own name. QuestDB looks for tables in the db directory alone, not below it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from console.questdb.reading import list_directory

_PLACE: Final = re.compile(r"(.+)\.walmedic-[0-9a-f]{8}\.aside")


def place_aside(directory: str, mark: str) -> str:
    """Return the directory beside a table's `directory` that a plan with `mark` (8 hex digits) moves things into."""
    return f"{directory}.walmedic-{mark}.aside"


def tables_aside(db: Path) -> Iterator[Path]:
    """Yield the directories of tables that were set aside as a whole, by name of the place."""
    entries, _ = list_directory(db, named=_PLACE)
    for entry in entries:
        match = _PLACE.fullmatch(entry.name)
        if match and entry.is_directory and (entry.path / match[1]).is_dir():
            yield entry.path / match[1]

"""Where walmedic moves directories that QuestDB must not see: beside the table, in a directory without a `_txn`.

A whole table lies in there under its own name. QuestDB looks for tables in the db directory alone, not below it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.reading import list_directory
from console.questdb.table_name import name_of_directory, read_table_name
from console.text import clean_line

_PLACE: Final = re.compile(r"(.+)\.walmedic-[0-9a-f]{8}\.aside")


def place_aside(directory: str, mark: str) -> str:
    """Return the directory beside a table's `directory` that a plan with `mark` (8 hex digits) moves things into."""
    return f"{directory}.walmedic-{mark}.aside"


@dataclass(frozen=True, slots=True)
class TableAside:
    """A table that was set aside as a whole: its directory, and its name, clean."""

    path: Path
    name: str


def tables_aside(db: Path) -> Iterator[TableAside]:
    """Yield the tables that were set aside as a whole, by name of the place."""
    entries, _ = list_directory(db, named=_PLACE)
    for entry in entries:
        match = _PLACE.fullmatch(entry.name)
        if match and entry.is_directory and (entry.path / match[1]).is_dir():
            path = entry.path / match[1]
            yield TableAside(path, clean_line(read_table_name(path) or name_of_directory(path.name)))

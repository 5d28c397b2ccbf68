"""Refusals for what this user may not read: never taken for absent, nor counted as nothing."""

import os

from console.errors import run_as_owner
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.reading import list_directory
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.table.closed import closed_files
from console.text import clean_line


def closed_refusals(database: DatabaseRoot, tables: tuple[TableDirectory, ...]) -> tuple[Refusal, ...]:
    _, problem = list_directory(database.db)
    if problem is not None:
        return (_refusal(f"{clean_line(str(database.db))} cannot be listed"),)
    return tuple(_of(table) for table in tables if closed_files(table.path))


def _of(table: TableDirectory) -> Refusal:
    closed = closed_files(table.path)
    first = clean_line(str(closed[0].relative_to(table.path.parent)))
    more = f" and {len(closed) - 1:,} more" if len(closed) > 1 else ""
    return _refusal(f"{first}{more} cannot be read").about(table.name)


def _refusal(what: str) -> Refusal:
    reason = f"{what} as uid {os.geteuid()}, so what is unapplied is not known"
    return Refusal(RefusalCode.PERMISSION, reason, run_as_owner())

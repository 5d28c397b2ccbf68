"""Soft links that QuestDB itself follows: of a partition's directory, and of a table's (ATTACH PARTITION, IN VOLUME).

A link is followed for reading only, and only where it stands in the place of a partition or a table, and leads to a
directory of the same owner as the directory that holds the link: so it leads nowhere that this owner cannot read.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_PARTITION: Final = re.compile(r"(?:default|\d{4}(?:-W?\d\d(?:-\d\d(?:T\d{2,6}(?:-\d{6})?)?)?)?)(?:\.\d+)?")
_OF_A_TABLE: Final = ("_txn", "_meta")
_DEEPEST: Final = 4
"""Directories above a file of a table that may hold links, up to the db directory: `db/table/wal1/0/_event`."""


def is_followed(link: Path) -> bool:
    try:
        if not link.is_symlink() or not link.is_dir() or link.stat().st_uid != link.parent.stat().st_uid:
            return False
        if _is_table(link.parent):
            return is_partition(link)
        return _is_table(link) and not any(map(_is_table, list(link.parents)[: _DEEPEST - 1]))
    except OSError:
        return False


def links_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_symlink())
    except OSError:
        return []


def leads_nowhere(link: Path) -> bool:
    """Return whether what a link leads to is not there. One that this user may not follow leads somewhere."""
    try:
        return not link.exists()
    except OSError:
        return False


def broken_links(links: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the soft links whose target is not there, each with its target: on a disk that is not mounted, or lost."""
    for link in links:
        with contextlib.suppress(OSError):
            if leads_nowhere(link):
                yield link, str(link.readlink())


def is_partition(link: Path) -> bool:
    return _PARTITION.fullmatch(link.name) is not None


def _is_table(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in _OF_A_TABLE)


def is_way_to(path: Path, resolved: Path) -> bool:
    """Return whether the absolute `path` leads to `resolved` by links that are followed, and by no others."""
    folder = path.parent
    try:
        if folder.resolve() / path.name != resolved:
            return False
        for _ in range(_DEEPEST):
            if folder.is_symlink() and not is_followed(folder):
                return False
            folder = folder.parent
        return folder.resolve() == folder
    except (OSError, RuntimeError):  # a loop of links
        return False

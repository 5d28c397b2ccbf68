"""What the browser's tree lists: of each table the sequencer, its copies, the WAL segments."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from console.questdb.layout import DatabaseRoot, TableDirectory
from console.text import clean_line
from console.widgets import figures, glyphs
from console.widgets.choice import Item
from console.widgets.line import Line, Role, Span, cells, line, spread

_MOST = 4_000  # entries of one directory; more would be no list to read
_TABLE_FILES = ("_txn", "_meta", "_cv")


@dataclass(frozen=True, slots=True)
class Node:
    """One line of the tree. `size` in bytes for files; `missing` where something ought to be and is not."""

    path: Path
    depth: int
    folder: bool
    size: int | None = None
    missing: bool = False
    note: str = ""

    @property
    def key(self) -> str:
        """Return what names the node in a list."""
        return str(self.path)


def tables(root: Path) -> tuple[DatabaseRoot, tuple[TableDirectory, ...]]:
    """Return the tables with WAL, the system's own last. Raises WalmedicError where there is no database."""
    database = DatabaseRoot.locate(root)
    found = [table for table in database.tables() if table.wal is not False]
    return database, tuple(sorted(found, key=lambda table: (table.system, table.name)))


def nodes(found: Iterable[TableDirectory], unfolded: frozenset[str]) -> list[Node]:
    """Return the lines of the tree; a folder shows what is in it while it is unfolded."""
    listed: list[Node] = []
    for table in found:
        listed.append(Node(table.path, 0, True))
        if str(table.path) not in unfolded:
            continue
        if not table.sequencer.is_dir():
            listed.append(Node(table.sequencer, 1, True, missing=True))
        else:
            listed.extend(_folder(table.sequencer, 1, unfolded))
        for backup in table.sequencer_backups():
            listed.extend(_folder(backup, 1, unfolded))
        for wal in table.wals():
            listed.append(Node(wal.path, 1, True, note=f"{len(wal.segments)} seg"))
            if str(wal.path) in unfolded:
                for segment in wal.segments:
                    listed.extend(_folder(wal.segment(segment), 2, unfolded, only=("_event", "_event.i", "_meta")))
        listed.extend(_files(table.path, 1, _TABLE_FILES))
    return listed


def _folder(path: Path, depth: int, unfolded: frozenset[str], only: tuple[str, ...] = ()) -> list[Node]:
    listed = [Node(path, depth, True)]
    if str(path) not in unfolded:
        return listed
    if only:
        return listed + _files(path, depth + 1, only)
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for _, entry in zip(range(_MOST), entries, strict=False))
    except OSError as error:
        return [*listed, Node(path / "?", depth + 1, False, missing=True, note=error.strerror or "")]
    for name in names:
        inside = path / name
        try:
            status = inside.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode):
            listed.extend(_folder(inside, depth + 1, unfolded))
        elif stat.S_ISREG(status.st_mode):
            listed.append(Node(inside, depth + 1, False, status.st_size))
    return listed


def _files(folder: Path, depth: int, names: tuple[str, ...]) -> list[Node]:
    listed = []
    for name in names:
        try:
            status = (folder / name).lstat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            listed.append(Node(folder / name, depth, False, status.st_size))
    return listed


def item(node: Node, unfolded: frozenset[str], width: int) -> Item:
    """Return the node as a line of the list: name at the left, size or state at the right where there is room."""
    mark = (glyphs.OPEN if node.key in unfolded else glyphs.CLOSED) if node.folder else " "
    role = Role.STRONG if node.depth == 0 else Role.PLAIN
    said = node.note if node.folder or node.note else figures.size(node.size).replace(" ", "")
    end: Line = line(Span(said, Role.DIM))
    if node.missing:
        mark, role, end = glyphs.BAD, Role.BAD, line(Span(node.note or "missing", Role.BAD))
    name = line(" " * node.depth, Span(f"{mark} ", role if node.missing else Role.DIM))
    name = line(name, Span(clean_line(node.path.name), role))
    if not node.missing and cells(name) + cells(end) + 1 > width:
        return Item(node.key, name)
    return Item(node.key, spread(name, end, width))

"""What the browser's tree lists of each table: sequencer, copies, WAL segments, partitions; with owner and verdict."""

import functools
import os
import pwd
import stat
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from console.diagnosis.model import DatabaseReport, Severity, Verdict
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.partition_columns import PartitionFile
from console.questdb.partition_files import PartitionFiles
from console.text import clean_line, plural
from console.widgets import figures, glyphs
from console.widgets.choice import Item
from console.widgets.line import BLANK, Line, Role, Span, cells, left, line, right, spread

_MOST = 4_000  # entries of one directory; more would be no list to read
_MOST_FOUND = 1_000  # files that a filter lists
_TABLE_FILES = ("_txn", "_meta", "_cv")
_SEGMENT_FILES = ("_event", "_event.i", "_meta")
_WIDE = 46  # cells from which on owners are shown
_MARKS = {
    Verdict.HEALTHY: Span(f"{glyphs.OK} healthy", Role.OK),
    Verdict.AT_RISK: Span(f"{glyphs.WARN} AT RISK", Role.WARN),
    Verdict.BROKEN: Span(f"{glyphs.BAD} BROKEN", Role.BAD),
    Verdict.UNKNOWN: Span(f"{glyphs.UNKNOWN} UNKNOWN", Role.WARN),
    Severity.DAMAGE: Span(glyphs.BAD, Role.BAD),
    Severity.RISK: Span(glyphs.WARN, Role.WARN),
}


@dataclass(frozen=True, slots=True)
class Node:
    """One line of the tree. `size` in bytes for files; `missing` where something ought to be and is not.

    `needed`: bytes that the rows of a partition need in the file.
    """

    path: Path
    depth: int
    folder: bool
    size: int | None = None
    missing: bool = False
    note: str = ""
    owner: str = ""
    label: str = ""  # shown in place of the name
    needed: int | None = None
    in_partition: bool = False  # a partition, or a file in one

    @property
    def key(self) -> str:
        return str(self.path)

    @property
    def short(self) -> bool:
        return self.needed is not None and (self.size or 0) < self.needed


@dataclass(frozen=True, slots=True)
class Marks:
    """What the diagnosis says of the paths of a database: a verdict for each table, the worst finding for the rest."""

    by_path: Mapping[str, Verdict | Severity] = field(default_factory=dict)

    @classmethod
    def of(cls, database: DatabaseRoot, report: DatabaseReport | None) -> "Marks":
        """Return the marks of a report; what lies above a damaged file carries its mark too."""
        marks: dict[str, Verdict | Severity] = {}
        for table in report.tables if report is not None else ():
            for finding in table.findings:
                if finding.file is None or finding.severity is Severity.NOTE:
                    continue
                path = database.db / finding.file
                for above in (path, *path.parents):
                    if above == database.db:
                        break
                    if marks.get(str(above)) is not Severity.DAMAGE:
                        marks[str(above)] = finding.severity
            marks[str(database.db / table.directory)] = table.verdict
        return cls(marks)


class _All:
    """Contains everything: a tree that is unfolded throughout."""

    def __contains__(self, key: object) -> bool:
        return True


@functools.lru_cache(maxsize=256)
def owner_name(uid: int) -> str:
    try:
        return clean_line(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return str(uid)


def tables(root: Path) -> tuple[DatabaseRoot, tuple[TableDirectory, ...]]:
    """Return the tables, the system's own last. Raises WalmedicError where there is no database."""
    database = DatabaseRoot.locate(root)
    return database, tuple(sorted(database.tables(), key=lambda table: (table.system, table.name)))


def nodes(
    found: Iterable[TableDirectory], unfolded: Container[str], partitions: Container[str] | None = None
) -> list[Node]:
    """Return the lines of the tree; a folder shows what is in it while it is unfolded, its columns by `partitions`."""
    listed: list[Node] = []
    columns = unfolded if partitions is None else partitions
    for table in found:
        listed.append(_node(table.path, 0, folder=True) or Node(table.path, 0, True, missing=True))
        if str(table.path) not in unfolded:
            continue
        if table.sequencer.is_dir():
            listed.extend(_folder(table.sequencer, 1, unfolded))
        elif table.wal is not False:
            listed.append(Node(table.sequencer, 1, True, missing=True))
        for backup in table.sequencer_backups():
            listed.extend(_folder(backup, 1, unfolded))
        for wal in table.wals():
            listed.append(Node(wal.path, 1, True, note=f"{len(wal.segments)} seg"))
            if str(wal.path) in unfolded:
                for segment in wal.segments:
                    folder = wal.segment(segment)
                    only = () if str(folder) in columns else _SEGMENT_FILES
                    listed.extend(_folder(folder, 2, unfolded, only))
        listed.extend(_files(table.path, 1, _TABLE_FILES))
        listed.extend(_partitions(table.path, 1, columns))
    return listed


def _partitions(table: Path, depth: int, unfolded: Container[str]) -> Iterator[Node]:
    """Yield the partitions that `_txn` names, by one listing of the table; an unfolded one shows its files."""
    partitions = PartitionFiles.of(table)
    if partitions is None:
        return
    there = partitions.directories()
    for span in partitions.spans:
        path = table / span.directory
        if span.directory not in there:
            yield Node(path, depth, True, missing=True, in_partition=True)
            continue
        yield Node(path, depth, True, note=plural(span.rows, "row"), in_partition=True)
        if str(path) not in unfolded:
            continue
        try:
            for file in partitions.files(span):
                yield _partition_file(file, depth + 1)
        except OSError as error:
            yield Node(path / "?", depth + 1, False, missing=True, note=error.strerror or "")


def _partition_file(file: PartitionFile, depth: int) -> Node:
    owner, missing = owner_name(file.uid) if file.uid is not None else "", file.size is None
    return Node(file.path, depth, False, file.size, missing, owner=owner, needed=file.needed, in_partition=True)


def matching(
    database: DatabaseRoot, found: Iterable[TableDirectory], text: str, unfolded: Container[str] = frozenset()
) -> list[Node]:
    """Return the files whose path under db/ has all the words of `text` in it, as a flat list.

    Of the columns only those of partitions and segments that are unfolded: a table may have 10,000 partitions.
    """
    words = text.lower().split()
    listed: list[Node] = []
    for table in found:
        for node in nodes((table,), _All(), unfolded):
            name = str(node.path.relative_to(database.db))
            if not node.folder and all(word in name.lower() for word in words):
                listed.append(Node(node.path, 0, False, node.size, node.missing, node.note, node.owner, name))
                if len(listed) >= _MOST_FOUND:
                    return listed
    return listed


def _node(path: Path, depth: int, *, folder: bool) -> Node | None:
    """Return a folder or a regular file as the file system has it; None where it is neither, or gone."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if folder or stat.S_ISDIR(status.st_mode):
        return Node(path, depth, True, owner=owner_name(status.st_uid))
    if not stat.S_ISREG(status.st_mode):
        return None
    return Node(path, depth, False, status.st_size, owner=owner_name(status.st_uid))


def _folder(path: Path, depth: int, unfolded: Container[str], only: tuple[str, ...] = ()) -> list[Node]:
    listed = [_node(path, depth, folder=True) or Node(path, depth, True)]
    if str(path) not in unfolded:
        return listed
    if only:
        return listed + _files(path, depth + 1, only)
    try:
        with os.scandir(path) as entries:
            names = [entry.name for _, entry in zip(range(_MOST), entries, strict=False)]
    except OSError as error:
        return [*listed, Node(path / "?", depth + 1, False, missing=True, note=error.strerror or "")]
    for name in sorted(names, key=lambda name: (not name.startswith("_"), name)):
        node = _node(path / name, depth + 1, folder=False)
        if node is not None and node.folder:
            listed.extend(_folder(path / name, depth + 1, unfolded))
        elif node is not None:
            listed.append(node)
    return listed


def _files(folder: Path, depth: int, names: Sequence[str]) -> list[Node]:
    found = (_node(folder / name, depth, folder=False) for name in names)
    return [node for node in found if node is not None and not node.folder]


def item(node: Node, *, unfolded: Container[str], width: int, marks: Marks) -> Item:
    """Return the node as a line of the list: name at the left, owner, size and verdict at the right as room allows."""
    fold = (glyphs.OPEN if node.key in unfolded else glyphs.CLOSED) if node.folder else " "
    role = Role.STRONG if node.depth == 0 and node.folder else Role.PLAIN
    if node.missing:
        fold, role = glyphs.BAD, Role.BAD
    name = line(" " * node.depth, Span(f"{fold} ", role if node.missing else Role.DIM))
    name = line(name, Span(clean_line(node.label or node.path.name), role))
    ends = _ends(node, width, marks.by_path.get(node.key))
    end = next((each for each in ends if cells(name) + cells(each) + 1 <= width), ends[-1])
    return Item(node.key, spread(name, end, width))


def _ends(node: Node, width: int, mark: Verdict | Severity | None) -> list[Line]:
    """Return what may stand at the right end of a node's line, the longest first."""
    if node.missing:
        return [line(Span(node.note or "missing", Role.BAD))]
    sign = _MARKS.get(mark, Span("")) if mark is not None else Span("")
    short = line(Span(sign.text[:1], sign.role))
    if node.folder and node.depth == 0:
        return [line(sign), short]
    caption = node.note if node.folder else _short(node.size)
    size = line(Span(caption, Role.BAD if node.short else Role.DIM))
    brief = line(size, " ", short) if sign.text else size
    if width < _WIDE:
        return [brief, short, BLANK]
    end = left(short, 1) if sign.text else line(" ")
    owned = line(left(line(Span(node.owner, Role.DIM)), 9), right(size, 8))
    needed = line(Span(f"needs {_short(node.needed)}", Role.BAD if node.short else Role.DIM)) if node.needed else BLANK
    wider = [line(owned, "  ", left(needed, 14), end)] if node.needed is not None else []
    return [*wider, line(owned, " ", end), brief, short, BLANK]


def _short(size: int | None) -> str:
    return figures.size(size).replace("\N{NO-BREAK SPACE}", "")


def count_text(found: Sequence[TableDirectory], listed: int, text: str) -> str:
    """Return what the tree's rule says at its end."""
    return f"{plural(listed, 'file')} match" if text else plural(len(found), "table")

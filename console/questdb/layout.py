"""What lies where under a db root: tables, their sequencer and its backups, WAL directories, segments and locks.

Everything is found by listing directories, never by following a symlink; a symlink that stands where a directory should
is reported instead.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from console.errors import WalmedicError, run_as_owner
from console.questdb.aside import tables_aside
from console.questdb.reading import (
    Entry,
    Problem,
    ProblemKind,
    join_problems,
    later_looks,
    list_directory,
)
from console.questdb.registry import Registry, RegistryEntry, TableKind, read_registry
from console.questdb.soft_links import leads_nowhere
from console.questdb.table_metadata import read_table_identity
from console.questdb.table_name import SEQUENCER, is_system_name, name_of_directory, read_table_name
from console.questdb.txn_log import ends_with_drop
from console.text import clean_line

GUARD_MIRROR: Final = "txn_seq.guard-"
"""How the names of the guard's mirrors of a sequencer begin; then the microsecond of its creation, and a number."""
VIEW: Final = "_view"
"""The definition of a view, a block file in its directory."""
REGISTRY_LOCK: Final = "tables.d.lock"
_LOCK: Final = ".lock"
_WAL: Final = re.compile(r"wal([1-9]\d{0,9})")
_OF_THE_TABLE: Final = re.compile(r"wal[1-9]\d{0,9}|(?:default|\d{4}(?:-W?\d\d(?:-\d\d(?:T\d\d)?)?)?)(?:\.\d+)?")
"""WAL directories and partitions, of which there may be thousands: no place for a copy of the sequencer."""
_SEGMENT: Final = re.compile(r"0|[1-9]\d{0,8}")
_SEQUENCER_FILES: Final = ("_txnlog", "_txnlog.meta.i", "_wal_index.d")


@dataclass(frozen=True, slots=True)
class WalDirectory:
    """One `walN` of a table and the ids of the segments in it, ascending.

    Of the segments `lost` only the lock file is there: QuestDB's purge removes both, so that something else took them.
    """

    id: int
    path: Path
    segments: tuple[int, ...]
    problems: tuple[Problem, ...] = ()
    lost: tuple[int, ...] = ()

    def segment(self, segment_id: int) -> Path:
        return self.path / str(segment_id)


@dataclass(frozen=True, slots=True)
class TableDirectory:
    """A table on disk. `name` is clean, for showing; SQL needs `raw_name`; `directory` never changes on a rename.

    `wal` is None where neither registry nor `_meta` can be read. `registered` says that `tables.d.N` lists it, which
    holds for WAL tables only. `system` marks the server's own tables. `is_view` marks a materialised view, `is_query` a
    view of 9.3 and later: a stored query, with no rows of its own. `guard` is where the guard keeps copies of it.
    """

    name: str
    raw_name: str
    directory: str
    path: Path
    table_id: int | None
    wal: bool | None
    is_view: bool
    registered: bool
    system: bool
    dropped: bool = False
    problems: tuple[Problem, ...] = ()
    is_query: bool = False
    guard: Path | None = None

    @property
    def sequencer(self) -> Path:
        """The sequencer's directory, which may not exist."""
        return self.path / SEQUENCER

    def listing(self) -> tuple[tuple[Entry, ...], Problem | None]:
        """Return what is in the directory, for those who ask more than one of the questions below."""
        return list_directory(self.path)

    def wals(self, listing: Sequence[Entry] | None = None) -> tuple[WalDirectory, ...]:
        return wal_directories(self.path, listing)

    def listing_problems(self, listing: Sequence[Entry] | None = None) -> tuple[Problem, ...]:
        """Return what stands in the way of seeing the table whole: symlinks, and directories that cannot be listed."""
        entries, problem = (listing, None) if listing is not None else self.listing()
        return join_problems(problem, _symlinks(entries), *(wal.problems for wal in self.wals(entries)))

    def sequencer_backups(self, listing: Sequence[Entry] | None = None) -> tuple[Path, ...]:
        """Return the directories in the table that look like copies of a sequencer, by name or by content."""
        return tuple(
            entry.path
            for entry in (self.listing()[0] if listing is None else listing)
            if entry.is_directory
            and entry.name != SEQUENCER
            and not _OF_THE_TABLE.fullmatch(entry.name)
            and (entry.name.startswith(SEQUENCER) or _holds_sequencer_files(entry.path))
        )

    def guard_mirrors(self) -> tuple[Path, ...]:
        """Return the mirrors of the sequencer that the guard keeps outside of the database, by name."""
        if self.guard is None:
            return ()
        entries, _ = list_directory(self.guard)
        return tuple(each.path for each in entries if each.is_directory and each.name.startswith(GUARD_MIRROR))


@dataclass(frozen=True, slots=True)
class DatabaseRoot:
    """A QuestDB data root: `root` holds `db` (and usually `conf`); both are canonical paths.

    Where only the db directory itself was given (a copy on another machine), `root` is its parent. `guard` is the
    folder of the guard's copies, with a directory for each table; it need not be there.
    """

    root: Path
    db: Path
    guard: Path | None = None

    @classmethod
    def locate(cls, path: Path) -> "DatabaseRoot":
        """Return the root for `path`: the data root or its db directory.

        Raises WalmedicError where there is no such directory, or it holds no QuestDB database.
        """
        try:
            given = path.resolve(strict=True)
            inner = (given / "db").resolve()
            is_directory, inner_is_directory = given.is_dir(), inner.is_dir()
        except PermissionError as error:
            place = clean_line(str(path))
            raise WalmedicError(f"{place} cannot be read as uid {os.geteuid()}; {run_as_owner()}") from error
        except OSError as error:
            reason = clean_line(error.strerror or "it cannot be read")
            raise WalmedicError(f"{clean_line(str(path))}: {reason}; name the directory that holds db/") from error
        if not is_directory:
            raise WalmedicError(f"{clean_line(str(path))} is not a directory; name the directory that holds db/")
        if inner_is_directory and (given.name != "db" or _looks_like_db(inner)):
            return cls(given, inner)
        if _looks_like_db(given) or given.name == "db":
            return cls(given.parent, given)
        raise WalmedicError(
            f"{clean_line(str(path))} holds neither a db/ directory nor QuestDB tables; name QuestDB's data root"
        )

    @property
    def lock(self) -> Path:
        """The registry's lock file, which a running server holds with flock."""
        return self.db / REGISTRY_LOCK

    def registry(self) -> Registry:
        return read_registry(self.db)

    def tables(self, *, dropped: bool = False) -> tuple[TableDirectory, ...]:
        """Return the tables, by name: those of the registry, then any other directory that holds `_txn`.

        Tables that the registry says were dropped come only with `dropped`; views, which hold no rows, are not tables.
        """
        return tuple(table for table in self.tables_and_views(dropped=dropped) if not table.is_query)

    def guarded(self, guard: Path) -> "DatabaseRoot":
        return replace(self, guard=guard.resolve())

    def views(self) -> tuple[TableDirectory, ...]:
        """Return the views, by name: a stored query each, from 9.3 on. Materialised views are tables."""
        return tuple(table for table in self.tables_and_views() if table.is_query)

    def tables_and_views(self, *, dropped: bool = False, only: str | None = None) -> tuple[TableDirectory, ...]:
        """Return tables and views together, by one listing, or what is in directory `only`; a view has `is_query`."""
        registry = self.registry()
        live, gone = registry.live(), registry.dropped()
        entries, _ = list_directory(self.db)
        found = [
            table
            for entry in entries
            if entry.is_directory
            and only in (None, entry.name)
            and (table := _table(entry.path, live.get(entry.name), dropped=entry.name in gone)) is not None
            and (dropped or not table.dropped)
        ]
        if self.guard is not None:
            found = [replace(table, guard=self.guard / table.directory) for table in found]
        return tuple(sorted(found, key=lambda table: (table.raw_name, table.directory)))

    def gone(self) -> tuple[RegistryEntry, ...]:
        """Return the entries of the registry that hold and whose directory is not in the db directory, nor set aside.

        A table that is dropped meanwhile is told by a second look: QuestDB changes the registry first.
        """
        before, (entries, problem) = self.registry().live(), list_directory(self.db)
        there = {entry.name for entry in entries} | {aside.path.name for aside in tables_aside(self.db)}
        missing = [] if problem is not None else sorted(before.keys() - there)
        after = self.registry().live() if missing else {}
        return tuple(after[directory] for directory in missing if directory in after)

    def not_dropped(self) -> tuple[Path, ...]:
        """Return the directories that the registry counts as dropped and whose own log does not.

        DROP TABLE changes the registry first, then the log (CairoEngine): one that is under way is told by later looks.
        """
        found = self._not_dropped()
        for _ in later_looks() if found else ():
            found = found & self._not_dropped()
        return tuple(sorted(found))

    def _not_dropped(self) -> frozenset[Path]:
        dropped, (entries, _) = self.registry().dropped(), list_directory(self.db)
        there = [entry.path for entry in entries if entry.is_directory and entry.name in dropped]
        return frozenset(path for path in there if ends_with_drop(path / SEQUENCER) is False)

    def doubles(self) -> tuple[tuple[TableDirectory, ...], ...]:
        """Return the WAL tables that share a name, by name, if the registry does not say which of them is the table.

        One that is older than a RENAME TABLE says so of a table that calls itself otherwise by now.
        """
        named: dict[str, list[TableDirectory]] = {}
        for table in self.tables():
            if table.wal:
                named.setdefault(table.raw_name.lower(), []).append(table)
        groups = (tuple(group) for group in named.values() if len(group) > 1)
        return tuple(group for group in groups if sum(map(_is_named_so, group)) != 1)

    def table(self, name: str) -> TableDirectory:
        """Return the table with that name, or else with that directory name.

        Raises WalmedicError where there is none, or where several are called so and the registry names none of them.
        """
        return self.named((name,))[0]

    def in_directory(self, directory: str) -> TableDirectory:
        """Return the table in that directory, whatever it is called. Raises WalmedicError where there is none."""
        found = [table for table in self.tables_and_views(only=directory) if not table.is_query]
        return found[0] if found else self._one((), directory)

    def named(self, names: Sequence[str]) -> list[TableDirectory]:
        tables = self.tables()
        return [self._one(tables, name) for name in names]

    def _one(self, tables: Sequence[TableDirectory], name: str) -> TableDirectory:
        for matches in (
            [t for t in tables if t.raw_name == name],
            [t for t in tables if t.directory == name],
            _alone([t for t in tables if t.name == name]),
            [t for t in tables if t.raw_name.lower() == name.lower()],
        ):
            for preferred in (
                [t for t in matches if t.registered],
                [t for t in matches if t.directory == name],
                matches,
            ):
                if len(preferred) == 1:
                    return preferred[0]
            if matches:
                listed = ", ".join(clean_line(each.directory) for each in matches)
                raise WalmedicError(
                    f"{len(matches)} directories are called {clean_line(name)}: {listed}; name one by its directory"
                )
        if problem := list_directory(self.db)[1]:
            raise WalmedicError(
                f"{clean_line(str(self.db))} cannot be listed as uid {os.geteuid()} ({problem.what}); {run_as_owner()}"
            )
        if any(name in (view.raw_name, view.directory) for view in self.views()):
            raise WalmedicError(f"{clean_line(name)} is a view: it holds no rows; name the table that it reads")
        raise WalmedicError(
            f"there is no table {clean_line(name)} in {self.db}; `walmedic check` lists those there are"
        )

    def listing_problems(self) -> tuple[Problem, ...]:
        """Return what stands in the way of seeing all tables: symlinks, an unreadable directory or registry."""
        entries, problem = list_directory(self.db)
        return join_problems(problem, _symlinks(entries), self.registry().problems)


def _is_named_so(table: TableDirectory) -> bool:
    """Return whether the registry has the table's name, and `_name` does not say another."""
    return table.registered and read_table_name(table.path) in (None, table.raw_name)


def _alone(matches: list[TableDirectory]) -> list[TableDirectory]:
    """Return `matches` where it is one: two names may look the same once they are clean."""
    return matches if len(matches) == 1 else []


def _looks_like_db(path: Path) -> bool:
    entries, _ = list_directory(path)
    return any(
        (entry.is_file and (entry.name == "_tab_index.d" or entry.name.startswith("tables.d.")))
        or (entry.is_directory and (entry.path / "_txn").is_file())
        for entry in entries
    )


def _table(path: Path, entry: RegistryEntry | None, *, dropped: bool) -> TableDirectory | None:
    """Return the table at `path`, None where the directory is none (the server's test: there is a `_txn`).

    A directory that the registry lists, or that has `_meta`, is a table to us even with `_txn` gone: it must not vanish
    from sight.
    """
    if entry is None and not _may_be_table(path):
        return None
    identity = read_table_identity(path)
    if entry is not None:
        raw_name = entry.name
        table_id: int | None = entry.table_id
        wal: bool | None = entry.kind in (TableKind.WAL, TableKind.MATERIALIZED_VIEW)
        is_view, is_query = entry.kind == TableKind.MATERIALIZED_VIEW, entry.kind == TableKind.VIEW
    else:
        raw_name = read_table_name(path) or name_of_directory(path.name)
        table_id, wal = identity.table_id, identity.wal
        # os.path.exists is False where the directory may not be entered.
        is_view, is_query = (os.path.exists(path / name) for name in ("_mv", VIEW))  # noqa: PTH110
    return TableDirectory(
        name=clean_line(raw_name),
        raw_name=raw_name,
        directory=path.name,
        path=path,
        table_id=table_id,
        wal=wal,
        is_view=is_view,
        is_query=is_query,
        registered=entry is not None,
        system=is_system_name(raw_name),
        # A registry that is older than the DROP TABLE names it; QuestDB does not, once `_txn` has gone.
        dropped=dropped or (not os.path.exists(path / "_txn") and ends_with_drop(path / SEQUENCER) is True),  # noqa: PTH110
        problems=identity.problems,
    )


def _may_be_table(path: Path) -> bool:
    """Return whether a directory that no registry lists is a table; one that may not be entered goes by its name."""
    try:
        return any((path / name).exists() for name in ("_txn", "_meta"))
    except PermissionError:
        return "~" in path.name


def wal_directories(directory: Path, listing: Sequence[Entry] | None = None) -> tuple[WalDirectory, ...]:
    """Return the WAL directories in `directory`, by id; a table, or wherever they were copied to."""
    entries = list_directory(directory)[0] if listing is None else listing
    found = [
        _wal_directory(int(match[1]), entry.path)
        for entry in entries
        if entry.is_directory and (match := _WAL.fullmatch(entry.name))
    ]
    return tuple(sorted(found, key=lambda wal: wal.id))


def _wal_directory(wal_id: int, path: Path) -> WalDirectory:
    entries, problem = list_directory(path)
    segments = sorted(int(entry.name) for entry in entries if entry.is_directory and _SEGMENT.fullmatch(entry.name))
    lost = sorted(int(name) for name in _locked_and_gone(entries) if _SEGMENT.fullmatch(name))
    return WalDirectory(wal_id, path, tuple(segments), join_problems(problem, _symlinks(entries)), tuple(lost))


def lost_wals(entries: Sequence[Entry]) -> tuple[int, ...]:
    """Return the ids of the WALs of which a table's directory has the lock file and not the directory, ascending."""
    found = (_WAL.fullmatch(name) for name in _locked_and_gone(entries))
    return tuple(sorted(int(match[1]) for match in found if match))


def _locked_and_gone(entries: Sequence[Entry]) -> set[str]:
    names = {entry.name for entry in entries}
    return {entry.name.removesuffix(_LOCK) for entry in entries if entry.is_file and entry.name.endswith(_LOCK)} - names


def _symlinks(entries: Sequence[Entry]) -> tuple[Problem, ...]:
    links = [entry.path for entry in entries if entry.is_symlink and not entry.is_directory]
    return tuple(
        Problem(ProblemKind.UNREADABLE, f"it is a symbolic link, which is {_lead(path)}", path) for path in links
    )


def _lead(link: Path) -> str:
    return "broken: what it leads to is not there" if leads_nowhere(link) else "never followed"


def _holds_sequencer_files(path: Path) -> bool:
    return any(os.path.exists(path / name) for name in _SEQUENCER_FILES)  # noqa: PTH110 (closed: False)

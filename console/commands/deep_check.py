"""`walmedic check --deep`: every value is read from disk, and aggregated by SQL where a server runs."""

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.commands.options import Invocation
from console.diagnosis.deep import sweep
from console.diagnosis.deep_files import DeepFiles, DeepLook
from console.diagnosis.deep_record import DeepRecord
from console.diagnosis.deep_scope import EVERYTHING, DeepScope
from console.diagnosis.server.sql import NoAnswer, server_of
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.recovery.store.deep_damage import note_damage, places_of
from console.recovery.store.places import root_key
from console.recovery.store.state import StateDir, StateError
from console.text import clean_line

_EVERY: Final = 0.5
"""Seconds between two lines of progress."""
_ABSENT: Final = "no table that is checked has a {} {}; give the name as QuestDB shows it"


@dataclass(frozen=True, slots=True)
class DeepLooks:
    """What every value of the tables shows, by table directory, and what was left out. Not `whole`: interrupted."""

    by_directory: dict[str, DeepLook]
    left_out: list[str]
    whole: bool


def deep_looks(
    invocation: Invocation,
    database: DatabaseRoot,
    tables: Sequence[str],
    *,
    served: bool,
    scope: DeepScope = EVERYTHING,
) -> DeepLooks:
    """Return what reading every value of the tables shows.

    An interrupt ends the reading; what was found until then is kept, and the next deep check goes on there. Raises
    WalmedicError if no table has a partition or column that `scope` names.
    """
    named = database.named(tables) if tables else database.tables()
    own = [table for table in named if not table.system]
    found = _files(invocation, database, own, scope)
    if not found.whole:
        return found
    if not scope.whole:
        found.left_out.append("the deep sweep: it reads whole tables, and partitions or columns are named")
    elif served:
        found.left_out.extend(_sweeps(invocation, database, own, found.by_directory))
    else:
        found.left_out.append("the deep sweep: it needs SQL")
    return found


def _files(
    invocation: Invocation, database: DatabaseRoot, tables: Sequence[TableDirectory], scope: DeepScope
) -> DeepLooks:
    progress = Progress()
    path, reason = _record_path(invocation, database)
    record = DeepRecord(path, progress.pass_over)
    checks = [DeepFiles(table, progress.advance, scope, record) for table in tables]
    _must_be_there(checks, scope)
    progress.total = sum(check.size() for check in checks)
    looks: dict[str, DeepLook] = {}
    left_out = [reason] if reason else []
    for check in checks:
        try:
            progress.name = check.table.name
            look = check.look()
        except KeyboardInterrupt:
            looks[check.table.directory] = check.so_far()
            left_out.append(f"the values of {check.table.name} and of the tables after it: interrupted")
            progress.end()
            return DeepLooks(looks, left_out, whole=False)
        looks[check.table.directory] = look
        left_out += look.left_out
    progress.end()
    record.forget()
    if path is not None:
        with contextlib.suppress(StateError):
            places = {directory: places_of(look.findings) for directory, look in looks.items()}
            note_damage(StateDir(invocation.settings.state_path), database.db, places, whole=scope.whole)
    return DeepLooks(looks, left_out, whole=True)


def _must_be_there(checks: Sequence[DeepFiles], scope: DeepScope) -> None:
    """Raise WalmedicError for a name that no table has. A table whose files do not tell its names may have it."""
    known = [check.names() for check in checks]
    read = [names for names in known if names is not None]
    if len(read) < len(known):
        return
    for partition in sorted(scope.partitions):
        if not any(partition in partitions for partitions, _ in read):
            raise WalmedicError(_ABSENT.format("partition", clean_line(partition)))
    for column in sorted(scope.columns):
        if not any(column.lower() in columns for _, columns in read):
            raise WalmedicError(_ABSENT.format("column", clean_line(column)))


def _record_path(invocation: Invocation, database: DatabaseRoot) -> tuple[Path | None, str]:
    """Return where the progress of a check of this database is kept, or why nowhere. Never below a database."""
    state = StateDir(invocation.settings.state_path)
    if state.root.resolve().is_relative_to(database.root.resolve()):
        return None, "the progress of the deep check: the state directory lies inside the data root"
    try:
        return state.made(state.root / "deep") / f"{root_key(database.db)}.jsonl", ""
    except StateError:
        return None, "the progress of the deep check: the state directory cannot be written"


def _sweeps(
    invocation: Invocation, database: DatabaseRoot, tables: Sequence[TableDirectory], looks: dict[str, DeepLook]
) -> list[str]:
    """Add what the server's aggregates show to `looks`, and return what they left out."""
    left_out: list[str] = []
    try:
        with server_of(invocation.settings.questdb, database) as server:
            for table in tables:
                try:
                    result = sweep(server, table)
                except NoAnswer as error:
                    left_out.append(f"the deep sweep of {table.name}: {error}")
                    continue
                look = looks.get(table.directory, DeepLook((), frozenset()))
                looks[table.directory] = DeepLook((*look.findings, *result.findings), look.seen, look.left_out)
                left_out += [result.left_out] if result.left_out else []
    except NoAnswer as error:
        left_out.append(f"the deep sweep: {error}")
    return left_out


class Progress:
    """One line on a terminal's stderr: how much is read, and how long the rest takes at this speed."""

    def __init__(self) -> None:
        self.total, self.name = 0, ""
        self._done = 0
        self._began = time.monotonic()
        self._shown_at = self._began - _EVERY
        self._shown = False
        self._terminal = sys.stderr.isatty()

    def pass_over(self, count: int) -> None:
        """Take note that `count` bytes need not be read: an earlier check read them."""
        self.total = max(0, self.total - count)

    def advance(self, count: int) -> None:
        """Take note that `count` more bytes are read."""
        self._done += count
        now = time.monotonic()
        if not self._terminal or now - self._shown_at < _EVERY or not self._done:
            return
        self._shown_at, self._shown = now, True
        done = min(self._done, self.total)
        left = (now - self._began) * (self.total - done) / done if done else 0
        line = f"reading {self.name}: {done / 1e6:,.1f} of {self.total / 1e6:,.1f} MB, {left:,.0f} s left"
        sys.stderr.write(f"\r{line:<78}")
        sys.stderr.flush()

    def end(self) -> None:
        if self._shown:
            sys.stderr.write(f"\r{'':<78}\r")
            sys.stderr.flush()

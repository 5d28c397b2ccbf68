"""`walmedic check --deep`: every value is read from disk, and aggregated by SQL where a server runs."""

import sys
import time
from collections.abc import Sequence
from typing import Final

from console.commands.options import Invocation
from console.diagnosis.deep import sweep
from console.diagnosis.deep_files import DeepFiles, DeepLook
from console.diagnosis.server.sql import NoAnswer, server_of
from console.questdb.layout import DatabaseRoot, TableDirectory

_EVERY: Final = 0.5
"""Seconds between two lines of progress."""


def deep_looks(
    invocation: Invocation, database: DatabaseRoot, tables: Sequence[str], *, served: bool
) -> tuple[dict[str, DeepLook], list[str]]:
    """Return what every value of the tables shows, by table directory, and what was left out.

    An interrupt ends the reading; what was found until then is kept.
    """
    named = [database.table(name) for name in tables] if tables else database.tables()
    own = [table for table in named if not table.system]
    looks, left_out = _files(own)
    if served:
        left_out += _sweeps(invocation, database, own, looks)
    else:
        left_out.append("the deep sweep: it needs SQL")
    return looks, left_out


def _files(tables: Sequence[TableDirectory]) -> tuple[dict[str, DeepLook], list[str]]:
    progress = _Progress()
    checks = [DeepFiles(table, progress.advance) for table in tables]
    progress.total = sum(check.size() for check in checks)
    looks: dict[str, DeepLook] = {}
    left_out: list[str] = []
    for check in checks:
        try:
            progress.name = check.table.name
            look = check.look()
        except KeyboardInterrupt:
            looks[check.table.directory] = check.so_far()
            left_out.append(f"the values of {check.table.name} and of the tables after it: interrupted")
            break
        looks[check.table.directory] = look
        left_out += look.left_out
    progress.end()
    return looks, left_out


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


class _Progress:
    """One line on a terminal's stderr: how much is read, and how long the rest takes at this speed."""

    def __init__(self) -> None:
        self.total, self.name = 0, ""
        self._done = 0
        self._began = self._said = time.monotonic()
        self._shown = sys.stderr.isatty()

    def advance(self, count: int) -> None:
        """Take note that `count` more bytes are read."""
        self._done += count
        now = time.monotonic()
        if not self._shown or now - self._said < _EVERY or not self._done:
            return
        self._said = now
        done = min(self._done, self.total)
        left = (now - self._began) * (self.total - done) / done if done else 0
        share = 100 * done // self.total if self.total else 100
        line = f"reading {self.name}: {share} % of {self.total / 1e6:,.0f} MB, {left:,.0f} s left"
        sys.stderr.write(f"\r{line:<78}")
        sys.stderr.flush()

    def end(self) -> None:
        """Clear the line."""
        if self._shown and self._said > self._began:
            sys.stderr.write(f"\r{'':<78}\r")
            sys.stderr.flush()

"""A live server on seeded tables whose sequencers are broken, for the tests of copy-table."""

import contextlib
import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan, RunResult
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server
from console.settings import QuestDBSettings, Settings
from tests.real.generated_tables import SERVER, Recipe, applied_txn, build
from tests.real.waiting import until


def _recipe(name: str, seed: int, **said: Any) -> Recipe:
    plain = replace(Recipe.drawn(seed), name=name, version=1, purged="none", altered=False, altered_late=False)
    return replace(plain, dedup=False, updates=False, **said) if "dedup" not in said else replace(plain, **said)


RECIPES = (
    # one writer: no log is left, and its own order says what is applied
    _recipe("gone", 41, writers=1, applied_rounds=6, pending_rounds=4),
    _recipe("altered", 43, writers=1, applied_rounds=5, pending_rounds=2),
    _recipe("zeroed", 47, writers=2, applied_rounds=4, pending_rounds=3),
    _recipe("keyed", 53, writers=1, applied_rounds=5, pending_rounds=0, dedup=True),
    _recipe("killed", 59, writers=1, applied_rounds=5, pending_rounds=2),
    _recipe("well", 61, writers=1, applied_rounds=2, pending_rounds=0),
)


@dataclass(frozen=True)
class World:
    """A live server on the tables, and an engine on both."""

    server: PrivateServer
    engine: Engine
    inserted: dict[str, int]

    def rows(self, table: str) -> int:
        """Return the rows that the server counts."""
        return int(self.server.query(f'select count() from "{table}"')[0][0])

    def names(self) -> dict[str, str]:
        """Return table names by directory."""
        return {str(d): str(n) for n, d in self.server.query("select table_name, directoryName from tables()")}


@contextlib.contextmanager
def broken_tables(questdb: ServerBinary, folder: Path) -> Iterator[World]:
    """Build the tables below `folder`, take or break their sequencers, and start a server on them."""
    recipes = [replace(r, altered=True, updates=True) if r.name == "altered" else r for r in RECIPES]
    batch = build(folder / "root", recipes, questdb)
    for name in ("gone", "altered", "keyed"):
        shutil.rmtree(batch.table(name) / "txn_seq")
    for name in ("zeroed", "killed"):
        _zero_first_pending(batch.table(name))
    with PrivateServer(batch.root, questdb, settings=SERVER) as server:
        server.query("alter table well resume wal")
        # Soon after a start the server opens each table to write, one without txn_seq too, and trims its symbol index.
        reserved = int(SERVER["cairo.writer.data.index.value.append.page.size"])
        indexes = [batch.table(name) / "sym.v" for name in ("gone", "killed")]
        until(lambda: all(index.stat().st_size < reserved for index in indexes))
        settings = Settings(
            state_dir=str(folder / "state"), questdb=QuestDBSettings(db_root=str(batch.root), pg_port=server.pg_port)
        )
        yield World(server, Engine(settings), batch.inserted)
    shutil.rmtree(folder, ignore_errors=True)


def _zero_first_pending(table: Path) -> None:
    log = table / "txn_seq" / "_txnlog"
    content = bytearray(log.read_bytes())
    at = 76 + 28 * applied_txn(table)
    content[at : at + 28] = bytes(28)
    log.write_bytes(content)


def do(world: World, table: str) -> tuple[Plan, RunResult]:
    """Copy a table, and see that every claim is proven."""
    plan = world.engine.plan("copy-table", table)
    assert plan.refused == ()
    assert plan.confirmation == f"{table} lose {plan.rows_lost.phrase}"
    result = world.engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert all(claim.ok for claim in result.verification)
    return plan, result


def partitions(table: Path) -> dict[str, str]:
    """Return the hash of every file of the partitions and of what is applied."""
    files = [p for p in table.rglob("*") if p.is_file() and p.parts[len(table.parts)] not in ("txn_seq",)]
    return {str(p.relative_to(table)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


_CHANGES = ("CREATE", "INSERT", "ALTER", "RENAME", "DROP")


def interposed(monkeypatch: pytest.MonkeyPatch, seen: Callable[[int, str, bool], object]) -> None:
    """Call `seen` before and after every statement that changes something, with its number."""
    real, numbers = Server.rows, iter(range(1 << 30))

    def rows(self: Server, sql: str, parameters: Any = (), deadline: float = 60.0) -> list[dict[str, Any]]:
        if not sql.startswith(_CHANGES):
            return real(self, sql, parameters, deadline)
        number = next(numbers)
        seen(number, sql, False)
        found = real(self, sql, parameters, deadline)
        seen(number, sql, True)
        return found

    monkeypatch.setattr(Server, "rows", rows)


def killed_at(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], at: int, *, done: bool | None) -> bool:
    """Run `work` in a child that is killed before its statement `at`, after it, or (None) while the server works on it.

    Return whether it was killed: a statement may have ended too soon.
    """
    child = os.fork()
    if child == 0:
        try:

            def kill(number: int, sql: str, after: bool) -> None:
                if number == at and not after and done is None:
                    threading.Timer(0.004, os.kill, (os.getpid(), signal.SIGKILL)).start()
                elif number == at and after is done:
                    os.kill(os.getpid(), signal.SIGKILL)

            interposed(monkeypatch, kill)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)

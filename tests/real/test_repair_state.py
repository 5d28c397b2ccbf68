"""repair-metadata and repair-table-state on tables that grew at random under a real server, against undamaged twins.

`WALMEDIC_FAULT_STATE` says how many seeds (150 in `make faults`), `WALMEDIC_FAULT_SEED` names one to run alone.
"""

import os
import random
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
import pytest

from console.diagnosis.database import diagnose_table
from console.questdb.layout import DatabaseRoot
from console.recovery.codes import RefusalCode
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan
from console.recovery.rehearsal import rehearsing
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.grown_tables import SETTINGS, grow
from tests.real.state_damage import struck
from tests.real.test_sequencer_repairs import captured, engine_of

pytestmark = pytest.mark.timeout(1800)  # one fixture repairs all tables, one after the other

_ALONE = os.environ.get("WALMEDIC_FAULT_SEED")
_SEEDS = [int(_ALONE)] if _ALONE else [*range(7000, 7000 + int(os.environ.get("WALMEDIC_FAULT_STATE", "16")))]
_TOGETHER: Final = 30
_ACTIONS: Final = ("repair-metadata", "repair-table-state")
Rows = Counter[str]


@dataclass
class Ended:
    """What was said of one table, and what two servers then showed: its twin's, and its own."""

    seed: int
    damage: str
    plan: Plan
    outcome: Outcome
    truth: list[Rows | str] = field(default_factory=list)
    found: list[Rows | str] = field(default_factory=list)

    def __str__(self) -> str:
        said = [f"{each.code}: {each.reason}" for each in self.plan.refused]
        seen = [
            (f"{sum((a - b).values())} lost, {sum((b - a).values())} more of {a.total()}")
            if isinstance(a, Counter) and isinstance(b, Counter)
            else f"{a if isinstance(a, str) else a.total()} / {b if isinstance(b, str) else b.total()}"
            for a, b in zip(self.truth, self.found, strict=False)
        ]
        proof = [each.evidence for each in self.plan.requirements]
        return (
            f"seed {self.seed}, {self.damage}: {self.outcome.value}, {self.plan.confirmation}, {said}; {seen}; {proof}"
        )


def _rows(server: PrivateServer, name: str) -> Rows | str:
    try:
        return Counter(repr(row) for row in server.query(f"SELECT * FROM {name}"))
    except psycopg.Error as error:
        return str(error).splitlines()[0]


def write_everywhere(server: PrivateServer, name: str) -> None:
    """Write into each day of the table and into a new one, and add a column, where the server takes it."""
    days = [f"2024-01-0{day}T12:00:00" for day in range(1, 6)] + ["2025-06-01"]
    statements = [f"INSERT INTO {name} (ts) VALUES ('{day}')" for day in days]
    statements += [f"ALTER TABLE {name} ADD COLUMN fresh LONG"]
    statements += [f"INSERT INTO {name} (ts, fresh) VALUES ('{day}', 7)" for day in days]
    with server.connect() as connection:
        for statement in statements:
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                sys.stdout.write(f"{name}: {statement}: {str(error).splitlines()[0]}\n")


def seen(root: Path, names: list[str], questdb: ServerBinary) -> dict[str, list[Rows | str]]:
    """Start, read all rows; write, restart, read all rows again."""
    found: dict[str, list[Rows | str]] = {}
    for again in (False, True):
        with PrivateServer(root, questdb, settings=SETTINGS) as server:
            stopped = stopped_tables(server)
            for name in names:
                found.setdefault(name, []).append(stopped.get(name) or _rows(server, name))
            if not again:
                for name in names:
                    write_everywhere(server, name)
                stopped_tables(server)
    return found


def stopped_tables(server: PrivateServer) -> dict[str, str]:
    """Wait until nothing is applied any more; return why the tables stand that are not applied to the end."""
    wanted = "SELECT name, writerTxn, suspended, errorMessage FROM wal_tables() WHERE writerTxn < sequencerTxn"
    before, since = server.query(wanted), time.monotonic()
    while any(not row[2] for row in before) and time.monotonic() < since + 10:
        time.sleep(0.1)
        now = server.query(wanted)
        if now != before:
            before, since = now, time.monotonic()
    return {str(row[0]): f"stands at {row[1]}: {row[3]}" for row in before}


def _repaired(engine: Engine, name: str) -> tuple[Plan, Outcome]:
    """Take the steps that a check names, as long as it names one of these two; return the last one and its end.

    A loss that is not known is rehearsed first, as the console asks for.
    """
    table = engine.database.table(name)
    step = diagnose_table(engine.database, table).next_step.action
    action = step if step in _ACTIONS else _ACTIONS[-1]
    plan = engine.plan(action, name)
    if {each.code for each in plan.refused} == {RefusalCode.LOSE_UNKNOWN_WITHOUT_REHEARSAL}:
        rehearsing.rehearse(engine, action, name)
        plan = captured(engine, name).plan(action, name)
    outcome = engine.run(plan, plan.confirmation).outcome
    if outcome is Outcome.DONE and diagnose_table(engine.database, table).next_step.action in _ACTIONS:
        return _repaired(captured(engine, name), name)
    return plan, outcome


def _together(work: Path, seeds: list[int], questdb: ServerBinary) -> dict[int, Ended]:
    root, twin = work / "root", work / "twin"
    grow(root, seeds, questdb)
    shutil.copytree(root, twin)
    database = DatabaseRoot.locate(root)
    tables = {table.name: table for table in database.tables()}
    damages = {}
    for seed in seeds:
        damages[seed] = struck(tables[f"g{seed}"].path, random.Random(seed))
    engine: Engine = captured(engine_of(root, work / "state"))
    ended = {}
    for seed in seeds:
        plan, outcome = _repaired(engine, f"g{seed}")
        ended[seed] = Ended(seed, damages[seed], plan, outcome)
        if outcome not in (Outcome.DONE, Outcome.NOT_NEEDED):
            tables[f"g{seed}"].path.rename(work / f"refused{seed}")
    sys.stdout.write("".join(f"{each}\n" for each in ended.values()))
    names = [f"g{seed}" for seed, each in ended.items() if each.outcome in (Outcome.DONE, Outcome.NOT_NEEDED)]
    truth, found = seen(twin, names, questdb), seen(root, names, questdb)
    for each in ended.values():
        each.truth, each.found = truth.get(f"g{each.seed}", []), found.get(f"g{each.seed}", [])
    shutil.rmtree(work)
    sys.stdout.write("".join(f"{each}\n" for each in ended.values()))
    return ended


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, memory: Path) -> dict[int, Ended]:
    """All seeds, some tables at a time."""
    found: dict[int, Ended] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearsing, "server_binary", lambda *_: (questdb, ""))
        for first in range(0, len(_SEEDS), _TOGETHER):
            found |= _together(memory / str(first), _SEEDS[first : first + _TOGETHER], questdb)
    return found


@pytest.mark.parametrize("seed", _SEEDS)
def test_the_rows_are_those_of_the_twin_or_the_plan_is_refused(seed: int, ended: dict[int, Ended]) -> None:
    each = ended[seed]
    if each.outcome is Outcome.REFUSED:
        codes = {refusal.code for refusal in each.plan.refused}
        assert codes - {RefusalCode.LOSE_UNKNOWN_WITHOUT_REHEARSAL}, each  # a rehearsal settles that
        return
    assert each.outcome in (Outcome.DONE, Outcome.NOT_NEEDED), each
    lost = each.plan.rows_lost
    if lost.kind == "exact" and not each.plan.values_lost:
        assert lost.phrase == "0", each
        assert each.truth == each.found, each
        return
    for true, found in zip(each.truth, each.found, strict=True):
        assert isinstance(true, Counter), each
        assert isinstance(found, Counter), each
        assert 0 <= true.total() - found.total() <= (true.total() if lost.kind == "unknown" else lost.value or 0), each
        assert each.plan.values_lost or not found - true, each


def test_few_are_refused(ended: dict[int, Ended]) -> None:
    """The figures, for `-rP`. The server splits and squashes by time, so the tables differ a little in each run."""
    refused = Counter(each.plan.refused[0].code.value for each in ended.values() if each.outcome is Outcome.REFUSED)
    sys.stdout.write(f"{len(ended)} tables, refused {dict(refused)}\n")
    assert refused.total() <= max(3, len(ended) // 10), refused  # of so few three may be by chance

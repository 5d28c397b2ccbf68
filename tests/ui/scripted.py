"""An engine that answers from values: what the screens do with an answer is tested here, the engine elsewhere."""

from collections.abc import Sequence
from dataclasses import replace

from console.errors import WalmedicError
from console.recovery.journal import Entry
from console.recovery.model import (
    ActionSpec,
    Availability,
    Change,
    Claim,
    Danger,
    Fact,
    Outcome,
    Plan,
    Progress,
    Refusal,
    Requirement,
    RowsLost,
    RunResult,
    Stage,
)

FREEZE = ActionSpec(
    "freeze-writer", "Stop the batch writer", Danger.SERVICE, False,
    "Stops the batch writer and lets feeds and Redis go on: what comes in waits.", "thaw-writer starts it again",
)  # fmt: skip
STOP = ActionSpec(
    "stop-server", "Stop QuestDB and hold it down", Danger.SERVICE, False,
    "Stops the server and proves by its lock that none lives.", "start-server",
)  # fmt: skip
REBUILD = ActionSpec(
    "rebuild-sequencer", "Make txn_seq again from the WAL segments", Danger.DATA, True,
    "Makes txn_seq again from the segments' own event files, so that the rows thought lost come back.",
    "byte-identical until a server has started on the result: txn_seq is moved aside again",
    offline=True, needs_evidence=True,
)  # fmt: skip
START = ActionSpec(
    "start-server", "Start QuestDB and watch it apply", Danger.SERVICE, False,
    "Starts the server while the WAL is kept from its purge, and watches what it applies.", "stop-server",
)  # fmt: skip
SPECS = (FREEZE, STOP, REBUILD, START)

PLAN = Plan(
    plan_id="3f9a71c2",
    action="rebuild-sequencer",
    table="market_orderbook",
    station="ai-trading-station",
    confirmation="market_orderbook lose 0",
    why=(
        "txn_seq is gone. The backup's header says 150,983 transactions, its whole records are 150,964; the segments "
        "hold 19 that no record names. 150,964 + 19 = 150,983: every one is accounted for, the result is certain."
    ),
    rows_lost=RowsLost.exact(0),
    rows_back=6_359,
    rows_maybe_twice=0,
    refused=(),
    requirements=(
        Requirement("evidence is captured and fresh", True, "10:46:40Z, 12 files, hashes match"),
        Requirement("questdb is stopped", True, "its lock is won, no process has the files"),
        Requirement("batch-writer is stopped", True, "supervisor says so"),
        Requirement("enough disk is free", True, "1.9 GiB, 4.1 MiB needed"),
    ),
    stages=(
        Stage(
            "build", "build txn_seq beside the table", "tree", {},
            (
                Change("create", "db/market_orderbook~19/txn_seq/_txnlog", "", "150,983 transactions", 4_227_600),
                Change("create", "db/market_orderbook~19/txn_seq/_wal_index.d", "", "39", 8),
                Change("create", "db/market_orderbook~19/txn_seq/_meta", "", "from wal39/0", 1_208),
            ),
        ),
        Stage(
            "rename", "move it to its place", "rename", {},
            (Change("rename", "db/market_orderbook~19/txn_seq", "no such directory", "the new one"),),
        ),
        Stage("check", "read it back", "check"),
    ),
    facts=(Fact("db/market_orderbook~19/_txn", "a1"), Fact("db/market_orderbook~19/wal3/0/_event", "b2")),
    undo="byte-identical until a server has started on the result: txn_seq is moved aside again",
    rehearsed=False,
    directory="market_orderbook~19",
    disk_needed=4_300_000,
)  # fmt: skip

CLAIMS = (
    Claim("transactions in the log", "150,983", "150,983", True),
    Claim("records that name a segment on disk", "318", "318", True),
    Claim("highest wal id", "39", "39", True),
)
DONE = RunResult(
    "20261123-104731-7c1f2a", Outcome.DONE, "done and verified", CLAIMS,
    "the sequencer is whole again: start-server applies the 6,359 rows",
)  # fmt: skip

ALIVE = Refusal("server-alive", "a QuestDB server lives on this database (pid 4711)", "stop-server")


class ScriptedRun:
    """Tells a stage at each call, then the result."""

    def __init__(self, plan: Plan, result: RunResult, hold_after: int | None) -> None:
        self._hold_after = hold_after
        self._told = [
            [
                Progress(result.entry, stage.id, stage.title, "begins"),
                Progress(result.entry, stage.id, stage.title, "done"),
            ]
            for stage in plan.stages
        ]
        self._result = result

    def poll(self) -> Sequence[Progress]:
        """Return what the next stage tells."""
        if self._hold_after == 0:
            return []
        if self._hold_after is not None:
            self._hold_after -= 1
            first, second = self._told[0], self._told[1]
            return [*first, second[0]]
        return self._told.pop(0) if self._told else []

    def result(self) -> RunResult | None:
        """Return the result once all is told."""
        return None if self._told else self._result


class ScriptedEngine:
    """Answers from values; notes what was launched."""

    def __init__(self, *, plan: Plan = PLAN, alive: bool = False, result: RunResult = DONE) -> None:
        self.made = plan
        self.alive = alive
        self.outcome = result
        self.launched: list[tuple[Plan, str]] = []
        self.planned: list[tuple[str, str | None]] = []
        self.error = ""
        self.hold_after: int | None = None  # a run stands still after so many stages

    def availability(self, table: str | None) -> Sequence[Availability]:
        """Return all actions; those that need the server down are refused while it is alive."""
        if self.error:
            raise WalmedicError(self.error)
        return tuple(
            Availability(spec, table, (ALIVE,) if spec.offline and self.alive else (), spec is REBUILD)
            for spec in SPECS
        )

    def plan(self, action: str, table: str | None = None) -> Plan:
        """Return the plan, for whatever action and table."""
        self.planned.append((action, table))
        if self.error:
            raise WalmedicError(self.error)
        return replace(self.made, refused=(ALIVE,)) if self.alive else self.made

    def launch(self, plan: Plan, phrase: str) -> ScriptedRun:
        """Note it and tell the stages."""
        self.launched.append((plan, phrase))
        return ScriptedRun(plan, self.outcome, self.hold_after)

    def unfinished(self) -> Sequence[Entry]:
        """Nothing was cut off."""
        return ()

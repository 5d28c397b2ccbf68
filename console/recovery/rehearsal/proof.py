"""Proof on the clone: a real server is started on the result, and made to show what the plan promised."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.server_version import version_of_jar
from console.questdb.table_txn import read_table_txn
from console.questdb.version_behaviour import behaviour_of
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim, Plan
from console.recovery.rehearsal.canary import Shape, canary_claim, column_claim
from console.recovery.rehearsal.progress import Reporter
from console.recovery.rehearsal.sweeps import Sweeps
from console.recovery.server.expectation import Expectation, expectation_of
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer, ServerError
from console.recovery.server.purge_guard import INTERVAL_MS, SETTING
from console.recovery.server.sql import Server
from console.recovery.server.value_claims import sums_before, value_claims
from console.recovery.server.value_sums import TableSums
from console.recovery.server.verification import table_claims, wait_until_applied
from console.recovery.table_repair.planning import partitions_of, replaced_by
from console.recovery.tree.wal_locks import WalLocks
from console.settings import QuestDBSettings
from console.text import clean_line

_HEAP_MOST, _HEAP_SHARE, _HEAP_LEAST = 2 << 30, 4, 128 << 20
_NICE = 10
_START = 180.0
_DEATH = 2.0
_SWEEPS = 2
_PURGE_INTERVAL_MS = 1000
_LOG_TAIL = 64 << 10


class NotProvenError(WalmedicError):
    """The result of the plan is not what it promised, or the server did not survive it."""


@dataclass(frozen=True, slots=True)
class Before:
    """What the table held before the plan.

    `rows`: applied rows, lag included; 0 if `_txn` is what the plan writes anew. `logged_rows`: what it would have held
    once its own log was applied, None where that log could not say. `wals`: the WAL directories on disk.
    """

    rows: int
    logged_rows: int | None
    wals: tuple[int, ...]

    @classmethod
    def of(cls, table: TableDirectory, plan: Plan) -> "Before":
        """Return what `table` holds now: 0 rows if its `_txn` cannot be read."""
        wals = tuple(wal.id for wal in table.wals())
        area = read_table_txn(table.path).current
        if area is None or (plan.rows_back and f"{table.directory}/_txn" in replaced_by(plan)):
            return cls(0, None, wals)
        logged = None
        with contextlib.suppress(WalmedicError):
            logged = expectation_of(table).rows
        return cls(area.rows + area.lag_rows, logged, wals)


def heap_bytes(available: int) -> int:
    """Return the heap that a rehearsal's server may have. Raises WalmedicError where too little memory is free."""
    heap = min(_HEAP_MOST, available // _HEAP_SHARE)
    if heap < _HEAP_LEAST:
        raise WalmedicError(
            f"only {available >> 20:,} MiB of memory are free and a quarter of that is too little for a server to "
            "rehearse with; free some, or rehearse on a copy on another machine"
        )
    return heap


@contextlib.contextmanager
def started(root: Path, binary: ServerBinary, *, held: bool = False) -> Iterator[PrivateServer]:
    """Yield a server on the clone at `root`: loopback, no HTTP, low priority, first to go when memory runs out.

    With `held` its purge is held by its interval, as start-server does it where file locks hold nothing.
    """
    available = psutil.virtual_memory().available
    heap = heap_bytes(available)
    settings = {
        SETTING: str(INTERVAL_MS if held else _PURGE_INTERVAL_MS),
        # Beyond the heap QuestDB maps and allocates by itself: half of what is free stays with the station.
        "ram.usage.limit.bytes": str(available // 2),
    }
    server = PrivateServer(root, binary, settings=settings, heap=heap, nice=_NICE, whole_log=True)
    try:
        server.start(_START)
        with contextlib.suppress(OSError):
            Path(f"/proc/{server.pid}/oom_score_adj").write_text("1000")
        yield server
    finally:
        server.stop()


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The plan that is rehearsed, and those of the `further` repairs that the clone needed; they may still come."""

    plan: Plan
    further: Sequence[Plan]

    @property
    def applied_rows_lost(self) -> int:
        """The applied rows that the plan takes out of `_txn`; others that it loses were never applied."""
        own = f"{self.plan.directory}/_txn" in replaced_by(self.plan)
        return self.plan.rows_lost.value or 0 if own and not self.plan.rows_back else 0

    @property
    def partitions(self) -> frozenset[str] | None:
        """The partitions whose files were replaced; None: files of all partitions' columns."""
        each = [partitions_of(plan) for plan in (self.plan, *self.further)]
        known = [names for names in each if names is not None]
        return frozenset().union(*known) if len(known) == len(each) else None


class Proof:
    """Collects claims about one table of a clone. Raises NotProvenError at the first that does not hold."""

    def __init__(self, database: DatabaseRoot, done: Rehearsed, before: Before, mark: str, reporter: Reporter) -> None:
        self._database = database
        self._plan = done.plan
        self._done = done
        self._before = before
        self._mark = mark
        self._reporter = reporter
        self._server: PrivateServer | None = None
        self.claims: list[Claim] = []
        self.build = ""

    def run(self, binary: ServerBinary) -> None:
        """Prove it all. Raises NotProvenError, and WalmedicError for what is no fault of the plan."""
        table = self._database.table(self._table)
        try:
            expected = expectation_of(table)
        except WalmedicError as error:
            self._add(
                Claim(ClaimKey.KNOWN, "what the table will hold is known from disk", "known", str(error), ok=False)
            )
            raise
        self._predicted(expected)
        values = sums_before(table, also=self._done.partitions)
        with WalLocks(self._database.db) as locks:
            held = sum(locks.hold(each) for each in self._database.tables() if each.wal is not False)
            by_locks = behaviour_of(version_of_jar(binary.jar)).file_locks_hold_wal
            how = f"{held:,} WAL locks held" if by_locks else "its purge held by its interval"
            self._reporter.begins("start", f"start a server on the clone, {how}")
            with self._running(binary, held=not by_locks) as server:
                sql = self._sql(server)
                self._applied(sql, expected, values)
                if by_locks:
                    self._sweeps(sql, expected, locks)
                    self._writes(sql)
                else:
                    self._kept(expected)
            if not by_locks:
                locks.release()
                with self._running(binary) as server:
                    sql = self._sql(server)
                    self._sweeps(sql, expected, None)
                    self._writes(sql)

    @property
    def _table(self) -> str:
        return self._plan.directory or self._plan.table or ""

    def _predicted(self, expected: Expectation) -> None:
        """The log that the plan wrote must bring back what the plan announced: disk against plan, before any server."""
        back = expected.rows - self._before.rows
        gone = self._done.applied_rows_lost
        promised = self._plan.rows_back - gone
        name = clean_line(expected.table)
        claim = f"{name}: rows recovered"
        if self._done.further:
            told = f"{back:,}, with the further repairs"
            self.claims.append(Claim.note(ClaimKey.ROWS_BACK, claim, told, table=name))
        elif promised == 0 and self._before.logged_rows is None and replaced_by(self._plan):
            told = f"{back:,}, unapplied in the log that could not be compared before"
            self.claims.append(Claim.note(ClaimKey.ROWS_BACK, claim, told, table=name))
        else:
            # A plan that leaves the log alone brings nothing back; what the log held before is still to be applied.
            logged = self._before.logged_rows
            kept = self._plan.rows_back == 0 and logged is not None and expected.rows == logged - gone
            most, why = ("", "") if expected.exact else ("at most ", f" ({expected.why})")
            ok = kept or (back == promised if expected.exact else back <= promised)
            what = (f"{most}{promised:,}", f"{most}{back:,}{why}")
            self._add(Claim(ClaimKey.ROWS_BACK, claim, *what, ok=ok, table=name))

    @contextlib.contextmanager
    def _running(self, binary: ServerBinary, *, held: bool = False) -> Iterator[PrivateServer]:
        claim = "a server starts on the result and lives"
        try:
            with started(self._database.root, binary, held=held) as server:
                self._server = server
                self.build = clean_line(str(self._sql(server).rows("SELECT build() AS build")[0]["build"]))
                self._reporter.done("start", self.build)
                try:
                    yield server
                except WalmedicError:
                    # A server that dies closes its connections first: the reason for an error shows a moment later.
                    if died := self._death(wait=_DEATH):
                        self._add(Claim(ClaimKey.SERVER_LIVES, claim, "it lives", died, ok=False))
                    raise
                self._add(Claim(ClaimKey.SERVER_LIVES, claim, "it lives", "it lived to the end", ok=True))
        except ServerError as error:
            self._add(Claim(ClaimKey.SERVER_LIVES, claim, "it lives", str(error), ok=False))

    def _sql(self, server: PrivateServer) -> Server:
        sql = Server(QuestDBSettings(host="127.0.0.1", pg_port=server.pg_port))
        sql.prove_ours(self._database.db)
        return sql

    def _alive(self) -> None:
        if died := self._death():
            raise NotProvenError(died)

    def _death(self, wait: float = 0.0) -> str:
        status = self._server.wait_for_exit(wait) if self._server is not None else None
        if status is None:
            return ""
        return f"the server on the clone died ({f'signal {-status}' if status < 0 else f'exit {status}'})"

    def _applied(self, sql: Server, expected: Expectation, values: TableSums | str) -> None:
        self._reporter.begins("apply", "apply what was logged, compare rows, range and partitions")

        def on_applied(done: int, total: int) -> None:
            self._reporter.goes_on("apply", "transactions applied", done, total)

        row = wait_until_applied(sql, expected, on_applied)
        for claim in table_claims(sql, expected, row):
            self._add(claim)
        self._reporter.goes_on("apply", "reading every value of the partitions that were touched")
        for claim in value_claims(sql, self._database.table(self._table), expected, values):
            self._add(claim)
        self._reporter.done("apply", f"{expected.rows:,} rows")

    def _sweeps(self, sql: Server, expected: Expectation, locks: WalLocks | None) -> None:
        sweeps = Sweeps(self._database.table(self._table).path, self._alive)
        first = "once with the WAL locked, twice without" if locks is not None else "twice"
        self._reporter.begins("sweeps", f"wait for the purge: {first}")
        if locks is not None:
            sweeps.wait()
            self._kept(expected)
            locks.release()
        for _ in range(_SWEEPS):
            sweeps.wait()
            self._reporter.goes_on("sweeps", "purge sweeps seen", sweeps.passed, _SWEEPS + 1)
        for claim in table_claims(sql, expected, sql.wal_table(expected.table)):
            self._add(replace(claim, claim=f"{claim.claim}, after two purge sweeps"))
        self._reporter.done("sweeps", f"{sweeps.passed} sweeps seen")

    def _kept(self, expected: Expectation) -> None:
        """Every WAL of before must be there still, but for those that the plan set aside."""
        table = self._database.table(self._table)
        left = {wal.id for wal in table.wals()}
        aside = {name for stage in self._plan.stages for name in stage.parameters.get("names", ())}
        lost = [f"wal{wal}" for wal in self._before.wals if wal not in left and f"wal{wal}" not in aside]
        name = clean_line(expected.table)
        claim, found = f"{name}: a purge sweep takes no locked WAL", ", ".join(lost) or "all kept"
        self._add(Claim(ClaimKey.WAL_KEPT, claim, "all kept", found, not lost, name))

    def _writes(self, sql: Server) -> None:
        table = self._database.table(self._table)
        if table.is_view:
            return  # a view takes no rows but from its base table
        self._reporter.begins("canary", "write a marked row and read it back, add a column")
        shape = Shape.of(table)
        self._add(canary_claim(sql, shape, self._mark, self._alive))
        self._add(column_claim(sql, shape, self._mark, self._alive))
        row = sql.wal_table(table.raw_name)
        state = "not listed" if row is None else "suspended" if row["suspended"] else "not suspended"
        claim, well = f"{table.name} is not suspended after the writes", row is not None and not row["suspended"]
        self._add(Claim(ClaimKey.TAKES_WRITES, claim, "not suspended", state, well, table=table.name))
        self._reporter.done("canary", "read back")

    def _add(self, claim: Claim) -> None:
        self.claims.append(claim)
        if not claim.ok:
            raise NotProvenError(f"{claim.claim}: expected {claim.expected}, found {claim.found}")


def log_tail(root: Path) -> bytes:
    """Return the end of the log of a clone's server, empty where there is none."""
    try:
        with (root / "questdb.log").open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _LOG_TAIL))
            return stream.read()
    except OSError:
        return b""

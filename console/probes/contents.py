"""What the samples of the probes hold: one frozen value for each source."""

from dataclasses import dataclass

from console.redis_queue.model import StreamEntry
from console.services.model import UnitSample, UnitState

__all__ = [  # UnitSample, UnitState, StreamEntry are of layers below and belong to what samples hold
    "BacklogSample", "CrashCause", "CrashesSample", "DiskSample", "JournalLine", "JournalSample", "SecondOpinion",
    "ServerSample", "ServerTable", "ServicesSample", "StreamEntry", "StreamSample", "UnitSample", "UnitState",
    "WalSample", "WalTable",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServicesSample:
    """All configured services, in the order of the settings."""

    backend: str
    units: tuple[UnitSample, ...]


@dataclass(frozen=True, slots=True)
class CrashCause:
    """Crashes with one cause; times in epoch seconds; file, offset and seqTxn where they could be tied."""

    title: str  # e.g. `SIGSEGV MemoryCR.getLong ← TableTransactionLogV1.open`
    count: int
    first_at: float
    last_at: float
    file: str = ""
    offset: int | None = None
    seq_txn: int | None = None
    confidence: str = ""
    explanation: str = ""  # one sentence, e.g. `one page short at seqTxn 7,607,751`
    per_bucket: tuple[int, ...] = ()  # counts over the time from first to last, oldest first


@dataclass(frozen=True, slots=True)
class CrashesSample:
    """All hs_err logs of the data root."""

    total: int
    causes: tuple[CrashCause, ...]
    last_at: float | None
    per_bucket: tuple[int, ...] = ()  # counts over the time from first to last, oldest first, for the sparkline
    last_pid: int | None = None  # the process that the newest log is of


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """What the server's HTTP health port says; `healthy` is None where it does not answer, and `health` says so.

    Numbers are there only with `metrics`: counted since the server's start, rates in rows a second, sizes in bytes.
    """

    health: str = ""
    healthy: bool | None = None
    metrics: bool = False
    suspended: int | None = None  # tables
    unhandled_errors: int | None = None
    failed_queries: int | None = None
    rows_written: float | None = None  # into WAL
    rows_applied: float | None = None  # out of it into tables
    resident: int | None = None
    heap_used: int | None = None
    heap_limit: int | None = None


@dataclass(frozen=True, slots=True)
class ServerSample:
    """QuestDB over PGWire. `wal_tables` is what the function of that name says: a table it does not list is missing.

    `ours` says whether the server serves the configured data root: None where that can be neither proven nor refuted.
    """

    version: str
    read_only_user: bool
    round_trip: float  # seconds
    wal_tables: tuple["ServerTable", ...]
    parameters: tuple[tuple[str, str], ...] = ()
    root: str = ""  # the data root as the server names it
    ours: bool | None = None
    warnings: tuple[str, ...] = ()  # one sentence each, e.g. that commits are not flushed
    opinion: SecondOpinion = SecondOpinion()


@dataclass(frozen=True, slots=True)
class ServerTable:
    """One row of `wal_tables()`."""

    name: str
    suspended: bool
    writer_txn: int
    sequencer_txn: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class WalTable:
    """How far one table is behind its sequencer, as its files say. Rates are transactions per second, None: not known.

    `seconds_behind` is the age of the oldest transaction that is logged and not applied, 0 where all are.
    """

    table: str
    logged: int | None
    applied: int | None
    seconds_behind: float | None
    rate_in: float | None = None
    rate_out: float | None = None

    @property
    def behind(self) -> int | None:
        """Return the transactions that are logged and not applied; negative where the log is behind the table."""
        return None if self.logged is None or self.applied is None else self.logged - self.applied


@dataclass(frozen=True, slots=True)
class DiskSample:
    """The file system of the data, in bytes; `free` is what is left for this user.

    `seconds_left` at the growth seen in the last `watched` seconds: None where it does not grow, or where it was not
    watched long enough to tell (`known` is False).
    """

    total: int
    free: int
    watched: float
    known: bool
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class WalSample:
    """All WAL tables and the disk that they lie on."""

    tables: tuple[WalTable, ...]
    disk: DiskSample | None

    def of(self, table: str) -> WalTable | None:
        return next((each for each in self.tables if each.table == table), None)


HISTORY_STEP = 2.0
"""Seconds from one value in `StreamSample.history` to the next."""


@dataclass(frozen=True, slots=True)
class StreamSample:
    """One Redis stream and the consumer group that the writer reads it with. Rates are entries per second.

    `lag` counts entries not yet delivered to the group, `pending` delivered and not acknowledged. `lag_known` says
    whether `lag` is exact; where it is not it is a lower bound, and None where nothing is known, never 0.
    `seconds_to_full` is the time to the memory limit at the present rate, None where it is not filling or has no limit.
    `trim_headroom` counts the entries until MAXLEN (`max_length`: as configured, or as seen at work) begins to remove
    unread ones, `seconds_to_loss` the time until then at the present rate; `losing` says that it does now.
    """

    stream: str
    group: str
    length: int
    lag: int | None
    lag_known: bool
    pending: int | None
    oldest_pending: float | None = None  # seconds since the oldest was last delivered: a retry begins anew
    held_since: float | None = None  # epoch seconds: when the oldest entry not acknowledged was added
    rate_in: float | None = None
    rate_out: float | None = None
    seconds_to_full: float | None = None
    seconds_to_drain: float | None = None
    history: tuple[int, ...] = ()  # waiting entries, oldest first, for the sparkline
    error: str = ""
    max_length: int | None = None
    trim_headroom: int | None = None
    seconds_to_loss: float | None = None
    losing: bool = False
    lost: int | None = None  # entries trimmed before the group read them, in its whole life, where Redis counts them
    lost_pending: int = 0  # entries trimmed while they were pending: only the writer may still have them
    consumers: int | None = None
    consumer_idle: float | None = None  # seconds since the liveliest consumer last asked
    first_entry: StreamEntry | None = None
    last_entry: StreamEntry | None = None

    @property
    def waiting(self) -> int | None:
        """Return the entries not yet acknowledged (a lower bound unless `lag_known`), None where that is not known."""
        return None if self.lag is None or self.pending is None else self.lag + self.pending


@dataclass(frozen=True, slots=True)
class BacklogSample:
    """Redis as the queue before the database. Memory in bytes, `memory_limit` 0 where there is none."""

    version: str
    memory_used: int
    memory_limit: int
    policy: str
    streams: tuple[StreamSample, ...]
    seconds_to_full: float | None = None
    persistence: str = ""  # e.g. `AOF on`, `snapshots only`, `none: a restart loses what waits`
    warnings: tuple[str, ...] = ()  # one sentence each


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One journal entry as the pane shows it."""

    entry: str
    at: float  # epoch seconds
    action: str
    target: str
    outcome: str  # `running`, `done`, `failed`, `rolled back`, `undone`, `unfinished`
    operator: str
    summary: str
    terminal: str = ""  # from which it was started, empty where there was none
    host: str = ""
    command: str = ""  # as it would be typed in a shell


@dataclass(frozen=True, slots=True)
class JournalSample:
    """The newest journal entries, newest first. `guarded_at`: the guard's last round, None where none ever ran."""

    lines: tuple[JournalLine, ...]
    chain_ok: bool
    guarded_at: float | None = None

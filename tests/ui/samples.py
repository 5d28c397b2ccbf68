"""Samples for the snapshots: values of a real station in the incident's end state, and states made from them."""

from pathlib import Path
from typing import Any

from console.diagnosis.model import (
    BlockedStep,
    Code,
    DatabaseReport,
    Finding,
    NextStep,
    Severity,
    TableReport,
    Verdict,
)
from console.probes.sample import (
    BacklogSample,
    CrashCause,
    CrashesSample,
    JournalLine,
    JournalSample,
    Sample,
    ServicesSample,
    Status,
    StreamSample,
    UnitSample,
    UnitState,
)

NOW = 1_762_763_467.0  # 2025-11-10 08:31:07Z
CLOCK = 50_000.0


def sample(probe: str, data: Any, age: float = 2.0) -> Sample[Any]:
    """Return a good sample of `probe`, `age` seconds old."""
    return Sample(probe, Status.OK, data, taken_at=NOW - age, monotonic=CLOCK - age)


def down(probe: str, error: str) -> Sample[Any]:
    """Return what a probe brings when its source does not answer."""
    return Sample(probe, Status.DOWN, None, error, taken_at=NOW, monotonic=CLOCK)


TRADES = TableReport(
    table="market_trades",
    directory="market_trades~8",
    wal=True,
    verdict=Verdict.BROKEN,
    can_read=True,
    can_write=False,
    applied_txn=153_000,
    logged_txn=None,
    rows_applied=160_594,
    rows_unapplied=0,
    rows_at_risk=0,
    findings=(
        Finding(
            Code.SEQUENCER_MISSING,
            Severity.DAMAGE,
            "txn_seq is gone; every write to the table fails (reads go on)",
            "db/market_trades~8/txn_seq",
        ),
        Finding(
            Code.BACKUP_FOUND,
            Severity.NOTE,
            "txn_seq.backup.20251110_032030 holds 153,000 whole records of 153,000",
            "db/market_trades~8/txn_seq.backup.20251110_032030/_txnlog",
        ),
        Finding(
            Code.BACKUP_FOUND,
            Severity.NOTE,
            "txn_seq.corrupted.20251110_032025 holds 153,000 whole records of 153,000",
            "db/market_trades~8/txn_seq.corrupted.20251110_032025/_txnlog",
        ),
    ),
    next_step=NextStep("restore-sequencer", "txn_seq is gone; a whole backup stands beside the table"),
    blocked_steps=(
        BlockedStep("convert-table", "deletes every walN; 0 rows wait there now, later ones would be lost"),
        BlockedStep("DROP TABLE", "removes the rows and the backups inside the directory"),
    ),
)

ORDERBOOK = TableReport(
    table="market_orderbook",
    directory="market_orderbook~19",
    wal=True,
    verdict=Verdict.BROKEN,
    can_read=True,
    can_write=False,
    applied_txn=149_648,
    logged_txn=None,
    rows_applied=406_086,
    rows_unapplied=6_359,
    rows_at_risk=6_359,
    findings=(
        Finding(
            Code.SEQUENCER_MISSING,
            Severity.DAMAGE,
            "txn_seq is gone; every write to the table fails (reads go on)",
            "db/market_orderbook~19/txn_seq",
        ),
        Finding(
            Code.LOG_MAX_TXN_PAST_END,
            Severity.DAMAGE,
            "the backup's header says 150,832 transactions, the file holds 150,686: one page is missing",
            "db/market_orderbook~19/txn_seq.backup.20251110_032600/_txnlog",
            4_219_084,
            150_687,
        ),
        Finding(
            Code.LOG_TAIL_UNLOGGED,
            Severity.RISK,
            "146 segment transactions are named by no record; the first purge sweep would remove them",
            "db/market_orderbook~19/wal3",
        ),
    ),
    next_step=NextStep("rebuild-sequencer", "txn_seq is gone; the WAL segments hold 1,184 to make it from"),
    blocked_steps=(
        BlockedStep("convert-table", "deletes every walN: the 6,359 rows that wait there would be lost"),
        BlockedStep("start with a fresh _txnlog", "inserts are acknowledged, never applied, and walN is purged"),
    ),
)

INCIDENT = DatabaseReport(Path("/srv/questdb"), (TRADES, ORDERBOOK))

CAUSE = CrashCause(
    title="SIGSEGV MemoryCR.getLong ← TableTransactionLogV1.open ← TableSequencerImpl.open",
    count=5,
    first_at=NOW - 18_000,
    last_at=NOW - 720,
    file="db/market_orderbook~19/txn_seq/_txnlog",
    offset=0x0040_6DB4,
    seq_txn=150_832,
    confidence="certain: the fault address lies in the file's mapping, past its end",
    explanation="one page short at seqTxn 150,832",
)
CRASHES = CrashesSample(5, (CAUSE,), NOW - 720, (1, 1, 1, 1, 1, 0, 0, 0))

SERVICES = ServicesSample(
    "supervisor",
    (
        UnitSample("questdb", "database", UnitState.UP, 4711, 252.0, 5, memory=612_368_384),
        UnitSample("redis", "queue", UnitState.UP, 4702, 21_480.0, 0, memory=91_226_112),
        UnitSample("binance-trades", "feed", UnitState.UP, 4705, 21_480.0, 0, memory=48_234_496),
        UnitSample("binance-bookticker", "feed", UnitState.UP, 4706, 21_480.0, 0, memory=48_504_832),
        UnitSample("batch-writer", "writer", UnitState.FAILED, None, None, 38, "exit 1"),
    ),
)

BACKLOG = BacklogSample(
    "7.0.15",
    412_316_860,
    1_073_741_824,
    "noeviction",
    (
        StreamSample(
            "market_trades_stream", "batch-writer", 812_441, 812_041, True, 400, 240.0, 212.0, 0.0, 13_200.0, None,
            (610_000, 650_000, 691_000, 730_000, 772_000, 812_441),
        ),
        StreamSample(
            "market_orderbook_stream", "batch-writer", 4_102_993, 4_102_593, True, 400, 241.0, 1_104.0, 0.0, 4_320.0,
            None, (3_000_000, 3_220_000, 3_440_000, 3_660_000, 3_880_000, 4_102_993),
        ),
    ),
)  # fmt: skip

JOURNAL = JournalSample(
    (
        JournalLine("7c1e", NOW - 300, "capture-evidence", "market_orderbook", "done", "maria", "14 files, 204 MiB"),
        JournalLine("7c1d", NOW - 420, "stop-server", "questdb", "done", "maria", "stopped, lock won"),
        JournalLine("7c1c", NOW - 480, "freeze-writer", "batch-writer", "done", "maria", "stopped, feeds go on"),
    ),
    True,
)


def incident() -> list[Sample[Any]]:
    """Return the station in the incident's end state."""
    return [
        sample("tables", INCIDENT),
        sample("crashes", CRASHES),
        sample("services", SERVICES),
        sample("backlog", BACKLOG),
        sample("journal", JOURNAL),
    ]

"""The demo station when all is well."""
# Captured values, not code: long strings stay whole.

from pathlib import Path

from console.diagnosis.model import DatabaseReport, NextStep, TableReport, Verdict
from console.probes.sample import (
    BacklogSample,
    CrashesSample,
    JournalSample,
    ServerSample,
    ServerTable,
    ServicesSample,
    StreamSample,
    UnitSample,
    UnitState,
)

HEALTHY_AT = 1795430897.205
HEALTHY_SERVER = ServerSample(
    version="9.1.0",
    read_only_user=False,
    round_trip=0.026,
    wal_tables=(
        ServerTable(name="market_trades", suspended=False, writer_txn=1155, sequencer_txn=1155, apply_rate=33.497),
        ServerTable(name="market_orderbook", suspended=False, writer_txn=1186, sequencer_txn=1187, apply_rate=33.943),
    ),
    root="/srv/questdb/hot/db",
    ours=True,
    warnings=(
        "cairo.commit.mode is nosync: commits are not flushed, so a power loss can take rows that were acknowledged",
    ),
)
HEALTHY_TABLES = DatabaseReport(
    db_root=Path("/srv/questdb/hot/db"),
    tables=(
        TableReport(
            table="market_orderbook",
            directory="market_orderbook~19",
            wal=True,
            verdict=Verdict.HEALTHY,
            can_read=True,
            can_write=True,
            applied_txn=1187,
            logged_txn=1187,
            rows_applied=414982,
            rows_unapplied=0,
            rows_at_risk=0,
            findings=(),
            next_step=NextStep(action=None, reason="nothing to do"),
        ),
        TableReport(
            table="market_trades",
            directory="market_trades~8",
            wal=True,
            verdict=Verdict.HEALTHY,
            can_read=True,
            can_write=True,
            applied_txn=1156,
            logged_txn=1156,
            rows_applied=164295,
            rows_unapplied=0,
            rows_at_risk=0,
            findings=(),
            next_step=NextStep(action=None, reason="nothing to do"),
        ),
    ),
)
HEALTHY_CRASHES = CrashesSample(total=0, causes=(), last_at=None)
HEALTHY_SERVICES = ServicesSample(
    backend="supervisor",
    units=(
        UnitSample(
            name="questdb",
            role="database",
            state=UnitState.UP,
            pid=12374,
            uptime=40.0,
            restarts=0,
            memory=240193536,
            sub_state="RUNNING",
            restart_rate=0.0,
        ),
        UnitSample(
            name="redis",
            role="queue",
            state=UnitState.UP,
            pid=12318,
            uptime=41.0,
            restarts=0,
            memory=14102528,
            sub_state="RUNNING",
            restart_rate=0.0,
        ),
        UnitSample(
            name="binance-trades",
            role="feed",
            state=UnitState.UP,
            pid=12324,
            uptime=41.0,
            restarts=0,
            memory=56958976,
            sub_state="RUNNING",
            restart_rate=0.0,
        ),
        UnitSample(
            name="binance-bookticker",
            role="feed",
            state=UnitState.UP,
            pid=12321,
            uptime=41.0,
            restarts=0,
            memory=57114624,
            sub_state="RUNNING",
            restart_rate=0.0,
        ),
        UnitSample(
            name="batch-writer",
            role="writer",
            state=UnitState.UP,
            pid=12464,
            uptime=35.0,
            restarts=0,
            memory=77717504,
            sub_state="RUNNING",
            restart_rate=0.0,
        ),
    ),
)
HEALTHY_BACKLOG = BacklogSample(
    version="7.0.15",
    memory_used=2256840,
    memory_limit=134217728,
    policy="noeviction",
    streams=(
        StreamSample(
            stream="market_trades_stream",
            group="batch-writer",
            length=3770,
            lag=0,
            lag_known=True,
            pending=0,
            rate_in=112.109,
            rate_out=112.109,
            history=(
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ),
            trim_headroom=500000,
            consumers=1,
            consumer_idle=0.012,
        ),
        StreamSample(
            stream="market_orderbook_stream",
            group="batch-writer",
            length=8916,
            lag=0,
            lag_known=True,
            pending=0,
            rate_in=239.792,
            rate_out=239.792,
            history=(
                0,
                0,
                0,
                7,
                0,
                0,
                0,
            ),
            trim_headroom=500000,
            consumers=1,
            consumer_idle=0.028,
        ),
    ),
    seconds_to_full=3606.2,
    persistence="AOF on",
)
HEALTHY_JOURNAL = JournalSample(lines=(), chain_ok=True)

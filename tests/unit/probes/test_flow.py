"""The flow verdict: where it is stuck, since when, and what the next ten minutes cost."""

from pathlib import Path
from typing import Any

import pytest

from console.diagnosis.model import Code, DatabaseReport, Finding, NextStep, Severity, TableReport, Verdict
from console.probes.contents import BacklogSample, ServerSample, ServicesSample, StreamSample, UnitSample, UnitState
from console.probes.flow import ByHand, Flow, HopState, flow
from console.probes.sample import Sample, Status
from console.probes.state import StationState
from console.recovery.codes import StepState
from console.recovery.next_steps.way import Way, WayStep
from console.settings import QuestDBSettings, RedisSettings, Role, Settings, Stream

NOW = 10_000.0
SETTINGS = Settings(redis=RedisSettings(streams=(Stream("trades", table="market_trades"),)))
STREAM = {
    "stream": "trades", "group": "batch-writer", "length": 10, "lag": 0, "lag_known": True, "pending": 0,
    "rate_in": 20.0, "rate_out": 20.0,
}  # fmt: skip


def table(name: str = "market_trades", *, can_write: bool = True, code: Code | None = None) -> TableReport:
    findings = (Finding(code, Severity.DAMAGE, "it is broken"),) if code else ()
    return TableReport(
        name, f"{name}~1", True, Verdict.HEALTHY, True, can_write, 1, 1, 1, 0, 0, findings, NextStep(None, "")
    )


def verdict(
    *,
    feed: UnitState = UnitState.UP,
    writer: UnitSample | None = None,
    server: Status = Status.OK,
    redis: Status = Status.OK,
    tables: tuple[TableReport, ...] = (),
    memory: tuple[int, int, str] = (1, 0, "noeviction"),
    to_full: float | None = None,
    way: Way | None = None,
    **stream: Any,
) -> Flow:
    units = (
        UnitSample("binance-trades", "feed", feed),
        writer or UnitSample("batch-writer", "writer", UnitState.UP),
        UnitSample("questdb", "database", UnitState.UP),
    )
    used, limit, policy = memory
    backlog = BacklogSample("7", used, limit, policy, (StreamSample(**{**STREAM, **stream}),), to_full)
    state = StationState().taking(Sample("services", Status.OK, ServicesSample("systemd", units)))
    state = state.taking(Sample("backlog", Status.OK, backlog, taken_at=NOW - 60))
    if redis is Status.DOWN:
        state = state.taking(Sample("backlog", redis, None, "gone", taken_at=NOW - 30))
    data = ServerSample("9.1.0", False, 0.01, ()) if server is not Status.DOWN else None
    state = state.taking(Sample("server", server, data, taken_at=NOW - 50))
    report = DatabaseReport(Path("/x"), tables or (table(),))
    return flow(state.taking(Sample("tables", Status.OK, report)), SETTINGS, NOW, way)


def test_all_is_well() -> None:
    found = verdict()
    assert [hop.state for hop in found.hops] == [HopState.OK] * 4
    assert [hop.role for hop in found.hops] == [Role.FEED, Role.QUEUE, Role.WRITER, Role.DATABASE]
    assert (found.stuck_at, found.since, found.waiting, found.losing, found.lost_soon) == (None, None, 0, False, 0)
    assert found.outlook == "Nothing is being lost: no entries are waiting."


def test_the_incident_is_stuck_at_the_database_since_the_oldest_unacknowledged_entry() -> None:
    found = verdict(
        tables=(table(can_write=False), table("other")), lag=9_000, pending=500, rate_out=0.0, held_since=NOW - 240
    )
    assert found.stuck_at is not None
    assert found.stuck_at.role is Role.DATABASE
    assert found.stuck_at.detail == "reads only, no writes into market_trades"
    assert found.hops[2].state is HopState.STUCK
    assert found.hops[2].detail == "acknowledges nothing for 4 min: questdb does not take its writes"
    assert found.since == NOW - 240
    assert found.waiting == 9_500
    assert (found.losing, found.lost_soon) == (False, 0)
    assert found.outlook == "Nothing is being lost: 9,500 entries are safe in Redis."


def test_a_broken_table_that_no_stream_ends_in_does_not_stop_the_flow() -> None:
    assert verdict(tables=(table(), table("archive", can_write=False))).stuck_at is None


@pytest.mark.parametrize("code", [Code.TABLE_SUSPENDED, Code.LOG_MAX_TXN_BELOW_APPLIED])
def test_writes_that_are_acknowledged_and_never_applied_are_the_worst(code: Code) -> None:
    found = verdict(tables=(table(code=code),))
    assert found.losing
    assert found.lost_soon == 12_000
    assert "stop the writer, keep the feeds" in found.outlook


def test_the_server_is_down() -> None:
    found = verdict(server=Status.DOWN, lag=100, rate_out=0.0)
    assert found.stuck_at is not None
    assert (found.stuck_at.name, found.stuck_at.detail) == ("questdb", "")
    assert found.since == NOW - 50


def test_the_writer_is_down_and_the_database_is_not() -> None:
    dead = UnitSample("batch-writer", "writer", UnitState.FAILED, result="exit 1")
    found = verdict(writer=dead, lag=100, rate_out=0.0)
    assert found.stuck_at is not None
    assert (found.stuck_at.role, found.stuck_at.detail) == (Role.WRITER, "failed, exit 1")


def test_a_writer_in_a_restart_loop() -> None:
    loops = UnitSample("batch-writer", "writer", UnitState.STARTING, result="exit 1", loop="crash loop")
    found = verdict(writer=loops)
    assert found.stuck_at is not None
    assert found.stuck_at.detail == "crash loop (exit 1)"


def test_a_writer_that_falls_behind_is_slow_not_stuck() -> None:
    found = verdict(lag=5_000, rate_in=100.0, rate_out=20.0)
    assert found.stuck_at is not None
    assert (found.stuck_at.state, found.stuck_at.bad) == (HopState.SLOW, False)


def test_a_writer_whose_database_is_down_is_stuck_whatever_it_acknowledged_a_moment_ago() -> None:
    found = verdict(server=Status.DOWN, lag=5_000, rate_in=100.0, rate_out=20.0)
    assert found.hops[2].state is HopState.STUCK
    assert "questdb is down" in found.hops[2].detail


def test_feeds_down_lose_what_the_market_does() -> None:
    found = verdict(feed=UnitState.FAILED, rate_in=0.0)
    assert found.losing
    assert found.hops[0].state is HopState.DOWN
    assert "market data is being missed" in found.outlook
    assert found.by_hand is ByHand.FEEDS


def test_redis_down_loses_what_the_feeds_receive() -> None:
    found = verdict(redis=Status.DOWN)
    assert found.stuck_at is not None
    assert found.stuck_at.role is Role.QUEUE
    assert found.since == NOW - 30
    assert (found.losing, found.lost_soon) == (True, 12_000)
    assert found.by_hand is ByHand.REDIS


@pytest.mark.parametrize(
    ("seconds", "lost"), [(120.0, 9_600), (599.0, 20), (601.0, 0)], ids=["soon", "barely", "not yet"]
)
def test_the_outlook_reaches_ten_minutes(seconds: float, lost: int) -> None:
    found = verdict(lag=900, rate_out=0.0, seconds_to_loss=seconds)
    assert found.lost_soon == lost
    assert ("MAXLEN begins to remove unread entries of trades" in found.outlook) == (lost > 0)
    assert found.by_hand is (ByHand.MAXLEN if lost else None)


def test_memory_that_fills_up_and_that_is_full() -> None:
    soon = verdict(lag=900, rate_out=0.0, to_full=300.0, memory=(50, 100, "noeviction"))
    assert soon.lost_soon == 6_000
    assert "the feeds are refused" in soon.outlook
    evicting = verdict(lag=900, to_full=300.0, memory=(50, 100, "allkeys-lru"))
    assert "whole streams may be evicted" in evicting.outlook
    full = verdict(lag=900, memory=(100, 100, "noeviction"))
    assert full.losing
    assert full.hops[1].detail == "memory full"
    assert {each.by_hand for each in (soon, evicting, full)} == {ByHand.MEMORY}


def test_trimmed_while_unread() -> None:
    found = verdict(lag=900, rate_out=5.0, losing=True)
    assert (found.losing, found.lost_soon) == (True, 9_000)
    assert found.by_hand is ByHand.MAXLEN
    assert found.outlook.endswith("Raise the feeds' MAXLEN first.")
    # Where the writer is the next step, that is the remedy, and nothing stands before it.
    thaw = Way((WayStep(6, "thaw-writer", state=StepState.NEXT),))
    for late in (
        verdict(lag=900, losing=True, way=thaw),
        verdict(lag=900, rate_out=0.0, seconds_to_loss=300.0, way=thaw),
    ):
        assert late.by_hand is None
        assert late.outlook.endswith("thaw-writer drains the backlog.")


def test_what_is_not_known_is_not_called_nothing() -> None:
    unknown = verdict(lag=None, lag_known=False, pending=None, rate_out=None)
    assert unknown.waiting is None
    assert unknown.lost_soon is None
    assert "still being counted" in unknown.outlook
    empty = flow(StationState(), SETTINGS, NOW)
    assert {hop.state for hop in empty.hops} == {HopState.UNKNOWN}
    assert (empty.stuck_at, empty.waiting, empty.lost_soon) == (None, None, None)


def test_what_was_trimmed_unread_is_called_lost_and_does_not_wait() -> None:
    """The writer is at the end of the stream again; Redis 7 would still call the trimmed entries a lag."""
    found = verdict(lost=40, lost_pending=2)
    assert (found.losing, found.waiting, found.stuck_at) == (False, 0, None)
    assert "no entries are waiting. Before that 42 entries were trimmed unread: LOST." in found.outlook
    now = verdict(lag=900, lost=40, losing=True, rate_out=0.0)
    assert "40 LOST, 12,000 more in ten minutes" in now.outlook
    assert now.hops[1].detail == "LOSES unread entries"


def test_a_lower_bound_is_no_number_of_waiting_entries() -> None:
    found = verdict(lag=20_000, lag_known=False, rate_out=None)
    assert found.waiting is None
    assert "still being counted" in found.outlook


def test_before_anything_was_read_nothing_is_called_well() -> None:
    """The first frame: the units are known at once, tables and rates are not."""
    settings = Settings(redis=SETTINGS.redis, questdb=QuestDBSettings(db_root="/srv/questdb/hot"))
    units = tuple(
        UnitSample(name, role, UnitState.UP)
        for name, role in (("binance-trades", "feed"), ("batch-writer", "writer"), ("questdb", "database"))
    )
    state = StationState().taking(Sample("services", Status.OK, ServicesSample("systemd", units)))
    assert {hop.state for hop in flow(state, settings, NOW).hops} == {HopState.UNKNOWN}
    # The server answers and Redis too, once: no rate is known yet, and no table was looked at.
    state = state.taking(Sample("server", Status.OK, ServerSample("9.1.0", False, 0.01, ())))
    first = StreamSample("trades", "batch-writer", length=10, lag=9_000, lag_known=True, pending=0)
    state = state.taking(Sample("backlog", Status.OK, BacklogSample("7", 1, 0, "noeviction", (first,))))
    found = flow(state, settings, NOW)
    assert [hop.state for hop in found.hops] == [HopState.UNKNOWN, HopState.OK, HopState.UNKNOWN, HopState.UNKNOWN]
    assert "Not known yet" in found.outlook

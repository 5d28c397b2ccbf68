"""How each live pane looks in each of its states, with the whole screen to itself. Look at a picture before its
baseline is committed."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import ConsoleApp
from console.probes.contents import (
    BacklogSample,
    CrashesSample,
    DiskSample,
    SecondOpinion,
    ServicesSample,
    StreamEntry,
    StreamSample,
    UnitSample,
    UnitState,
    WalSample,
    WalTable,
)
from console.probes.log_tail import LogLine
from console.probes.sample import Sample, Status
from console.services.model import ServiceError
from console.settings import Settings
from console.widgets.theme import Colors
from tests.ui import captured, samples
from tests.ui.conftest import MakeApp
from tests.ui.showing import settled, shown, until
from tests.ui.test_snapshots import Before, Snap

SIZE = (110, 30)
NOW = samples.NOW
TABLES, CRASHES, SERVICES, BACKLOG, FLOW = "12345"


def alone(digit: str, *made: Sample[Any], then: tuple[str, ...] = ()) -> Before:
    """Return what brings the incident, `made` over it, and gives one pane the whole screen."""

    async def before(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, ConsoleApp)
        await settled(pilot)
        app.take(*samples.incident(), *made)
        await settled(pilot)
        for key in (digit, *then):
            await pilot.press(key)
            await settled(pilot)

    return before


def down(probe: str, error: str, again: float | None = 12.0) -> Sample[Any]:
    """Return a source that does not answer and is tried again in `again` seconds."""
    return replace(samples.down(probe, error), again_at=None if again is None else samples.CLOCK + again)


# ---- services ------------------------------------------------------------------------------------------------------

UNITS = (
    UnitSample("questdb.service", "database", UnitState.STARTING, restarts=261, result="SIGABRT, core dumped",
               unit_file="/etc/systemd/system/questdb.service", sub_state="auto-restart",
               loop="crash loop: 261 restarts; no restart limit", restart_rate=6.2, pid_before=7131),
    UnitSample("binance-trades.service", "feed", UnitState.UP, 4711, 21_500.0, 0, memory=54 << 20,
               unit_file="/etc/systemd/system/binance-trades.service", sub_state="running"),
    UnitSample("binance-bookticker.service", "feed", UnitState.UP, 4712, 130.0, 2, result="exit 1", memory=54 << 20,
               unit_file="/etc/systemd/system/binance-bookticker.service", sub_state="running", restart_rate=0.4),
    UnitSample("batch-writer.service", "writer", UnitState.FAILED, restarts=5, result="exit 1", sub_state="failed",
               loop="gave up after 5 restarts: limit 5 in 10s", unit_file="/etc/systemd/system/batch-writer.service"),
    UnitSample("spare-writer.service", "writer", UnitState.DOWN, restarts=0, sub_state="dead", masked=True,
               unit_file="/run/systemd/system/spare-writer.service"),
    UnitSample("redis-typo.service", "queue", UnitState.UNKNOWN, result="no such unit", sub_state="not-found"),
)  # fmt: skip


def test_services_in_every_state(snap_compare: Snap, console: MakeApp) -> None:
    """A loop without limit, up, up again, given up, held down, not known; the cursor on the last."""
    made = samples.sample("services", ServicesSample("systemd", UNITS))
    assert snap_compare(console(), terminal_size=SIZE, run_before=alone(SERVICES, made, then=("down", "down")))


CONTAINERS = (
    UnitSample("market-questdb-1", "database", UnitState.STARTING, restarts=261, result="", sub_state="restarting",
               loop="restarts again and again, 261 so far (SIGABRT); nothing limits it",
               restart_policy="unless-stopped"),
    UnitSample("market-redis-1", "queue", UnitState.UP, 4711, 21_500.0, 0, sub_state="running", health="healthy",
               restart_policy="always"),
    UnitSample("market-trades-1", "feed", UnitState.UP, 4712, 130.0, 2, sub_state="running", health="unhealthy",
               restart_policy="on-failure:3"),
    UnitSample("market-writer-1", "writer", UnitState.DOWN, restarts=0, result="out of memory", sub_state="exited",
               restart_policy="no"),
    UnitSample("spare-questdb", "database", UnitState.DOWN, restarts=0, sub_state="exited", held=True,
               restart_policy="always (suspended)"),
    UnitSample("deployment/bookticker", "feed", UnitState.FAILED, restarts=7, result="Error, exit 1",
               sub_state="CrashLoopBackOff", loop="CrashLoopBackOff, 7 restarts so far"),
    UnitSample("by-hand-writer", "writer", UnitState.UNKNOWN,
               result="processes of other containers cannot be seen from here; run it on the host"),
)  # fmt: skip


def test_services_in_containers(snap_compare: Snap, console: MakeApp) -> None:
    """A loop, up and healthy, up and not, out of memory, held down, a pod that fails, and one that is not seen."""
    made = samples.sample("services", ServicesSample("docker", CONTAINERS))
    assert snap_compare(console(), terminal_size=SIZE, run_before=alone(SERVICES, made, then=("down", "down")))


def test_services_that_cannot_be_asked(snap_compare: Snap, console: MakeApp) -> None:
    """What was last known is stale; the sentence says why, the rule when it is tried again."""
    said = "supervisord at /run/supervisor.sock did not answer within 5 s"
    assert snap_compare(console(), terminal_size=SIZE, run_before=alone(SERVICES, down("services", said)))


# ---- crashes -------------------------------------------------------------------------------------------------------


def test_crashes_long_ago_and_what_followed(snap_compare: Snap, console: MakeApp) -> None:
    """How long ago the last one was; the process that crashed, and the one that came after it."""
    crashes = replace(captured.INCIDENT_CRASHES, last_pid=7102)
    services = replace(
        samples.SERVICES,
        units=tuple(
            replace(unit, uptime=NOW - 1.0 - (crashes.last_at or 0.0) - 3.0, pid_before=7102)
            if unit.role == "database"
            else unit
            for unit in samples.SERVICES.units
        ),
    )
    made = samples.sample("crashes", crashes), samples.sample("services", services)
    assert snap_compare(console(), terminal_size=SIZE, run_before=alone(CRASHES, *made))


def test_crashing_now_of_two_causes(snap_compare: Snap, console: MakeApp) -> None:
    """261 crashes and one of another cause, the last one seconds ago; the service is being started again."""
    first = replace(
        captured.INCIDENT_CRASHES.causes[0], count=261, first_at=NOW - 21_600, last_at=NOW - 8, per_bucket=(9, 11) * 12
    )
    other = replace(first, title="OutOfMemoryError Unsafe.allocateMemory", count=1, first_at=NOW - 9_000, file="",
                    last_at=NOW - 9_000, offset=None, seq_txn=None, explanation="", confidence="",
                    per_bucket=(1,))  # fmt: skip
    crashes = CrashesSample(262, (first, other), NOW - 8, tuple(range(5, 29)), 17_290)
    made = samples.sample("crashes", crashes), samples.sample("services", ServicesSample("systemd", UNITS))
    assert snap_compare(console(), terminal_size=SIZE, run_before=alone(CRASHES, *made))


def test_crashes_plain(snap_compare: Snap, console: MakeApp) -> None:
    """Sixteen colours and plain glyphs: the large figure is still one."""
    crashes = replace(captured.INCIDENT_CRASHES, last_pid=7102)
    app = console(colors=Colors.SIXTEEN)
    assert snap_compare(app, terminal_size=SIZE, run_before=alone(CRASHES, samples.sample("crashes", crashes)))


@pytest.mark.parametrize("state", ["none", "unreadable"])
def test_crashes_none_and_unreadable(snap_compare: Snap, console: MakeApp, state: str) -> None:
    """No log at all; a data root that cannot be listed."""
    none = samples.sample("crashes", CrashesSample(0, (), None))
    said = "/srv/questdb/hot: permission denied; name a directory with hs_err logs, or a log"
    made = [none] if state == "none" else [none, down("crashes", said)]
    assert snap_compare(console(), terminal_size=SIZE, run_before=alone(CRASHES, *made))


# ---- backlog -------------------------------------------------------------------------------------------------------


def stream(name: str, **changes: Any) -> StreamSample:
    """Return a stream that grows, with an entry at each end."""
    plain = StreamSample(
        name, "batch-writer", 412_000, 411_500, True, 500, 3.0, NOW - 3_700, 212.0, 0.0,
        history=tuple(range(380_000, 412_000, 2_000)), consumers=4, consumer_idle=2.0,
        first_entry=StreamEntry("1795427067006-0", NOW - 3_700, "symbol=BTCUSDT price=101234.5 qty=0.013 side=buy"),
        last_entry=StreamEntry("1795430844000-3", NOW - 1, "symbol=ETHUSDT price=3456.7 qty=1.2 side=sell"),
    )  # fmt: skip
    return replace(plain, **changes)


STREAMS = (
    stream("growing", seconds_to_full=13_200.0, max_length=500_000, trim_headroom=88_000, seconds_to_loss=415.0),
    stream("losing", losing=True, lost=199_084, lost_pending=500, max_length=412_000, consumer_idle=3e3),
    stream("counting", lag=20_000, lag_known=False, rate_out=None, history=()),
    stream("draining", rate_in=200.0, rate_out=900.0, seconds_to_drain=588.0, lost=40),
    stream("drained", length=9, lag=0, pending=0, held_since=None, rate_out=212.0, history=(0,) * 9, consumers=0),
    StreamSample("no_group", "batch-writer", 5, None, False, None,
                 error="no group batch-writer reads no_group; no group reads it: the unread entries are unknown"),
    StreamSample("orders", "batch-writer", 0, None, False, None, error="orders is no stream but a list: wrong type"),
)  # fmt: skip


def test_backlog_in_every_state(snap_compare: Snap, console: MakeApp) -> None:
    """Growing, losing, being counted, draining, drained, without group, of the wrong type."""
    made = replace(samples.BACKLOG, streams=STREAMS)
    assert snap_compare(console(), terminal_size=(110, 42), run_before=alone(BACKLOG, samples.sample("backlog", made)))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (Status.DOWN, "Redis at 127.0.0.1:6379 refuses connections: nothing listens there"),
        (Status.REFUSED, "Redis at 127.0.0.1:6379 refuses the password: check redis.password"),
        (Status.DEGRADED, "Redis at 127.0.0.1:6379 is loading its data (41 % done); feeds and writer wait for it"),
    ],
    ids=["gone", "password", "loading"],
)
def test_backlog_without_an_answer(snap_compare: Snap, console: MakeApp, status: Status, error: str) -> None:
    """Nothing was ever read: the pane says why, and the flow what that means."""

    async def before(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, ConsoleApp)
        await settled(pilot)
        app.take(replace(down("backlog", error), status=status))
        await settled(pilot)

    assert snap_compare(console(), run_before=before)


def test_backlog_read_only(snap_compare: Snap, console: MakeApp) -> None:
    """A replica answers, and no feed can add to it: the sentence stands below what is known."""
    said = "this Redis is a replica and read-only: feeds cannot add to it"
    data: BacklogSample = replace(samples.BACKLOG, streams=STREAMS[:2], warnings=(said,), persistence="AOF on")
    made = replace(samples.sample("backlog", data), status=Status.DEGRADED, error=said)
    assert snap_compare(console(), terminal_size=SIZE, run_before=alone(BACKLOG, made))


# ---- tables, server, disk, flow ------------------------------------------------------------------------------------

WAL = WalSample(
    (
        WalTable("market_orderbook", 151_849, 150_665, 754.0, 38.0, 0.0),
        WalTable("market_trades", 152_990, 153_000, None, 0.0, 0.0),
    ),
    DiskSample(2 << 40, 180 << 30, 7_200.0, True, 2.2 * 86_400),
)
PARAMETERS = (("cairo.commit.mode", "nosync"), ("cairo.wal.enabled.default", "true"),
              ("cairo.default.sequencer.part.txn.count", "0"))  # fmt: skip
LEVEL = WalSample(
    tuple(replace(t, logged=t.applied, seconds_behind=0.0, rate_out=38.0, rate_in=38.0) for t in WAL.tables),
    DiskSample(2 << 40, 900 << 30, 130.0, False, None),
)


def test_tables_behind_and_a_disk_that_fills(snap_compare: Snap, console: MakeApp) -> None:
    """Behind in transactions, rows and time; a log behind its table; two days of disk left."""
    server = replace(captured.INCIDENT_SERVER, parameters=PARAMETERS, read_only_user=True)
    made = samples.sample("wal", WAL), samples.sample("server", server)
    assert snap_compare(console(), terminal_size=(110, 42), run_before=alone(TABLES, *made))


def test_tables_healthy_and_a_disk_not_watched_long_enough(snap_compare: Snap, console: MakeApp) -> None:
    """Nothing waits; the end of the disk is not foretold from a glance."""
    made = samples.sample("tables", samples.HEALTHY), samples.sample("wal", LEVEL)
    assert snap_compare(console(), terminal_size=SIZE, run_before=alone(TABLES, *made))


@pytest.mark.parametrize(
    "opinion",
    [SecondOpinion("Status: Healthy", True), SecondOpinion("its health port 9003 does not answer")],
    ids=["without-metrics", "silent"],
)
def test_tables_and_a_health_port_that_tells_little(
    snap_compare: Snap, console: MakeApp, opinion: SecondOpinion
) -> None:
    """Metrics are off by default: the pane says how to have them; a port that is closed is no trouble of the server."""
    server = samples.sample("server", replace(captured.HEALTHY_SERVER, opinion=opinion))
    made = samples.sample("tables", samples.HEALTHY), server, samples.sample("wal", LEVEL)
    assert snap_compare(console(), terminal_size=SIZE, run_before=alone(TABLES, *made))


def test_tables_with_the_server_down(snap_compare: Snap, console: MakeApp) -> None:
    """The disk still tells each verdict; the server's line says why SQL is missing and when it is tried again."""
    said = "QuestDB at 127.0.0.1:8812 accepts connections and does not answer within 3 s; its health port 9003 does"
    made = samples.sample("tables", samples.HEALTHY), down("server", said), samples.sample("wal", LEVEL)
    assert snap_compare(console(), terminal_size=SIZE, run_before=alone(TABLES, *made))


@pytest.mark.parametrize("state", ["losing", "lost-before", "stuck", "flowing"])
def test_flow(snap_compare: Snap, console: MakeApp, state: str) -> None:
    """The way of the data in one line, where it is stuck, since when, what it costs."""
    healthy = samples.sample("tables", samples.HEALTHY)
    flowing = stream("market_trades_stream", lag=0, pending=0, rate_out=212.0, held_since=None)
    streams = {
        "losing": STREAMS[1:2],
        "lost-before": (replace(flowing, lost=40),),
        "stuck": (stream("market_trades_stream"),),
        "flowing": (flowing,),
    }[state]
    backlog = samples.sample("backlog", replace(samples.BACKLOG, streams=streams))
    made = [backlog, healthy] if state in ("lost-before", "flowing") else [backlog]
    assert snap_compare(console(), run_before=alone(FLOW, *made))


# ---- the log of a service ------------------------------------------------------------------------------------------

SAID = (
    "2026-11-23T10:46:01.102938Z I i.q.c.w.ApplyWal2TableJob ejected txn [table=market_orderbook~19, seqTxn=150664]",
    "2026-11-23T10:46:01.402411Z C i.q.c.w.ApplyWal2TableJob job failed, table suspended [table=market_orderbook~19, "
    "error=could not open read-write [file=market_orderbook~19/txn_seq/_wal_index.d], errno=2]",
    "Worker 4 orderbook batch flush error: Exception: ILP orderbook write failed (HTTP 500)",
    "heartbeat",
)


@pytest.mark.parametrize("keys", [(), ("e",), ("pageup",)], ids=["following", "errors", "held"])
def test_unit_log(snap_compare: Snap, console: MakeApp, keys: tuple[str, ...]) -> None:
    """The newest lines whole, trouble marked; only the trouble; held still."""

    async def follow(settings: Settings, unit: str) -> AsyncGenerator[LogLine, None]:
        for number in range(40):
            yield LogLine(SAID[number % len(SAID)], NOW - 40 + number, 6)
        yield LogLine("that was the last line", NOW, 4)

    async def before(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, ConsoleApp)
        await alone("l")(pilot)
        await until(pilot, lambda: "that was the last line" in shown(app))
        for key in keys:
            await pilot.press(key)
            await settled(pilot)

    assert snap_compare(console(logs=follow), run_before=before)


def test_unit_log_that_cannot_be_read(snap_compare: Snap, console: MakeApp) -> None:
    """The sentence says why, and that it is tried again."""

    async def follow(settings: Settings, unit: str) -> AsyncGenerator[LogLine, None]:
        if unit:
            raise ServiceError(f"supervisord keeps no log of {unit}; set stdout_logfile in its configuration")
        yield LogLine("there is no such unit")

    async def before(pilot: Pilot[int]) -> None:
        await alone("l")(pilot)
        await until(pilot, lambda: "keeps no log" in shown(pilot.app))

    assert snap_compare(console(logs=follow), run_before=before)

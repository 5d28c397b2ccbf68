"""The station of the incident brought back by the engine: detached processes, a start not proven, a kill between."""

import dataclasses
import json
import os
import re
import signal
import time
from typing import Any

import pytest
import redis

from console.questdb.layout import TableDirectory
from console.recovery.actions.start_server import action as start_server
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.gate import policy
from console.recovery.model import Outcome, Progress, RunResult
from console.recovery.process.launch import RunningAction, attach, launch
from console.recovery.server import expectation
from console.recovery.server.expectation import Expectation
from console.recovery.server.sql import Server
from console.recovery.store.entries import read_entry_plan
from console.recovery.store.locks import server_is_down
from console.reporting.accounts import accounts
from console.reporting.bundle import prepare
from console.reporting.incident import left_to_do, read_incident
from console.reporting.private import redactor_for
from console.reporting.report import report
from console.settings import Role
from console.station.build import Station
from console.text import plural
from tests.real.incident.drain_faults import PLANTED, plant_in_a_drain


@pytest.fixture(scope="module")
def engine(incident_station: Station) -> Engine:
    """The engine on the broken station."""
    return Engine(incident_station.settings())


def _do(engine: Engine, action: str, table: str | None = None) -> RunResult:
    plan = engine.plan(action, table)
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    return result


def _launched(engine: Engine, action: str, table: str | None = None) -> RunningAction:
    plan = engine.plan(action, table)
    assert plan.refused == ()
    return launch(engine, plan, plan.confirmation)


def _watched(running: RunningAction, until: str = "", seconds: float = 120) -> list[Progress]:
    """Poll until it ends, or the stage `until` has begun."""
    told: list[Progress] = []
    deadline = time.monotonic() + seconds
    while running.alive and not any(p.stage == until for p in told):
        assert time.monotonic() < deadline, told[-3:]
        told += running.poll()
        time.sleep(0.05)
    return told + running.poll()


def _rows(engine: Engine, table: str) -> int:
    return int(Server(engine.settings.questdb).rows(f"SELECT count() AS n FROM {table}")[0]["n"])


def _recommended(engine: Engine, table: str | None) -> list[str]:
    return [each.spec.id for each in engine.availability(table) if each.recommended]


def test_nothing_is_repaired_under_the_live_server(engine: Engine) -> None:
    for action, table in (("rebuild-sequencer", "market_orderbook"), ("restore-sequencer", "market_trades")):
        plan = engine.plan(action, table)
        assert {"server-alive", "no-evidence"} <= {refusal.code for refusal in plan.refused}
        assert engine.run(plan, plan.confirmation).outcome is Outcome.REFUSED
    assert _recommended(engine, "market_orderbook") == ["freeze-writer"]


def test_the_plan_to_freeze_says_why_the_writer_and_for_how_long(engine: Engine) -> None:
    plan = engine.plan("freeze-writer")
    assert "Exchanges do not resend missed data" in plan.why
    feeds = [unit.name for unit in engine.settings.services.units if unit.role is Role.FEED]
    assert all(f in plan.why for f in feeds)
    assert [change.target.rsplit(" ", 1)[-1] for stage in plan.stages for change in stage.changes] == ["batch-writer"]
    # the streams' own: at the rate at which the feeds add, the nearest of MAXLEN and memory
    found = re.search(
        r"room for about ([\d,]+) (second|minute|hour)s?, then .*(MAXLEN|maxmemory|free memory)", plan.why
    )
    assert found, plan.why
    room = next(r for r in plan.requirements if "ten minutes" in r.claim)
    assert room.holds == (found[2] == "hour" or (found[2] == "minute" and int(found[1]) >= 10))


def test_what_writes_can_be_stopped_where_the_disk_is_full(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "free_space", lambda path: (2 << 20, 5 << 30))
    refused = {
        action: {refusal.code for refusal in engine.plan(action).refused}
        for action in ("freeze-writer", "stop-server", "capture-evidence")
    }
    assert refused == {"freeze-writer": set(), "stop-server": set(), "capture-evidence": {"disk-space"}}


def test_stopped_captured_and_repaired(engine: Engine) -> None:
    _do(engine, "freeze-writer")
    _do(engine, "stop-server")
    assert server_is_down(engine.database.db) is True
    running = _launched(engine, "capture-evidence")
    told = _watched(running)
    result = running.result()
    assert result is not None
    assert result.outcome is Outcome.DONE, result
    assert {p.state for p in told} >= {"begins", "done"}
    assert all(claim.ok for claim in result.verification)
    _do(engine, "rebuild-sequencer", "market_orderbook")
    # No start while the other table waits for its repair: not for the one that is whole, nor for the station.
    assert {table: _recommended(engine, table) for table in ("market_orderbook", "market_trades", None)} == {
        "market_orderbook": [], "market_trades": ["restore-sequencer"], None: [],
    }  # fmt: skip
    _do(engine, "restore-sequencer", "market_trades")
    assert _recommended(engine, "market_orderbook") == _recommended(engine, None) == ["start-server"]


def test_a_start_that_is_not_proven_is_stopped_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = expectation.expectation_of

    def too_many(table: TableDirectory) -> Expectation:
        found = real(table)
        return dataclasses.replace(found, rows=found.rows + 1)

    monkeypatch.setattr(start_server, "expectation_of", too_many)
    plan = engine.plan("start-server")
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.ROLLED_BACK, result
    assert "not proven" in result.message
    assert server_is_down(engine.database.db) is True
    assert set(start_server.repaired_partitions(engine._context())) == {"market_orderbook~19", "market_trades~8"}


def test_a_start_killed_before_it_is_proven_is_finished(engine: Engine) -> None:
    running = _launched(engine, "start-server")
    _watched(running, until="sweep")
    attached = attach(engine)
    assert attached is not None
    assert attached.running.pid == running.pid
    assert {p.stage for p in attached.running.poll()} >= {"verify", "sweep"}
    assert attached.running.result() is None
    assert "walmedic run start-server" in attached.entry.worker.data["command"]
    os.kill(running.pid, signal.SIGKILL)
    _watched(running)
    cut_off = running.result()
    assert cut_off is not None
    assert cut_off.outcome is Outcome.UNFINISHED
    assert [entry.action for entry in engine.unfinished()] == ["start-server"]
    assert attach(engine) is None
    finishing = _launched(engine, "start-server")
    told = _watched(finishing)
    result = finishing.result()
    assert result is not None
    assert (result.entry, result.outcome) == (cut_off.entry, Outcome.DONE), result
    assert told[-1].state == "done"
    assert engine.journal.entry(result.entry).worker.kind == "resumed"
    assert {"market_orderbook: rows of each partition", "market_trades: after a purge sweep"} <= {
        claim.claim for claim in result.verification
    }
    assert _rows(engine, "market_orderbook") == 412_445
    assert _rows(engine, "market_trades") == 160_594
    assert start_server.repaired_partitions(engine._context()) == {}


def test_the_thaw_drains_the_backlog_and_no_table_is_left_behind(engine: Engine) -> None:
    plan = engine.plan("thaw-writer")
    told = [warning for warning in plan.warnings if "pending, sent again first" in warning]
    assert sum(warning.startswith("up to") for warning in told) == len(told)
    assert bool(told) == bool(plan.rows_maybe_twice)
    assert plan.duplicates_known
    maybe = next(e for e in engine.journal.entries() if e.action == "rebuild-sequencer")
    twice = read_entry_plan(engine.state, maybe.id).rows_maybe_twice
    repaired = f"a repair of market_orderbook may have brought {plural(twice, 'row')} of them back"
    assert any(repaired in said for said in told) == bool(twice and told)  # none, if every writer had been answered
    running = _launched(engine, "thaw-writer")
    drained = _watched(running)
    result = running.result()
    assert result is not None
    assert result.outcome is Outcome.DONE, result
    # What is told while it goes down; it may be over before the first look, or between two lines that are kept.
    for message in [p.message for p in drained if " wait, " in p.message]:
        assert re.search(
            r"wait, (0 fewer|[\d,]+ more) per second$|, [\d,]+ fewer per second, about \d+ s left$", message
        )
    said = {claim.claim: claim for claim in result.verification}
    waited = [claim for claim in said if ": unread of the " in claim]
    assert len(waited) == 2
    assert {said[claim].found for claim in waited} == {"0"}
    assert not any(claim.key is ClaimKey.PENDING for claim in result.verification)  # with a consumer that is gone
    for table in ("market_orderbook", "market_trades"):
        assert float(said[f"{table}: seconds from its newest row to the newest entry"].found) < 15
        counted = said[f"{table}: rows that came twice"]
        twice_now = re.fullmatch(r"([\d,]+) \(at most ([\d,]+) from what was pending\)", counted.found)
        assert twice_now is not None, counted
        assert 0 <= int(twice_now[1].replace(",", "")) <= int(twice_now[2].replace(",", ""))
        assert counted.noted
    assert _rows(engine, "market_orderbook") > 412_445
    assert _rows(engine, "market_trades") > 160_594
    assert engine.plan("thaw-writer").stages == ()
    assert engine.plan("start-server").stages == ()
    assert engine.journal.verify() == ()
    assert engine.unfinished() == ()


def test_the_report_tells_the_whole_recovery(incident_station: Station) -> None:
    incident = read_incident(incident_station.settings())
    assert left_to_do(incident) == ()
    assert incident.missing == ()
    assert [group.file for group in incident.crashes.groups] == ["market_orderbook~19/txn_seq/_txnlog"]
    told = {account.table: account for account in accounts(incident)}
    book, trades = told["market_orderbook"], told["market_trades"]
    assert (book.back, book.lost.value, book.proven, book.at_risk) == (6_359, 0, 412_445, 0)
    assert (trades.back, trades.lost.value, trades.proven, trades.at_risk) == (0, 0, 160_594, 0)
    assert [past.title for past in incident.past_actions if past.stands] == [
        "freeze-writer", "stop-server", "capture-evidence", "rebuild-sequencer market_orderbook",
        "restore-sequencer market_trades", "start-server", "thaw-writer",
    ]  # fmt: skip
    assert [past.outcome for past in incident.past_actions if not past.stands] == ["rolled-back"]
    told_at = [event.at for event in incident.events]
    assert told_at == sorted(told_at)
    assert {"questdb ended: exit 1", "questdb stopped", "batch-writer started"} <= {e.what for e in incident.events}
    assert any("market_orderbook~19 had no txn_seq" in event.detail for event in incident.events)
    text = report(incident, redactor_for(incident, private=False))
    for part in (
        f"**{incident.crashes.total} crashes, one cause**",
        "Repairs brought **6,359 rows back** and lost **0**",
        "- **Nothing is left to do.**",
        "- market_orderbook: rows: 412,445",
    ):
        assert part in text
    assert text.count("othing is left to do.") == 2


def test_the_bundle_after_the_recovery_names_no_path_of_this_machine(incident_station: Station) -> None:
    made = prepare(incident_station.settings())
    texts = {part.name: part.content.decode() for part in made.parts}
    here = str(incident_station.layout.directory)
    assert [name for name, text in texts.items() if here in text] == []
    assert made.missing == ()
    assert {"logs/supervisor.questdb.txt", "crashes/cause-1.log", "sequencers/market_trades~8.txt"} <= set(texts)
    assert "bid_price=" not in "".join(texts.values())
    assert "SIGSEGV" in texts["logs/supervisor.questdb.txt"]  # the crash is not pushed out by what came after
    assert len(json.loads(texts["journal.json"])) == 8


def test_what_a_server_has_built_on_goes_back_to_the_evidence(engine: Engine) -> None:
    repair = next(e for e in engine.journal.entries() if e.action == "rebuild-sequencer")
    assert "server-alive" in {refusal.code for refusal in engine.plan_undo(repair.id).refused}
    start = next(e for e in engine.journal.entries() if e.action == "start-server")
    assert {r.instead for r in engine.plan_undo(start.id).refused} >= {"nothing is left to do"}
    _do(engine, "freeze-writer")
    server = Server(engine.settings.questdb)
    while (row := server.wal_table("market_orderbook")) is None or row["writerTxn"] < row["sequencerTxn"]:
        time.sleep(0.1)
    since = _rows(engine, "market_orderbook") - 412_445
    _do(engine, "stop-server")
    plan = engine.plan_undo(repair.id)
    assert plan.refused == ()
    assert plan.confirmation == f"market_orderbook lose {since}"
    result = engine.undo(repair.id, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert [claim.ok for claim in result.verification] == [True]
    assert not engine.database.table("market_orderbook").sequencer.exists()
    _do(engine, "rebuild-sequencer", "market_orderbook")  # on the evidence of then, which is as true as it was
    _do(engine, "start-server")
    assert _rows(engine, "market_orderbook") == 412_445


def test_what_is_sent_again_is_counted_to_the_row(
    engine: Engine, incident_station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty entries that were written and not acknowledged, as after a crash between the two, come twice.

    Three more are with a consumer that is gone: nobody sends them, and nobody waits for them.
    """
    stream = next(s for s in engine.settings.redis.streams if s.table == "market_trades")
    with redis.Redis(port=incident_station.layout.redis_port, decode_responses=True) as client:
        groups: Any = client.xinfo_groups(stream.name)
        delivered = next(group["last-delivered-id"] for group in groups if group["name"] == stream.group)
        consumers: Any = client.xinfo_consumers(stream.name, stream.group)
        entries: Any = client.xrevrange(stream.name, delivered, "-", count=54)
        client.xgroup_setid(stream.name, stream.group, entries[-1][0])
        client.xreadgroup(stream.group, "gone", {stream.name: ">"}, count=3)
        client.xreadgroup(stream.group, consumers[0]["name"], {stream.name: ">"}, count=50)
    plan = engine.plan("thaw-writer")
    assert plan.rows_maybe_twice == 53
    assert any("53 entries pending" in warning for warning in plan.warnings)
    failed = plant_in_a_drain(monkeypatch, engine, stream)
    result = engine.run(plan, plan.confirmation)
    assert failed == [PLANTED]
    assert result.outcome is Outcome.DONE, result
    said = {claim.claim: claim for claim in result.verification}
    twice = said["market_trades: rows that came twice"]
    assert (twice.found, twice.noted) == ("50 (at most 53 from what was pending)", True)
    held = [claim.found for claim in result.verification if claim.found.startswith("3, pending with a consumer")]
    assert len(held) == 1, result.verification


def test_the_first_error_stops_the_writer_again(engine: Engine) -> None:
    _do(engine, "freeze-writer")
    services = engine._services()
    assert services is not None
    plan = engine.plan("thaw-writer")

    def end_the_server(progress: Progress) -> None:
        if (progress.stage, progress.state) == ("drain", "begins"):
            services.stop("questdb")

    result = engine.run(plan, plan.confirmation, end_the_server)
    assert result.outcome is Outcome.ROLLED_BACK, result
    assert "does not answer" in result.message
    writers = [unit for unit in engine.settings.services.units if unit.role is Role.WRITER]
    assert all(sample.stopped for sample in services.states(writers))
    assert {refusal.code for refusal in engine.plan("thaw-writer").refused} >= {"server-down"}

"""What panes put first where lines are few, and what their small signs mean: builders only, no terminal."""

from dataclasses import replace

import pytest

from console.probes.aftermath import Aftermath
from console.probes.contents import BacklogSample, CrashesSample, ServicesSample, UnitState
from console.probes.flow import Flow, Hop, HopState
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim
from console.settings import Role as Part
from console.widgets import figures, glyphs
from console.widgets.line import Role, cells, plain, wrap
from console.widgets.pane import Content, Room
from screens.panes import backlog, crashes, flow, services
from screens.panes.confirmation import _asked
from screens.panes.proof import claims
from screens.panes.reading import Source
from tests.ui import captured, samples


def _text(content: Content) -> list[str]:
    return [plain(row) for row in content.lines]


@pytest.mark.parametrize("height", range(2, 16))
def test_every_stream_is_in_sight_before_the_details_of_one(height: int) -> None:
    source: Source[BacklogSample] = Source(captured.INCIDENT_BACKLOG, now=samples.NOW)
    text = _text(backlog.build(source, Room(118, height, open=True)))
    assert len(text) <= max(height, 3)
    for stream in captured.INCIDENT_BACKLOG.streams:
        assert any(row.startswith(stream.stream) for row in text[:height]), text


def test_the_details_of_the_service_that_fails_come_first() -> None:
    failing = replace(captured.INCIDENT_SERVICES.units[-1], state=UnitState.FAILED, result="exit 1", loop="")
    sample = replace(captured.INCIDENT_SERVICES, units=(*captured.HEALTHY_SERVICES.units[:-1], failing))
    source: Source[ServicesSample] = Source(sample, now=samples.NOW)
    text = _text(services.build(services.ServicesView(source), Room(60, len(sample.units) + 1, open=True)))
    assert len(text) == len(sample.units) + 1
    assert f"✗ FAIL {failing.name}" in text[-2]
    assert failing.role in text[-1]


def test_crashes_of_a_server_that_is_stopped_or_up_since_are_history() -> None:
    source: Source[CrashesSample] = Source(captured.INCIDENT_CRASHES, now=captured.INCIDENT_CRASHES.last_at or 0.0)
    now = crashes.build(crashes.CrashesView(source), Room(80, 20))
    assert "CRASHING NOW" in "\n".join(_text(now))
    for over in (
        crashes.CrashesView(source, stopped=True),
        crashes.CrashesView(source, Aftermath("up since", up=True, certain=True)),
    ):
        content = crashes.build(over, Room(80, 20))
        assert "CRASHING" not in "\n".join(_text(content))
        assert not any(span.role is Role.BAD for row in content.lines for span in row)


def test_what_flows_stands_on_the_arrows_where_there_is_room() -> None:
    names = ("feeds", "redis", "writer", "questdb")
    parts = (Part.FEED, Part.QUEUE, Part.WRITER, Part.DATABASE)
    hops = tuple(Hop(part, name, HopState.OK) for part, name in zip(parts, names, strict=True))
    found = Flow(hops, None, None, 14_136, False, 0, "All is well.", rate_in=406.2, rate_out=0.0)
    wide = _text(flow.build(found, Room(100, 4)))[0]
    assert wide == "feeds ✓ ── 406/s ─▶ redis ✓ 14,136 waiting ── 0/s ─▶ writer ✓ ──▶ questdb ✓"
    assert _text(flow.build(found, Room(60, 4)))[0] == "feeds ✓ → redis ✓ → writer ✓ → questdb ✓"
    unknown = replace(found, waiting=None, rate_in=None, rate_out=None)
    assert "0" not in _text(flow.build(unknown, Room(100, 4)))[0]


def test_what_a_stuck_writer_does_is_not_said_of_the_database() -> None:
    writer = Hop(Part.WRITER, "batch-writer", HopState.DOWN, "down, stopped")
    others = (Hop(Part.FEED, "feeds", HopState.OK), Hop(Part.QUEUE, "redis", HopState.OK))
    hops = (*others, writer, Hop(Part.DATABASE, "questdb", HopState.OK))
    text = "\n".join(_text(flow.build(Flow(hops, writer, None, 5, False, 0, "Nothing is lost."), Room(120, 4))))
    assert "batch-writer: down, stopped" in text
    # One that a step of the way has stopped is held: no trouble, and its step says why.
    held = replace(Flow(hops, writer, None, 5, False, 0, "Nothing is lost."), held=frozenset({Part.WRITER}))
    text = "\n".join(_text(flow.build(held, Room(120, 4))))
    assert "batch-writer • held" in text
    assert "DOWN" not in text
    assert "stopped" not in text


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.0, ""), (0.0001, "▏"), (0.5, "█████"), (0.55, "█████▌"), (1.0, "█" * 10)]
)
def test_a_gauge_is_empty_only_at_nothing(share: float, drawn: str) -> None:
    assert glyphs.gauge(share, 10) == drawn


def test_a_number_is_not_parted_from_its_unit() -> None:
    text = f"memory is {figures.size(356 << 20)} now"
    for width in range(8, 30):
        rows = wrap(text, width)
        assert all(cells(row) <= width for row in rows)
        assert any("356\N{NO-BREAK SPACE}MiB" in plain(row) for row in rows)


@pytest.mark.parametrize("width", range(20, 130, 7))
@pytest.mark.parametrize(
    "phrase", ["freeze-writer demo", "market_orderbook_of_a_long_name lose 130966 rows and 25897 values"]
)
def test_the_phrase_to_type_is_whole_at_every_width(phrase: str, width: int) -> None:
    lines = _asked(phrase, width)
    assert all(cells(row) <= width for row in lines)
    said = "".join(plain(row) for row in lines)
    assert "…" not in said
    assert phrase.replace(" ", "") in said.replace(" ", "")


@pytest.mark.parametrize("width", [58, 78, 110])
def test_no_evidence_of_a_check_is_cut(width: int) -> None:
    moment = "2025-11-07 00:00:00.664650Z"
    checks = [
        Claim(ClaimKey.MIN, "market_orderbook: oldest row", moment, moment, True),
        Claim.note(ClaimKey.DRAINED, "market_orderbook: rows that came twice", "0 (at most 500 from what was pending)"),
    ]
    rows = claims(checks, width)
    assert all(cells(row) <= width for row in rows)
    assert not any("…" in plain(row) for row in rows)
    assert "".join(plain(row) for row in rows).count("00:00:00.664650Z") == 2


def test_charts_fill_the_room_that_a_calm_queue_leaves_and_none_that_a_detail_needs() -> None:
    source: Source[BacklogSample] = Source(captured.HEALTHY_BACKLOG, now=samples.NOW)
    for height in (6, 14, 40):
        content = backlog.build(source, Room(79, height, open=True))
        assert len(content.lines) <= height
        drawn = [plain(row) for row in content.lines if " │" in plain(row)]
        assert bool(drawn) == (height == 40)


@pytest.mark.parametrize("height", [1, 3, 8])
def test_a_chart_has_a_value_at_its_height(height: int) -> None:
    rows = glyphs.columns([0, 1, 50, 100], 10, height)
    assert len(rows) == height
    assert {len(row) for row in rows} == {4}
    assert [row[0] for row in rows] == [" "] * height
    assert [row[3] for row in rows] == ["█"] * height
    assert sum(row[2] != " " for row in rows) == max(1, -(-height // 2))

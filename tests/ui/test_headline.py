"""The header's verdict: true at every width, unknown while it is not read, one next step, and an end."""

from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from rich.cells import cell_len
from textual.message import Message

from console.diagnosis.model import Code, NextStep, ServerState, Severity
from console.probes.contents import UnitState
from console.probes.flow import ByHand
from console.probes.headline import Alarm, Headline, headline
from console.probes.sample import Sample
from console.probes.state import StationState
from console.recovery.codes import StepState
from console.recovery.model import FirstStep, Lost, LostValues, RowsLost
from console.recovery.next_steps.way import Recovered, Standing, Walked, Way, way_of
from console.settings import Settings
from console.widgets.figures import clock
from console.widgets.line import plain
from screens.guidance import Guide, Guided
from screens.panes.header import Mode
from screens.panes.headline import Keys, header, stepper, verdict
from tests.ui import captured, samples
from tests.ui.scripted import ScriptedAttached, ScriptedEngine

if TYPE_CHECKING:
    from screens.station_engine import StationEngine

KEYS = Keys()
ROWS = sum(table.rows_at_risk or 0 for table in samples.INCIDENT.tables)
FREEZE = FirstStep("freeze-writer", None, "")
WAY = way_of(samples.INCIDENT, FREEZE, Standing())
NO_SERVER = samples.down("server", "QuestDB does not answer")


def _state(*taken: Sample[Any]) -> StationState:
    state = StationState()
    for each in taken:
        state = state.taking(each)
    return state


def _found(
    settings: Settings,
    taken: list[Sample[Any]],
    way: Way | None = None,
    *,
    asked: bool = False,
    now: float = samples.NOW,
) -> Headline:
    return headline(_state(*taken), settings, way, asked=asked, now=now, monotonic=samples.CLOCK)


def _said(found: Headline, width: int = 120) -> str:
    return plain(verdict(found, KEYS, width)).strip()


def test_the_incident_in_one_line(settings: Settings) -> None:
    found = _found(settings, samples.incident(), WAY)
    assert found.alarm is Alarm.BAD
    assert found.counts is not None
    assert (found.counts.unwritable, found.counts.tables, found.counts.rows) == (2, 2, ROWS)
    assert _said(found, 140).startswith(f"✗ 2 of 2 tables cannot be written · {ROWS:,} rows at risk")
    assert _said(found, 80) == f"✗ 2 of 2 tables cannot be written · {ROWS:,} at risk · next 1 freeze-writer (a)"


@pytest.mark.parametrize("width", range(40, 140, 3))
def test_at_every_width_the_verdict_and_the_next_step_stand_in_it(settings: Settings, width: int) -> None:
    restore = FirstStep("restore-sequencer", "market_orderbook", "")
    for way in (WAY, way_of(samples.INCIDENT, restore, Standing(True, True, ()))):
        found = _found(settings, samples.incident(), way)
        rows = [plain(row) for row in header(found, way.steps, Mode("s", 0.0, False, 1.0), KEYS, "", width)]
        assert len(rows) == 2
        assert all(cell_len(row) <= width for row in rows)
        assert "✗ 2 of 2" in rows[0]
        assert way.next is not None
        text = " ".join(rows)
        assert f"next {way.next.number} " in text, text
        assert "OBSERVE" in rows[1]


@pytest.mark.parametrize("width", [60, 72, 80, 120, 200])
@pytest.mark.parametrize("what", ByHand)
def test_what_a_person_does_first_is_step_0_and_the_only_one_to_take_now(
    settings: Settings, what: ByHand, width: int
) -> None:
    """The flow says to raise MAXLEN now; a header that says freeze-writer next would contradict it."""
    found = replace(_found(settings, samples.incident(), WAY), losing=True, by_hand=what)
    rows = [plain(row) for row in header(found, WAY.steps, Mode("s", 599.0, False, 1.0), KEYS, "", width)]
    text = "\n".join(rows)
    assert all(cell_len(row) <= width for row in rows), text
    assert "now 0 " in text
    assert "next " not in text
    assert text.count("◐") == 1
    assert "◐0" in text or "◐○" in text
    if width >= 120:
        assert "then 1" in text
    alone = replace(found, next=None)
    assert "then" not in plain(header(alone, (), Mode("s", 0.0, False, 1.0), KEYS, "", width)[0])


def test_what_is_not_read_is_not_healthy(settings: Settings) -> None:
    assert _said(_found(settings, [])) == "? reading the tables…"
    bare = replace(settings, questdb=replace(settings.questdb, db_root=""))
    assert "no data root is configured" in _said(_found(bare, []))
    gone = _found(settings, [samples.down("tables", "Permission denied; run walmedic as its owner")])
    assert gone.alarm is Alarm.UNKNOWN
    assert "Permission denied" in _said(gone)
    unasked = _found(settings, [samples.sample("tables", replace(samples.HEALTHY, server=ServerState.UNKNOWN))])
    assert unasked.alarm is Alarm.UNKNOWN
    assert "QuestDB not checked yet" in _said(unasked)
    late = _found(settings, [*samples.healthy(), samples.sample("tables", samples.HEALTHY, age=42)])
    assert late.alarm is Alarm.UNKNOWN
    assert "tables read 40s ago" in _said(late)


def test_a_server_that_is_down_is_not_healthy(settings: Settings) -> None:
    found = _found(settings, [*samples.healthy(), NO_SERVER], Way())
    assert found.alarm is Alarm.BAD
    assert "QuestDB is down" in _said(found)
    assert "both tables healthy on disk" in _said(found)
    services = captured.HEALTHY_SERVICES
    units = tuple(replace(u, state=UnitState.FAILED) if u.role == "database" else u for u in services.units)
    down = [*samples.healthy(), NO_SERVER, samples.sample("services", replace(services, units=units))]
    assert _said(_found(settings, down, Way())).lower().count("questdb") == 1  # not once more as a service
    # Stopped by a step of the way it is no alarm, and is said all the same.
    way = way_of(
        samples.HEALTHY, FirstStep("start-server", None, ""), Standing(True, True, (Walked("stop-server", None, 1.0),))
    )
    held = _found(settings, [*samples.healthy(), NO_SERVER], way)
    assert held.alarm is Alarm.RISK
    assert "QuestDB stopped" in _said(held)
    assert "start-server (a)" in _said(held)


def test_a_service_that_should_run_and_does_not_is_named(settings: Settings) -> None:
    services = captured.HEALTHY_SERVICES
    units = tuple(replace(u, state=UnitState.FAILED) if u.role == "writer" else u for u in services.units)
    taken = [*samples.healthy(), samples.sample("services", replace(services, units=units))]
    found = _found(settings, taken, Way())
    assert found.units == ("batch-writer",)
    assert found.alarm is Alarm.BAD
    frozen = way_of(
        samples.HEALTHY,
        FirstStep("thaw-writer", None, ""),
        Standing(True, False, (Walked("freeze-writer", None, 1.0),)),
    )
    assert _found(settings, taken, frozen).units == ()


def test_the_end_is_said_for_a_while_and_not_past_a_new_crash(settings: Settings) -> None:
    at = captured.HEALTHY_AT - 60
    way = replace(
        way_of(
            samples.HEALTHY,
            None,
            Standing(False, False, (Walked("freeze-writer", None, at - 9), Walked("thaw-writer", None, at))),
        ),
        recovered=Recovered(6_359, RowsLost.exact(0), 60),
    )
    said = _said(_found(settings, samples.healthy(), way, now=at + 60))
    assert (
        said
        == f"✓ station recovered {clock(at)[:5]}Z · 6,359 rows recovered, 0 lost · ≤ 60 possible duplicates · t report"
    )
    values = (LostValues(Lost.VALUES, "price", "2025-11-08", 25_897),)
    lossy = replace(way, recovered=Recovered(9, RowsLost.exact(5), 0, values_lost=values))
    assert "5 lost, 25,897 values lost" in _said(_found(settings, samples.healthy(), lossy, now=at + 60), 80)
    assert "both tables healthy" in _said(_found(settings, samples.healthy(), way, now=at + 700))
    crashes = replace(captured.INCIDENT_CRASHES, last_at=at + 10)
    crashed = [*samples.healthy(), samples.sample("crashes", crashes)]
    assert "recovered" not in _said(_found(settings, crashed, way, now=at + 60))


def test_while_the_way_is_found_out_anew_the_old_step_is_not_named(settings: Settings) -> None:
    said = _said(_found(settings, samples.incident(), WAY, asked=True))
    assert "finding the next step" in said
    assert "freeze-writer" not in said


def test_what_runs_is_named_in_place_of_what_comes(settings: Settings) -> None:
    line = replace(captured.RECOVERED_JOURNAL.lines[-1], outcome="running")
    journal = replace(captured.RECOVERED_JOURNAL, lines=(line,))
    found = _found(settings, [*samples.incident(), samples.sample("journal", journal)], WAY)
    assert f"now 1 {line.action}" in _said(found)


@pytest.mark.parametrize(("outcome", "asks"), [("running", False), ("done", True)])
def test_the_next_step_is_not_looked_for_while_an_action_holds_the_lock(outcome: str, *, asks: bool) -> None:
    lines = (replace(captured.RECOVERED_JOURNAL.lines[0], outcome=outcome),)
    journal = samples.sample("journal", replace(captured.RECOVERED_JOURNAL, lines=lines))
    guide = Guide(lambda: pytest.fail("asked"), lambda asked: asked.close(), lambda message: None)
    guide.look(_state(*samples.incident(), journal))
    assert guide.asking is asks


@pytest.mark.parametrize("busy", [True, False])
async def test_a_step_found_while_an_action_held_the_lock_is_not_shown(engine: ScriptedEngine, *, busy: bool) -> None:
    """The action began after the question: its lock looked like a running server, and the way went back to the stop."""
    engine.attached = cast("ScriptedAttached", object()) if busy else None
    asked: list[Coroutine[Any, Any, None]] = []
    answers: list[Message] = []
    guide = Guide(lambda: cast("StationEngine", engine), asked.append, answers.append)
    guide.look(_state(*samples.incident()))
    await asked[0]
    assert isinstance(answers[0], Guided)
    assert answers[0].known is not busy


def test_what_nobody_can_see_yet_is_announced(settings: Settings) -> None:
    """While _txn is damaged, damage to partitions and symbol maps is hidden: the count of steps may grow."""
    table = samples.INCIDENT.tables[0]
    code = Code.TABLE_TXN_INVALID
    findings = (replace(table.findings[0], code=code, severity=Severity.DAMAGE),)
    hidden = replace(table, findings=findings, next_step=NextStep("repair-table-state", ""))
    report = replace(samples.INCIDENT, tables=(hidden,))
    first = FirstStep("repair-table-state", table.table, "")
    way = way_of(report, first, Standing(True, True, (Walked("capture-evidence", None, 1.0),)))
    steps = len(way.steps)
    assert f"/{steps}+ table-state" in plain(stepper(way.steps, 30))
    assert "table-state + ?" in plain(stepper(way.steps, 200))
    done = tuple(replace(step, state=StepState.DONE) if step.tables else step for step in way.steps)
    assert "+" not in plain(stepper(done, 200))

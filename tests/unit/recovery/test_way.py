"""The way of a recovery: one numbering from the first step to the last, one next step, and an end."""

from dataclasses import replace

import pytest

from console.diagnosis.model import DatabaseReport, NextStep
from console.recovery.codes import StepState
from console.recovery.model import FirstStep
from console.recovery.next_steps.way import BY_HAND, Standing, Walked, Way, way_of
from tests.ui import captured, samples

INCIDENT, HEALTHY = samples.INCIDENT, samples.HEALTHY
BOOK, TRADES = "market_orderbook", "market_trades"


def _walked(*actions: str) -> tuple[Walked, ...]:
    made = []
    for at, action in enumerate(actions):
        name, _, table = action.partition(" ")
        made.append(Walked(name, table or None, 1_000.0 + at))
    return tuple(made)


def _shown(way: Way) -> str:
    signs = {StepState.DONE: "●", StepState.NEXT: "◐", StepState.AHEAD: "○"}
    return " ".join(f"{signs[s.state]}{s.number}{s.action.split('-')[0]}{len(s.tables) or ''}" for s in way.steps)


def _report(*, broken: tuple[str, ...]) -> DatabaseReport:
    healthy = {table.table: table for table in HEALTHY.tables}
    tables = tuple(table if table.table in broken else healthy[table.table] for table in INCIDENT.tables)
    return replace(INCIDENT, tables=tables)


WALK = [
    ("freeze-writer", None, (), False, False, "◐1freeze ○2stop ○3capture ○4restore2 ○5start ○6thaw"),
    ("stop-server", None, ("freeze-writer",), True, False, "●1freeze ◐2stop ○3capture ○4restore2 ○5start ○6thaw"),
    ("capture-evidence", None, ("freeze-writer", "stop-server"), True, True,
     "●1freeze ●2stop ◐3capture ○4restore2 ○5start ○6thaw"),
    ("restore-sequencer", BOOK, ("freeze-writer", "stop-server", "capture-evidence"), True, True,
     "●1freeze ●2stop ●3capture ◐4restore2 ○5start ○6thaw"),
    ("restore-sequencer", TRADES, ("freeze-writer", "stop-server", "capture-evidence", f"restore-sequencer {BOOK}"),
     True, True, "●1freeze ●2stop ●3capture ◐4restore2 ○5start ○6thaw"),
    ("start-server", None, ("freeze-writer", "stop-server", "capture-evidence", f"restore-sequencer {BOOK}",
     f"restore-sequencer {TRADES}"), True, True, "●1freeze ●2stop ●3capture ●4restore2 ◐5start ○6thaw"),
    ("thaw-writer", None, ("freeze-writer", "stop-server", "capture-evidence", f"restore-sequencer {BOOK}",
     f"restore-sequencer {TRADES}", "start-server"), True, False,
     "●1freeze ●2stop ●3capture ●4restore2 ●5start ◐6thaw"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "table", "done", "frozen", "stopped", "shown"), WALK, ids=[each[5] for each in WALK]
)
def test_the_numbers_stay_from_the_first_step_to_the_last(
    action: str, table: str | None, done: tuple[str, ...], frozen: bool, stopped: bool, shown: str
) -> None:
    repaired = {step.partition(" ")[2] for step in done}
    report = _report(broken=tuple({BOOK, TRADES} - repaired))
    way = way_of(report, FirstStep(action, table, ""), Standing(frozen, stopped, _walked(*done)))
    assert _shown(way) == shown
    assert way.next is not None
    assert way.next.action == action
    assert way.ended_at is None


def test_the_end_is_an_end_until_something_new_is_to_be_done() -> None:
    done = _walked("freeze-writer", "stop-server", f"restore-sequencer {BOOK}", "start-server", "thaw-writer")
    over = way_of(HEALTHY, None, Standing(False, False, done))
    assert over.next is None
    assert {step.state for step in over.steps} == {StepState.DONE}
    assert over.ended_at == done[-1].at
    again = way_of(INCIDENT, FirstStep("freeze-writer", None, ""), Standing(False, False, done))
    assert _shown(again) == "◐1freeze ○2stop ○3capture ○4restore2 ○5start ○6thaw"


def test_a_server_that_was_down_from_the_beginning_leaves_no_step_behind() -> None:
    walk = ("freeze-writer", "capture-evidence", f"restore-sequencer {BOOK}", f"restore-sequencer {TRADES}")
    before = way_of(HEALTHY, FirstStep("start-server", None, ""), Standing(True, True, _walked(*walk)))
    assert _shown(before) == "●1freeze ●2stop ●3capture ●4restore2 ◐5start ○6thaw"
    starting = way_of(HEALTHY, FirstStep("start-server", None, ""), Standing(True, False, _walked(*walk)))
    assert _shown(starting) == _shown(before)
    started = _walked(*walk, "start-server")
    up = way_of(HEALTHY, FirstStep("thaw-writer", None, ""), Standing(True, False, started))
    assert _shown(up) == "●1freeze ●2stop ●3capture ●4restore2 ●5start ◐6thaw"
    over = way_of(HEALTHY, None, Standing(False, False, _walked(*walk, "start-server", "thaw-writer")))
    assert _shown(over) == "●1freeze ●2stop ●3capture ●4restore2 ●5start ●6thaw"
    assert over.ended_at is not None


def test_a_crash_loop_begins_with_the_writer_and_the_server() -> None:
    way = way_of(captured.CRASH_LOOP_TABLES, FirstStep("stop-server", None, ""), Standing(True, False, ()))
    assert _shown(way) == "●1freeze ◐2stop ○3capture ○4repair1 ○5start ○6thaw"
    # The server was started behind our back: the step comes again, under its number.
    walked = _walked("freeze-writer", "stop-server", "capture-evidence")
    back = way_of(captured.CRASH_LOOP_TABLES, FirstStep("stop-server", None, ""), Standing(True, False, walked))
    assert back.next is not None
    assert back.next.number == 2


def test_what_the_engine_passes_by_is_not_on_the_way() -> None:
    """The server is down already and the writer never ran: neither is stopped, and what never stopped is not thawed."""
    way = way_of(INCIDENT, FirstStep("restore-sequencer", BOOK, ""), Standing(False, True, ()))
    assert _shown(way) == "●1stop ◐2restore2 ○3start"


def test_a_table_without_a_copy_is_rebuilt_and_the_way_says_so() -> None:
    way = way_of(INCIDENT, FirstStep("rebuild-sequencer", BOOK, ""), Standing(True, True, ()))
    assert [step.action for step in way.steps if step.tables] == ["rebuild-sequencer", "restore-sequencer"]


def test_a_step_that_no_table_asked_for_stands_where_it_is_taken() -> None:
    way = way_of(INCIDENT, FirstStep("salvage-wal", BOOK, ""), Standing(True, True, _walked("freeze-writer")))
    assert way.next is not None
    assert way.next.action == "salvage-wal"
    assert [step.number for step in way.steps] == list(range(1, len(way.steps) + 1))


def test_where_no_action_helps_the_next_step_is_a_persons() -> None:
    table = INCIDENT.tables[0]
    hopeless = replace(table, findings=(), next_step=replace(table.next_step, action=None, evidence=True))
    way = way_of(replace(INCIDENT, tables=(hopeless,)), None, Standing(True, True, ()))
    assert way.next is not None
    assert way.next.action == BY_HAND


def test_a_healthy_station_has_no_way() -> None:
    assert way_of(HEALTHY, None, Standing()) == Way()
    frozen = way_of(HEALTHY, FirstStep("thaw-writer", None, ""), Standing(True, False, ()))
    assert _shown(frozen) == "◐1thaw"


def test_all_suspended_tables_are_one_step() -> None:
    tables = (replace(table, findings=(), next_step=NextStep("resume-wal", "")) for table in INCIDENT.tables)
    report = replace(INCIDENT, tables=tuple(tables))
    way = way_of(report, FirstStep("resume-all", None, ""), Standing())
    assert [(step.action, len(step.tables), step.state) for step in way.steps] == [("resume-all", 2, StepState.NEXT)]

"""What the console finds out by itself: the one recommended next step, and what an earlier console left behind."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from textual.message import Message

from console.errors import WalmedicError
from console.probes.state import StationState
from console.probes.worker import Worker

if TYPE_CHECKING:
    from console.diagnosis.model import DatabaseReport
    from console.recovery.next_steps.way import Way
    from console.recovery.process.launch import Attached
    from console.recovery.store.journal import Entry
    from screens.station_engine import StationEngine

_LOG = logging.getLogger(__name__)
_UNITS_AGAIN = 15.0  # seconds: in a crash loop a unit is up and down all the time, and an answer reads disk and queue


class Guided(Message):
    """The engine reported which steps there are; not `known` if it could not. `asked` is when (time.monotonic())."""

    def __init__(self, way: Way | None, *, known: bool = True, asked: float = 0.0) -> None:
        super().__init__()
        self.way = way
        self.known = known
        self.asked = asked


class LeftOver(Message):
    """What an earlier console left: an action that still runs, entries that were cut off, or why that is not known."""

    def __init__(self, attached: Attached | None, unfinished: Sequence[Entry] = (), error: str = "") -> None:
        super().__init__()
        self.attached = attached
        self.unfinished = unfinished
        self.error = error


class Guide:
    """Asks the engine, in a thread and one question at a time; what it finds out is posted as a message.

    Nothing is asked before the tables (for the next step) and the journal (for what was left) are known: the engine is
    not imported before the first paint.
    """

    def __init__(
        self,
        engine: Callable[[], StationEngine],
        run: Callable[[Coroutine[Any, Any, None]], object],
        post: Callable[[Message], object],
    ) -> None:
        self._engine = engine
        self._run = run
        self._post = post
        self._known: Hashable | None = None  # what the next step was last asked for
        self._units: Hashable = ()  # what ran then
        self._asked = 0.0
        self._looked_back = False
        self.asking = False
        self.asks_anew = False  # what it rests on has changed, not only what runs

    def look(self, state: StationState) -> None:
        """Ask what is not known yet, or not any more.

        Not while an action runs: it holds QuestDB's lock, which looks like a server, and its end changes the answer.
        """
        report: DatabaseReport | None = state.tables.data
        if report is not None and not self.asking and state.at_work is None:
            known, units, now = _rests_on(state, report), _running(state), time.monotonic()
            if known != self._known or (units != self._units and now - self._asked >= _UNITS_AGAIN):
                self.asks_anew = known != self._known
                self._known, self._units, self._asked, self.asking = known, units, now, True
                self._run(self._find_next(report))
        journal = state.journal.data
        if journal is not None and not self._looked_back:
            self._looked_back = True
            if any(entry.outcome in {"running", "unfinished"} for entry in journal.lines):
                self._run(self._find_left_over())

    def forget(self) -> None:
        """Have the next look ask again: something was done meanwhile."""
        self._known = None

    async def _find_next(self, report: DatabaseReport | None) -> None:
        way, known, asked = None, False, time.monotonic()
        try:
            way = await Worker("way").call(lambda: self._engine().way(report))
            # One that began meanwhile held QuestDB's lock while it was asked: its end has it asked again.
            known = not await Worker("busy").call(lambda: self._engine().busy())
        except WalmedicError as refused:
            _LOG.info("no next step: %s", refused)
        except Exception:
            _LOG.exception("the next step could not be found")
        self.asking = self.asks_anew = False
        self._post(Guided(way, known=known, asked=asked))

    async def _find_left_over(self) -> None:
        try:
            attached = await Worker("attach").call(lambda: self._engine().attach())
            unfinished = () if attached else await Worker("unfinished").call(lambda: self._engine().unfinished())
            self._post(LeftOver(attached, tuple(unfinished)))
        except WalmedicError as refused:
            self._post(LeftOver(None, (), str(refused)))
        except Exception:
            _LOG.exception("what was left could not be found out")


def _rests_on(state: StationState, report: DatabaseReport) -> Hashable:
    """Return what the next step rests on: what is wrong with the tables, what was done last."""
    journal = state.journal.data
    return (
        tuple((t.table, t.verdict, t.next_step.action, tuple(f.code for f in t.findings)) for t in report.tables),
        tuple((entry.entry, entry.outcome) for entry in journal.lines[:3]) if journal is not None else (),
    )


def _running(state: StationState) -> Hashable:
    services = state.services.data
    return tuple((unit.name, unit.state) for unit in services.units) if services is not None else ()

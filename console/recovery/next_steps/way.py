"""The whole way of a recovery as numbered steps: what is done, what comes next, what follows.

It is made of what the tables ask for (`station_plan`), the one next step (`availability`) and the journal, so that the
number of a step stays the same from the first to the last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from console.diagnosis.model import DatabaseReport, Verdict
from console.recovery.codes import StepState
from console.recovery.gate.registry import PlanContext, spec_of
from console.recovery.model import Danger, FirstStep, LostValues, Outcome, RowsLost, values_lost_in_words
from console.recovery.next_steps.availability import first_step, not_needed
from console.recovery.next_steps.station_plan import HIDING, actions_for
from console.recovery.store.journal import Entry
from console.recovery.store.places import root_key
from console.text import plural

FREEZE, STOP, EVIDENCE, START, THAW = "freeze-writer", "stop-server", "capture-evidence", "start-server", "thaw-writer"
BY_HAND = ""
"""In place of an action: a person does it."""
_PAUSE = 6 * 3600.0  # seconds between two entries from which on the later one belongs to another recovery
_REBUILD = {("restore-sequencer", "rebuild-sequencer"), ("rebuild-sequencer", "restore-sequencer")}


@dataclass(frozen=True, slots=True)
class WayStep:
    """One step: an action (`BY_HAND`: none) on the station or on each of `tables`, `done` of which are ready."""

    number: int
    action: str
    tables: tuple[str, ...] = ()
    done: int = 0
    state: StepState = StepState.AHEAD

    @property
    def may_bring_more(self) -> bool:
        """Whether further damage can be seen after it only, so that steps may follow which nobody can name yet."""
        return self.state is not StepState.DONE and self.action in HIDING


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery that is over brought back and what it cost, in rows; `duplicates` are possible ones.

    `repaired` says whether any table had to be repaired at all, `aside` how many are set aside still.
    """

    rows: int
    lost: RowsLost
    duplicates: int
    repaired: bool = True
    values_lost: tuple[LostValues, ...] = ()
    aside: int = 0

    @property
    def sentence(self) -> str:
        """Return what ends an incident; a table that is set aside is not back."""
        without = f"{plural(self.aside, 'table')} set aside, out of QuestDB's sight until that is undone."
        return f"{self._back} {without}" if self.aside else self._back

    @property
    def _back(self) -> str:
        if not self.repaired:
            return "The station is back: no rows had to be recovered, none were lost."
        more = f", up to {plural(self.duplicates, 'possible duplicate')}" if self.duplicates else ""
        return f"The station is back: {plural(self.rows, 'row')} recovered, {self.lost_in_words}{more}."

    @property
    def lost_in_words(self) -> str:
        """Return e.g. `130,966 lost, 25,897 values lost`."""
        return f"{self.lost.words} lost{values_lost_in_words(self.values_lost)}"


@dataclass(frozen=True, slots=True)
class Way:
    """All steps in order. `first` is the next one as the engine says it, None if no action of walmedic is next.

    `ended_at` (epoch seconds) is when its last step ended, None if something is left to do or nothing was begun.
    """

    steps: tuple[WayStep, ...] = ()
    first: FirstStep | None = None
    ended_at: float | None = None
    recovered: Recovered | None = None

    @property
    def next(self) -> WayStep | None:
        return next((step for step in self.steps if step.state is StepState.NEXT), None)


@dataclass(frozen=True, slots=True)
class Walked:
    """One step that was carried out and stands; `at` in epoch seconds is when it ended."""

    action: str
    table: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How the station stands: the writer frozen, the server held down, and the steps of this recovery, oldest first."""

    frozen: bool = False
    stopped: bool = False
    walked: tuple[Walked, ...] = ()

    def did(self, action: str) -> bool:
        return any(step.action == action for step in self.walked)


def station_way(context: PlanContext, report: DatabaseReport) -> Way:
    """Return the way of the station of `report`. Raises WalmedicError if the journal cannot be read."""
    root = root_key(context.database.db)
    entries = [entry for entry in context.journal.entries() if entry.root == root]
    first = first_step(context, report)
    standing = Standing(not_needed(context, FREEZE), not_needed(context, STOP), walked(entries, context.now))
    return way_of(report, first, standing)


def walked(entries: Sequence[Entry], now: float) -> tuple[Walked, ...]:
    """Return the steps of the newest recovery that stand: those after the thaw before it, or after a long pause."""
    undone = {str(entry.intent.get("undoes")) for entry in entries if entry.result is Outcome.DONE}
    found: list[Walked] = []
    later = now
    for entry in reversed(entries):
        at = entry.events[-1].seconds
        if later - at > _PAUSE or (found and entry.action == THAW and entry.result is Outcome.DONE):
            break
        later = at
        if entry.result is Outcome.DONE and entry.id not in undone and entry.action != "undo":
            found.append(Walked(entry.action, entry.table, at))
    return tuple(reversed(found))


def way_of(report: DatabaseReport, first: FirstStep | None, standing: Standing) -> Way:
    """Return the way by what the tables ask for, the next step, and how the station stands."""
    ahead = _ahead(report, first)
    if not ahead and first is None:
        # What nobody has to do any more is not on the way, e.g. the stop of a server that was down from the beginning.
        done = _numbered(step for step in _assembled((), standing) if step.state is StepState.DONE)
        over = bool(done) and bool(standing.walked) and not (standing.frozen or standing.stopped)
        return Way(done, None, standing.walked[-1].at if over else None)
    return Way(_numbered(_with_next(_assembled(ahead, _of_this_recovery(standing)), first)), first)


def _of_this_recovery(standing: Standing) -> Standing:
    """Return it without a recovery that was over already: after its thaw something new is to be done."""
    over = standing.walked and standing.walked[-1].action == THAW and not standing.frozen
    return replace(standing, walked=()) if over else standing


def _ahead(report: DatabaseReport, first: FirstStep | None) -> tuple[tuple[str, str], ...]:
    """Return what is still to be done to the tables, action and table, in the order in which it is done."""
    found: list[tuple[str, str]] = []
    for table in report.worst_first():
        actions = actions_for(table)
        if not actions and table.verdict is not Verdict.HEALTHY and table.next_step.evidence:
            actions = (BY_HAND,)
        found.extend((action, table.table) for action in actions)
    if first is not None and first.table is not None and spec_of(first.action).hides:
        return (*((action, table) for action, table in found if table != first.table), (first.action, first.table))
    if first is not None and first.table is not None and (first.action, first.table) not in found:
        for at, (action, table_name) in enumerate(found):
            if table_name == first.table and (action, first.action) in _REBUILD:
                found[at] = (first.action, first.table)  # there is no copy to restore, or there is one now
                break
    return tuple(found)


def _assembled(ahead: Sequence[tuple[str, str]], standing: Standing) -> list[WayStep]:
    """Return the steps in order without numbers and without the next one."""
    did, done = standing.did, _repaired(ahead, standing)
    by_hand = any(action == BY_HAND for action, _ in ahead)
    specs = [spec_of(action) for action, _ in (*done, *ahead) if action != BY_HAND]
    offline, evidence = any(spec.offline for spec in specs), any(spec.needs_evidence for spec in specs)
    was_stopped = standing.stopped or did(STOP) or any(spec_of(action).offline for action, _ in done)
    was_frozen = standing.frozen or did(FREEZE)
    steps: list[WayStep] = []
    if offline or by_hand or did(FREEZE):
        steps.append(_step(FREEZE, done=was_frozen or did(THAW)))
    if offline or by_hand or did(STOP):
        steps.append(_step(STOP, done=was_stopped or did(START)))
    if evidence or by_hand or did(EVIDENCE):
        steps.append(_step(EVIDENCE, done=did(EVIDENCE) or not ahead))
    steps.extend(_grouped(done, ahead))
    if offline or was_stopped or did(START):
        steps.append(_step(START, done=did(START) and not standing.stopped))
    if steps and (offline or was_frozen or did(THAW)):
        steps.append(_step(THAW, done=did(THAW) and not standing.frozen))
    return steps


def _repaired(ahead: Sequence[tuple[str, str]], standing: Standing) -> list[tuple[str, str]]:
    """Return the repairs that were done and are not asked for again, action and table, each once."""
    done = [(step.action, step.table or "") for step in standing.walked if _repairs(step)]
    return [each for each in dict.fromkeys(done) if each not in set(ahead)]


def _repairs(step: Walked) -> bool:
    return step.table is not None and spec_of(step.action).danger is Danger.DATA


def _grouped(done: Iterable[tuple[str, str]], ahead: Iterable[tuple[str, str]]) -> list[WayStep]:
    """Return one step for what is done to several tables one after the other."""
    listed = [(action, table, True) for action, table in done] + [(action, table, False) for action, table in ahead]
    made = []
    for action, members in groupby(listed, key=lambda each: each[0]):
        group = list(members)
        count = sum(is_done for _, _, is_done in group)
        state = StepState.DONE if count == len(group) else StepState.AHEAD
        made.append(WayStep(0, action, tuple(table for _, table, _ in group), count, state))
    return made


def _with_next(steps: list[WayStep], first: FirstStep | None) -> list[WayStep]:
    """Return the steps with the next one marked; one that the next one passes by is not on the way."""
    if first is None:
        at = next((n for n, step in enumerate(steps) if step.state is not StepState.DONE and not step.action), None)
    else:
        at = next((n for n, step in enumerate(steps) if _is(step, first)), None)
        if at is None:
            at = next((n for n, step in enumerate(steps) if step.state is not StepState.DONE), len(steps))
            tables = (first.table,) if first.table is not None else ()
            steps = [*steps[:at], WayStep(0, first.action, tables), *steps[at:]]
    if at is None:
        return [step for step in steps if step.state is StepState.DONE or step.tables]
    passed = [step for step in steps[:at] if step.state is StepState.DONE]
    following = steps[at + 1 :]
    if not any(step.action in (FREEZE, THAW) for step in (*passed, steps[at])):
        following = [step for step in following if step.action != THAW]  # a writer that runs needs no thaw
    action = first.action if first is not None else steps[at].action
    return [*passed, replace(steps[at], action=action, state=StepState.NEXT), *following]


def _is(step: WayStep, first: FirstStep) -> bool:
    """Return whether the next step is this one: repeated if it was done, since the world has changed."""
    for_all = step.action != BY_HAND and spec_of(step.action).for_all == first.action
    if step.action != first.action and not for_all:
        return False
    return first.table is None or not step.tables or (first.table in step.tables and step.done < len(step.tables))


def _step(action: str, *, done: bool) -> WayStep:
    return WayStep(0, action, state=StepState.DONE if done else StepState.AHEAD)


def _numbered(steps: Iterable[WayStep]) -> tuple[WayStep, ...]:
    return tuple(replace(step, number=number) for number, step in enumerate(steps, 1))

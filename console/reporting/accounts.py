"""What an incident cost, table by table: rows brought back, lost, maybe there twice, proven by the server."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from console.records import renamed
from console.recovery.model import Lost, LostValues, RowsLost
from console.reporting.history import PastAction, rows_proven
from console.reporting.incident import Incident
from console.text import clean_line, plural


@dataclass(frozen=True, slots=True)
class TableAccount:
    """One table. `lost` is what the repairs that stand gave up; `at_risk` what is still to be saved, None: unknown."""

    table: str
    verdict: str
    back: int = field(metadata=renamed("rows_back"))
    lost: RowsLost = field(metadata=renamed("rows_lost"))
    maybe_twice: int = field(metadata=renamed("rows_maybe_twice"))
    proven: int | None = field(metadata=renamed("rows_proven"))
    at_risk: int | None = field(metadata=renamed("rows_at_risk"))
    repaired: bool
    values_lost: tuple[LostValues, ...] = ()

    @property
    def lost_in_words(self) -> str:
        """Return e.g. `0`, `up to 1,000`, `unknown`."""
        return in_words(self.lost)


def accounts(incident: Incident) -> tuple[TableAccount, ...]:
    """Return the account of each table that is or was in trouble, or was proven; of all where none was."""
    made = []
    for report in incident.tables.tables:
        name = clean_line(report.table)
        repairs = [past for past in incident.past_actions if past.stands and past.table == name and _touches_rows(past)]
        made.append(
            TableAccount(
                table=name,
                verdict=report.verdict.value,
                back=_back(repairs),
                lost=_summed(repairs),
                maybe_twice=repairs[-1].plan.rows_maybe_twice if repairs and repairs[-1].plan else 0,
                proven=rows_proven(incident.past_actions, name),
                at_risk=report.rows_at_risk,
                repaired=bool(repairs),
                values_lost=tuple(lost for past in repairs if past.plan for lost in past.plan.values_lost),
            )
        )
    return tuple(made)


def ending(incident: Incident) -> str:
    """Return the one line that ends an incident, empty while something is left to do."""
    if not incident.over:
        return ""
    repaired = [account for account in accounts(incident) if account.repaired]
    if not repaired:
        return "The station is back: no rows had to be recovered, none were lost."
    back, lost = sum(account.back for account in repaired), summed_losses(account.lost for account in repaired)
    twice = sum(account.maybe_twice for account in repaired)
    more = f", up to {plural(twice, 'possible duplicate')}" if twice else ""
    gone = "an unknown number" if lost.value is None else in_words(lost)
    values = values_in_words(repaired)
    return f"The station is back: {plural(back, 'row')} recovered, {gone} lost{values}{more}."


def in_words(lost: RowsLost) -> str:
    """Return e.g. `0`, `up to 1,000`, `unknown`."""
    if lost.value is None:
        return "unknown"
    return f"{'up to ' if lost.kind == 'bound' else ''}{lost.value:,}"


def values_in_words(repaired: Iterable[TableAccount]) -> str:
    """Return e.g. `, 25,897 values lost`, empty if no value and no name of a symbol was lost."""
    lost = [each for account in repaired for each in account.values_lost]
    words = ""
    for kind, name in ((Lost.VALUES, "value"), (Lost.NAMES, "symbol name")):
        counts = [each.count for each in lost if each.kind is kind]
        known = [count for count in counts if count is not None]
        if counts:
            words += f", {plural(sum(known), name)} lost" if len(known) == len(counts) else f", {name}s lost"
    return words


def _back(repairs: Sequence[PastAction]) -> int:
    """Return the rows that came back. A later repair counts again what waits to be applied: only the newest counts."""
    return next((past.plan.rows_back for past in reversed(repairs) if past.plan and past.plan.rows_back), 0)


def _touches_rows(past: PastAction) -> bool:
    """Return whether an action was on the files or rows of its table: those have `lose` in their phrase (contract)."""
    return past.plan is not None and past.plan.confirmation == f"{past.table} lose {past.plan.rows_lost.phrase}"


def _summed(repairs: Sequence[PastAction]) -> RowsLost:
    """Return the rows that all of `repairs` lost: one unknown makes the sum unknown, one bound makes it a bound."""
    return summed_losses(past.plan.rows_lost for past in repairs if past.plan is not None)


def summed_losses(each: Iterable[RowsLost]) -> RowsLost:
    """Return the sum: one unknown makes it unknown, one bound makes it a bound."""
    losses = tuple(each)
    if any(loss.value is None for loss in losses):
        return RowsLost("unknown", None)
    kind = "bound" if any(loss.kind == "bound" for loss in losses) else "exact"
    return RowsLost(kind, sum(loss.value or 0 for loss in losses))

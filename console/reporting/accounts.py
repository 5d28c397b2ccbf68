"""What an incident cost, table by table: rows brought back, lost, maybe there twice, proven by the server."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from console.diagnosis.model import Code
from console.records import renamed
from console.recovery.model import LostValues, RowsLost, values_lost_in_words
from console.recovery.next_steps.way import Recovered
from console.reporting.history import PastAction, rows_proven
from console.reporting.incident import Incident
from console.text import clean_line


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
        return "unknown" if self.lost.value is None else self.lost.words


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
                lost=RowsLost.total(past.plan.rows_lost for past in repairs if past.plan is not None),
                maybe_twice=repairs[-1].plan.rows_maybe_twice if repairs and repairs[-1].plan else 0,
                proven=rows_proven(incident.past_actions, name),
                at_risk=report.rows_at_risk,
                repaired=bool(repairs),
                values_lost=tuple(lost for past in repairs if past.plan for lost in past.plan.values_lost),
            )
        )
    return tuple(made)


def recovered(incident: Incident) -> Recovered | None:
    """Return what the recovery brought back and what it cost, None while something is left to do."""
    if not incident.over:
        return None
    repaired = [account for account in accounts(incident) if account.repaired]
    return Recovered(
        sum(account.back for account in repaired),
        RowsLost.total(account.lost for account in repaired),
        sum(account.maybe_twice for account in repaired),
        bool(repaired),
        tuple(lost for account in repaired for lost in account.values_lost),
        sum(finding.code is Code.TABLE_SET_ASIDE for finding in incident.tables.findings),
    )


def values_in_words(repaired: Iterable[TableAccount]) -> str:
    """Return e.g. `, 25,897 values lost`, empty if no value and no name of a symbol was lost."""
    return values_lost_in_words(lost for account in repaired for lost in account.values_lost)


def _back(repairs: Sequence[PastAction]) -> int:
    """Return the rows that came back. A later repair counts again what waits to be applied: only the newest counts."""
    return next((past.plan.rows_back for past in reversed(repairs) if past.plan and past.plan.rows_back), 0)


def _touches_rows(past: PastAction) -> bool:
    """Return whether an action was on the files or rows of its table: those have `lose` in their phrase (contract)."""
    return past.plan is not None and past.plan.confirmation.startswith(f"{past.table} lose ")

"""What an incident cost, table by table: rows brought back, lost, maybe there twice, proven by the server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from console.recovery.model import RowsLost
from console.reporting.history import Deed, rows_proven
from console.reporting.incident import Incident
from console.text import clean_line


@dataclass(frozen=True, slots=True)
class TableAccount:
    """One table. `lost` is what the repairs that stand gave up; `at_risk` what is still to be saved, None: unknown."""

    table: str
    verdict: str
    back: int
    lost: RowsLost
    maybe_twice: int
    proven: int | None
    at_risk: int | None
    repaired: bool

    @property
    def lost_in_words(self) -> str:
        """Return e.g. `0`, `up to 1,000`, `unknown`."""
        if self.lost.value is None:
            return "unknown"
        return f"{'up to ' if self.lost.kind == 'bound' else ''}{self.lost.value:,}"

    def to_json(self) -> dict[str, Any]:
        """Return the account in the form of `report --json`."""
        return {
            "table": self.table,
            "verdict": self.verdict,
            "rows_back": self.back,
            "rows_lost": {"kind": self.lost.kind, "value": self.lost.value},
            "rows_maybe_twice": self.maybe_twice,
            "rows_proven": self.proven,
            "rows_at_risk": self.at_risk,
            "repaired": self.repaired,
        }


def accounts(incident: Incident) -> tuple[TableAccount, ...]:
    """Return the account of each table that is or was in trouble, or was proven; of all where none was."""
    made = []
    for report in incident.tables.tables:
        name = clean_line(report.table)
        repairs = [deed for deed in incident.deeds if deed.stands and deed.table == name and _touches_rows(deed)]
        made.append(
            TableAccount(
                table=name,
                verdict=report.verdict.value,
                # A later repair counts again what waits to be applied: only the newest one says what came back.
                back=repairs[-1].plan.rows_back if repairs and repairs[-1].plan else 0,
                lost=_summed(repairs),
                maybe_twice=repairs[-1].plan.rows_maybe_twice if repairs and repairs[-1].plan else 0,
                proven=rows_proven(incident.deeds, name),
                at_risk=report.rows_at_risk,
                repaired=bool(repairs),
            )
        )
    return tuple(made)


def _touches_rows(deed: Deed) -> bool:
    """Return whether an action was on the files or rows of its table: those have `lose` in their phrase (contract)."""
    return deed.plan is not None and deed.plan.confirmation == f"{deed.table} lose {deed.plan.rows_lost.phrase}"


def _summed(repairs: Sequence[Deed]) -> RowsLost:
    """Return the rows that all of `repairs` lost: one unknown makes the sum unknown, one bound makes it a bound."""
    losses = [deed.plan.rows_lost for deed in repairs if deed.plan is not None]
    if any(loss.value is None for loss in losses):
        return RowsLost("unknown", None)
    kind = "bound" if any(loss.kind == "bound" for loss in losses) else "exact"
    return RowsLost(kind, sum(loss.value or 0 for loss in losses))

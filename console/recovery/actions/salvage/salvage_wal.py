"""salvage-wal: the rows of WAL segments as CSV or Parquet, outside of the database, which is only read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from console.questdb.layout import TableDirectory
from console.recovery.actions.salvage import steps
from console.recovery.actions.salvage.steps import salvage_claims
from console.recovery.actions.salvage.target_checks import target_of, target_refusals
from console.recovery.codes import RefusalCode
from console.recovery.gate.permission import closed_refusals
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Change, Claim, Danger, Plan, Refusal, Requirement, RowsLost, Stage
from console.recovery.plans import make_plan
from console.recovery.salvage.selection import ALL, UNAPPLIED, Selection, select_directory, select_rows
from console.recovery.steps.steps import RunContext
from console.settings import SalvageSettings
from console.text import clean_line, plural

SPEC = ActionSpec(
    id="salvage-wal",
    title="Salvage WAL rows",
    danger=Danger.SAFE,
    needs_table=False,
    summary="Writes the rows of WAL segments as CSV or Parquet outside the database, reads them back, lists them.",
    undo="Nothing under the database is changed; the files stay until you remove their folder yourself.",
)
STEPS = steps.STEPS
_NOT_SEEN = frozenset({RefusalCode.PERMISSION, RefusalCode.WAL_NOT_READ})
"""Refusals for files that were not read: nobody knows how many rows they hold."""


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan to salvage one table, or all that have unapplied rows; or WAL that lies in a directory alone."""
    wanted = context.settings.salvage
    to = target_of(context)
    chosen = list(_chosen(context, wanted, table))
    stages = tuple(_stage(*each, wanted, to) for each in chosen if each[2].choices)
    bound = sum(selection.bound for _, _, selection in chosen)
    rows = sum(selection.rows for _, _, selection in chosen)
    notes = [f"{clean_line(name)}: {selection.note}" for name, _, selection in chosen if selection.note]
    others = sum(len(selection.others) for _, _, selection in chosen)
    skipped = [each for _, _, selection in chosen for each in selection.skipped]
    lag = sum(selection.lag_rows for _, _, selection in chosen)
    unsure = any(selection.unsure for _, _, selection in chosen)
    warnings = [
        *notes,
        *(
            [f"{plural(others, 'unapplied transaction')} without rows (UPDATE, TRUNCATE …) not carried out"]
            if others
            else []
        ),
        *(
            [f"{plural(lag, 'row')} of them lie in a table's lag: applied by count, yet in no SELECT, and lost with it"]
            if lag
            else []
        ),
        *(["some of the rows may be in the table already: compare before you load them"] if unsure else []),
    ]
    unread = sum(selection.unread for _, _, selection in chosen)
    segments = sum(len(selection.choices) for _, _, selection in chosen)
    refused = list(_refusals(context, wanted, to, bound))
    if unread and not stages:
        refused.append(
            Refusal(
                RefusalCode.WAL_NOT_READ,
                "; ".join(notes) or _skipped_text(skipped),
                "make it readable, then plan again",
            )
        )
    if not stages and not wanted.wal:
        looked = (context.database.table(table),) if table is not None else tuple(_all(context))
        refused += closed_refusals(context.database, looked)
    which = "all rows" if wanted.rows == ALL else "the unapplied rows"
    unknown = not stages and any(each.code in _NOT_SEEN for each in refused)
    what = (
        "an unknown number of WAL segments, an unknown number of rows"
        if unknown
        else f"{plural(segments, 'WAL segment')}, {_rows(rows, unsure)}"
    )
    return make_plan(
        SPEC,
        replace(context.target(context.database.table(table)), directory=chosen[0][1] or None if chosen else None)
        if table is not None
        else context.target(),
        why=(
            f"Exports {which} of {what} as {wanted.format.upper()} below "
            f"{clean_line(str(to))}; the database is only read."
        ),
        stages=stages,
        rows_lost=RowsLost.unknown() if unknown else RowsLost.exact(0),
        refused=refused,
        requirements=(
            Requirement("the rows go to a place outside the database", not any(
                r.code is RefusalCode.INSIDE_DATABASE for r in refused), clean_line(str(to))),
            Requirement("segments that can be read", not skipped and not unread, _skipped_text(skipped)),
        ),
        warnings=warnings,
        disk_needed=0 if wanted.to else bound,
    )  # fmt: skip


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Hash every file once more and compare it with the manifest; say what is in it."""
    return tuple(claim for stage in plan.stages for claim in salvage_claims(stage, run, whole=False))


def _chosen(context: PlanContext, wanted: SalvageSettings, table: str | None) -> Iterator[tuple[str, str, Selection]]:
    """Yield name, table directory (empty for none) and selection of all that has rows to write."""
    if wanted.wal:
        source = Path(wanted.wal).absolute()
        directory = context.database.table(table).directory if table is not None else ""
        selection = select_directory(source)
        if selection.choices or selection.skipped:
            yield directory or source.name, directory, selection
        return
    for each in [context.database.table(table)] if table is not None else _all(context):
        selection = select_rows(each, wanted.rows, None)
        if selection.choices or selection.unread:
            yield each.directory, each.directory, selection


def _all(context: PlanContext) -> list[TableDirectory]:
    return [each for each in context.database.tables() if not each.system]


def _stage(name: str, directory: str, selection: Selection, wanted: SalvageSettings, to: Path) -> Stage:
    source = str(Path(wanted.wal).resolve()) if wanted.wal else ""
    return Stage(
        f"salvage-{name}",
        f"write {_rows(selection.rows, selection.unsure)} of {clean_line(name)}, read them back",
        "salvage-rows",
        {
            "name": name, "directory": directory, "source": source, "to": str(to), "format": wanted.format,
            "rows": wanted.rows,
        },
        (Change("create", str(to / f"{name}-<entry>"), size=selection.bound),),
    )  # fmt: skip


def _refusals(context: PlanContext, wanted: SalvageSettings, to: Path, bound: int) -> Iterator[Refusal]:
    yield from target_refusals(context, wanted, to, bound)
    if wanted.rows not in (UNAPPLIED, ALL):
        yield Refusal(RefusalCode.NO_SUCH_ROWS, f"{clean_line(wanted.rows)!r} says no rows", f"{UNAPPLIED} or {ALL}")


def _rows(count: int, unsure: bool) -> str:
    return f"{'up to ' if unsure else ''}{plural(count, 'row')}"


def _skipped_text(skipped: list[tuple[int, int, str]]) -> str:
    if not skipped:
        return "all that have such rows"
    return "; ".join(f"wal{wal}/{segment}: {why}" for wal, segment, why in skipped[:3])

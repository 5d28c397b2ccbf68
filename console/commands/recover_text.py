"""Plans, results and journal entries as text for a terminal. Foreign text never becomes markup."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from console.recovery.model import Claim, Outcome, Plan, Progress, RunResult, values_lost_in_words
from console.recovery.next_steps.station_plan import StationPlan
from console.recovery.store.journal import Entry
from console.text import clean, clean_line

_OUTCOMES = {
    Outcome.NOT_NEEDED: "nothing needed",
    Outcome.DONE: "done and verified",
    Outcome.FAILED: "failed; a problem remains",
    Outcome.ROLLED_BACK: "failed and rolled back",
    Outcome.REFUSED: "refused; nothing was changed",
    Outcome.UNFINISHED: "cut off",
}


def console(*, stderr: bool = False) -> Console:
    """Return a console that takes text as it is: no markup, no guessing of what to highlight."""
    return Console(markup=False, highlight=False, emoji=False, stderr=stderr, soft_wrap=True)


def show_plan(to: Console, plan: Plan) -> None:
    """Write a plan: why, what it costs, what must hold, every change, and the phrase."""
    _line(to, f"plan {plan.plan_id}: {plan.action} {plan.table or plan.station}", "bold")
    to.print(Text(clean(plan.why)))
    _line(to, f"QuestDB version: {plan.questdb or 'unknown (no file of this data root names it)'}", "dim")
    lost = plan.rows_lost.phrase.replace("-", " ")
    back, values = f"rows recovered: {plan.rows_back:,}", values_lost_in_words(plan.values_lost)
    to.print(Text(f"rows lost: {lost}{values}   {back}   possible duplicates: {plan.rows_maybe_twice:,}"))
    for requirement in plan.requirements:
        _line(to, f"  {'✓' if requirement.holds else '✗'} {requirement.claim}: {requirement.evidence}")
    for number, stage in enumerate(plan.stages, start=1):
        _line(to, f"{number}. {stage.title}", "bold")
        for change in stage.changes:
            size = f" ({change.size:,} bytes)" if change.size is not None else ""
            arrow = f": {change.before or 'nothing'} → {change.after}" if change.after else ""
            _line(to, f"   {change.kind} {change.target}{size}{arrow}")
    for left in plan.left_out:
        _line(to, f"not checked: {left}", "yellow")
    for warning in plan.warnings:
        _line(to, f"warning: {warning}", "yellow")
    if plan.refused:
        for refusal in plan.refused:
            _line(to, f"refused [{refusal.code}]: {refusal.reason}", "red")
            _line(to, f"  instead: {refusal.instead}")
    elif not plan.needed:
        _line(to, "nothing to do", "green")
    else:
        _line(to, f"undo: {plan.undo}")
        _line(to, f"to do it, type exactly: {plan.confirmation}", "bold")


def show_station(to: Console, plan: StationPlan) -> None:
    """Write the steps of all tables in order, what each loses, and the total."""
    if not plan.steps:
        to.print("no table needs a step")
        return
    for number, step in enumerate(plan.steps, start=1):
        cost = (
            f"cost not known: {step.open_}" if step.open_ else f"rows lost: {step.rows_lost.phrase.replace('-', ' ')}"
        )
        _line(to, f"{number}. {step.table}: {step.action or ('further steps' if step.later else 'by hand')}", "bold")
        _line(to, f"   {cost}")
        if step.reason:
            _line(to, f"   {step.reason}")
        for lost in step.values_lost:
            _line(to, f"   {lost.sentence}")
    total = plan.rows_lost.phrase.replace("-", " ") + values_lost_in_words(plan.values_lost)
    _line(to, f"all together: rows lost: {total}", "bold")


def show_result(to: Console, result: RunResult) -> None:
    good = result.outcome in (Outcome.DONE, Outcome.NOT_NEEDED)
    entry = f" (entry {result.entry})" if result.entry else ""
    _line(to, f"{_OUTCOMES[result.outcome]}{entry}: {result.message}", "green" if good else "red")
    show_claims(to, result.verification)
    if result.next_step:
        _line(to, f"next: {result.next_step}")


def show_claims(to: Console, claims: Sequence[Claim]) -> None:
    """Write a proof line by line."""
    for claim in claims:
        if claim.noted:
            _line(to, f"  • {claim.claim}: {claim.found}")
        else:
            _line(to, f"  {'✓' if claim.ok else '✗'} {claim.claim}: expected {claim.expected}, found {claim.found}")


def show_progress(to: Console, progress: Progress) -> None:
    counts = f" {progress.done:,} of {progress.total:,}" if progress.done is not None and progress.total else ""
    detail = f": {progress.message}" if progress.message else ""
    _line(to, f"[{progress.state}] {progress.title}{detail}{counts}")


def show_entries(to: Console, entries: Sequence[Entry]) -> None:
    """Write the journal, one line per entry, newest last."""
    if not entries:
        to.print("nothing has been done yet")
        return
    rows = [
        ("time (UTC)", "entry", "action", "target", "outcome", "operator"),
        *(_entry_row(entry) for entry in entries),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)]
        to.print(Text("  ".join((*cells, row[5])), style="" if number else "bold"))


def _entry_row(entry: Entry) -> tuple[str, str, str, str, str, str]:
    undoes = entry.intent.get("undoes")
    return (
        entry.at[:19].replace("T", " "),
        entry.id,
        f"undo of {undoes}" if undoes else entry.action,
        clean_line(entry.table or str(entry.intent.get("station", "")), 60),
        "unfinished" if entry.result is None else _OUTCOMES[entry.result],
        clean_line(str(entry.intent.get("operator", "")), 60),
    )


def _line(to: Console, text: str, style: str = "") -> None:
    to.print(Text(clean_line(text, 2000) if not text.startswith(" ") else "  " + clean_line(text, 2000), style=style))

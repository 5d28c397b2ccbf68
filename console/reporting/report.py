"""The incident's report in Markdown: what happened, what was done, what was lost, what is left to do."""

import datetime
from collections.abc import Iterator
from typing import Any

from console import __version__, records
from console.diagnosis.crashes.groups import CrashGroup
from console.diagnosis.model import Severity, TableReport, Verdict
from console.recovery.model import Outcome
from console.redaction import Redactor
from console.reporting.accounts import accounts, values_in_words
from console.reporting.history import PastAction
from console.reporting.incident import Incident, advice, left_to_do
from console.reporting.markdown import code, plain, span, table
from console.text import clean_line, moment, plural

_MOST_EVENTS, _MOST_FINDINGS = 200, 40


def report(incident: Incident, redactor: Redactor) -> str:
    """Return the whole report; every foreign text went through `redactor`."""
    lines = [
        f"# Incident report: {plain(incident.station)}",
        "",
        f"Made {moment(incident.made_at)} by walmedic {__version__} from {code(str(incident.database.root))}. "
        "All times are UTC.",
        f"QuestDB: {plain(incident.questdb)}.",
        "",
        *in_short(incident),
        "",
        "## What happened",
        "",
        *what_happened(incident),
        "",
        "## What was done",
        "",
        *_what_was_done(incident),
        "",
        "## What was lost",
        "",
        *loss_table(incident),
        "",
        "## What is left to do",
        "",
        *_what_is_left(incident),
        *_section("Worth doing, though nothing presses", advice(incident)),
        *_section("What could not be read", incident.missing),
    ]
    return redactor.text("\n".join(lines) + "\n")


def file_name(incident: Incident) -> str:
    """Return the name of the report's file: the time that it tells of."""
    stamp = datetime.datetime.fromtimestamp(incident.made_at, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"incident-{stamp}.md"


def to_json(incident: Incident, redactor: Redactor) -> dict[str, Any]:
    """Return the document of `report --json`."""
    document: dict[str, Any] = redactor.value(
        {
            "schema": 1,
            "station": incident.station,
            "db_root": str(incident.database.root),
            "questdb_version": incident.tables.version,
            "questdb_versions_seen": incident.tables.versions_seen,
            "made_at": incident.made_at,
            "over": incident.over,
            "events": records.to_json(incident.events),
            "crashes": incident.crashes.to_json()["crashes"],
            "actions": [past.to_json() for past in incident.past_actions],
            "tables": records.to_json(accounts(incident)),
            "left_to_do": list(left_to_do(incident)),
            "advice": list(advice(incident)),
            "missing": list(incident.missing),
        }
    )
    return document


def in_short(incident: Incident) -> list[str]:
    """Return the few lines that a reader needs who reads nothing else."""
    crashes = incident.crashes
    lines = []
    if crashes.total:
        causes = "one cause" if len(crashes.groups) == 1 else f"{len(crashes.groups)} causes"
        lines.append(f"- **{plural(crashes.total, 'crash', 'crashes')}, {causes}**, the last {_last_crash(incident)}.")
    for report_ in incident.tables.tables:
        lines.append(f"- {code(report_.table)} **{report_.verdict.value}**: {_state(report_)}.")
    unseen = dict.fromkeys(part.words for report_ in incident.tables.tables for part in report_.not_checked)
    if unseen:
        lines.append(f"- Not checked: {', '.join(unseen)}.")
    done = [account for account in accounts(incident) if account.repaired]
    if done:
        back, twice = sum(account.back for account in done), sum(account.maybe_twice for account in done)
        lost = [account.lost_in_words for account in done]
        total = lost[0] if len(set(lost)) == 1 else "see below"
        more = values_in_words(done) + (f", {plural(twice, 'row')} may be there twice" if twice else "")
        lines.append(f"- Repairs brought **{plural(back, 'row')} back** and lost **{total}**{more}.")
    left = left_to_do(incident)
    lines.append(f"- **{plural(len(left), 'thing')} left to do.**" if left else "- **Nothing is left to do.**")
    return lines


def what_happened(incident: Incident) -> list[str]:
    """Return the causes of the crashes, then everything in time order."""
    lines: list[str] = []
    for group in incident.crashes.groups:
        lines += [*crash_lines(group), ""]
    if not incident.crashes.total:
        lines += ["No crash log was found.", ""]
    return lines + timeline_table(incident)


def crash_lines(group: CrashGroup) -> list[str]:
    """Return one cause: how often, where, how sure, and which header outran its file."""
    when = span(group.first_at, group.last_at)
    place = code(group.file) if group.file else "not tied to a file"
    place += f" at offset {group.offset:#x}" if group.offset is not None else ""
    place += f", seqTxn {group.seq_txn:,}" if group.seq_txn is not None else ""
    lines = [
        f"**{group.count:,} × {plain(group.title)}** ({when})",
        "",
        f"- {place}, confidence {group.confidence.value}: {plain(group.why)}",
        f"- {plain(group.explanation)}",
    ]
    return lines + [f"- {code(length.file)}: {plain(length.sentence)}" for length in group.lengths]


def timeline_table(incident: Incident) -> list[str]:
    if not incident.events:
        return ["Nothing is known of the time before now."]
    shown = incident.events[:_MOST_EVENTS]
    rows = []
    for event in shown:
        times = f"{event.count:,} × " if event.count > 1 else ""
        sure = "" if event.sure else "≤ " if event.latest else "about "
        detail = f": {plain(event.detail)}" if event.detail else ""
        rows.append([f"{sure}{span(event.at, event.until)}", event.kind.value, f"{times}{plain(event.what)}{detail}"])
    left_out = len(incident.events) - len(shown)
    return table(("when (UTC)", "source", "what"), rows) + (
        ["", f"{left_out:,} later events are not shown."] if left_out else []
    )


def _last_crash(incident: Incident) -> str:
    last = incident.crashes.last_at
    return moment(last) if last is not None else "at an unknown time"


def _state(table_: TableReport) -> str:
    words = {True: "yes", False: "no", None: "unknown"}
    parts = [f"reads {words[table_.can_read]}", f"writes {words[table_.can_write]}"]
    if table_.rows_applied is not None:
        parts.append(f"{table_.rows_applied:,} rows applied")
    if table_.rows_unapplied:
        parts.append(f"{plural(table_.rows_unapplied, 'row')} in the WAL, not applied")
    if table_.rows_at_risk is None or table_.rows_at_risk:
        at_risk = "an unknown number" if table_.rows_at_risk is None else f"{table_.rows_at_risk:,}"
        parts.append(f"{at_risk} of them at risk" if table_.rows_unapplied else f"{at_risk} rows at risk")
    return ", ".join(parts)


def finding_lines(incident: Incident) -> list[str]:
    lines: list[str] = []
    for report_ in incident.tables.tables:
        bad = [f for f in report_.findings if f.severity is not Severity.NOTE or report_.verdict is not Verdict.HEALTHY]
        for finding in bad[:_MOST_FINDINGS]:
            where = f" {code(finding.file)}" if finding.file else ""
            where += f" at {finding.offset:#x}" if finding.offset is not None else ""
            evidence = f" ({plain(finding.evidence)})" if finding.evidence else ""
            lines.append(f"- {code(report_.table)} **{finding.code.value}**{where}: {plain(finding.message)}{evidence}")
        if len(bad) > _MOST_FINDINGS:
            lines.append(f"- {code(report_.table)}: {len(bad) - _MOST_FINDINGS:,} more findings are not shown")
    return lines or ["No finding."]


def action_table(incident: Incident) -> list[str]:
    if not incident.past_actions:
        return ["Nothing was done from here."]
    rows = [
        [span(past.at, past.ended_at), code(past.title), past.outcome, plain(past.rows), plain(_proof(past)),
         plain(past.operator), code(past.entry)]
        for past in incident.past_actions
    ]  # fmt: skip
    return table(("when (UTC)", "action", "outcome", "rows", "proof", "by", "entry"), rows)


def _what_was_done(incident: Incident) -> list[str]:
    lines = action_table(incident)
    reasons = [past for past in incident.past_actions if past.stands and past.table and past.plan]
    if reasons:
        lines += ["", "Why each repair was chosen:", ""]
        lines += [f"- {code(past.title)}: {plain(past.plan.why, 1_000)}" for past in reasons if past.plan]
    proven = [past for past in incident.past_actions if past.stands and past.action in ("start-server", "thaw-writer")]
    for past in proven[-2:]:
        lines += ["", f"Proven by {code(past.title)} on the station itself:", ""]
        lines += [f"- {'note: ' if c.noted else ''}{plain(c.claim)}: {plain(c.found)}" for c in past.claims]
    return lines


def _proof(past: PastAction) -> str:
    if past.outcome not in (Outcome.DONE, "undone"):
        return past.message
    compared = [claim for claim in past.claims if not claim.noted]
    notes = len(past.claims) - len(compared)
    held = f"{sum(claim.ok for claim in compared)} of {plural(len(compared), 'claim')}"
    return f"{held}, {plural(notes, 'note')}" if notes else held if compared else ""


def loss_table(incident: Incident) -> list[str]:
    """Return rows brought back and lost by table, and what became of the queue."""
    made = accounts(incident)
    rows = [
        [
            code(account.table),
            f"{account.back:,}" if account.repaired else "",
            f"**{account.lost_in_words}**" if account.repaired else "",
            f"{account.maybe_twice:,}" if account.repaired else "",
            "" if account.proven is None else f"{account.proven:,}",
            "unknown" if account.at_risk is None else f"{account.at_risk:,}",
        ]
        for account in made
    ]
    head = (
        "table",
        "rows recovered",
        "rows lost",
        "possible duplicates",
        "rows counted by the server",
        "rows at risk now",
    )
    lines = table(head, rows, right=(1, 2, 3, 4, 5)) if rows else ["There are no tables."]
    values = [f"- {code(account.table)}: {lost.sentence}" for account in made for lost in account.values_lost]
    lines += ["", *values] if values else []
    queue = list(_queue(incident))
    return [*lines, *([""] if queue else []), *queue]


def _queue(incident: Incident) -> Iterator[str]:
    """Yield one line for each stream: what waits, and what was removed before it was read."""
    for stream in incident.backlog.streams if incident.backlog else ():
        waits = "an unknown number of" if stream.waiting is None else f"{stream.waiting:,}"
        lost = "it is not known whether any was removed unread" if stream.lost is None else ""
        lost = lost or (f"**{stream.lost:,} were removed unread**" if stream.lost else "none was removed unread")
        yield f"- queue {code(stream.stream)}: {waits} entries wait, {lost}"


def _what_is_left(incident: Incident) -> list[str]:
    left = left_to_do(incident)
    return [f"{number}. {plain(each)}" for number, each in enumerate(left, 1)] or ["Nothing is left to do."]


def _section(title: str, lines: tuple[str, ...]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {plain(clean_line(each))}" for each in lines)] if lines else []

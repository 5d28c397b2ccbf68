"""The Markdown that is posted where QuestDB's people are: the problem first, then what they would ask for next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from console import __version__
from console.redaction import Redactor
from console.reporting.incident import Incident, left_to_do
from console.reporting.markdown import code, plain, table
from console.reporting.report import action_table, crash_lines, finding_lines, in_short, loss_table, timeline_table
from console.text import moment, plural


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a bundle can be taken, and what is fit for that place."""

    name: str
    address: str
    what: str


DESTINATIONS: Final = (
    Destination("QuestDB community forum", "https://community.questdb.com", "post report.md, keep the archive at hand"),
    Destination("QuestDB Slack", "https://slack.questdb.com", "quickest in an emergency; report.md as a snippet"),
    Destination("GitHub issues", "https://github.com/questdb/questdb/issues", "defects; attach the archive"),
)
_PARAMETERS: Final = ("cairo.commit.mode", "cairo.wal.enabled.default", "cairo.default.sequencer.part.txn.count")


def posting(incident: Incident, redactor: Redactor, files: Sequence[str]) -> str:
    """Return the report to post; `incident` went through `redactor` already, and so does the text once more."""
    lines = [
        f"# {plain(_title(incident))}",
        "",
        f"Made {moment(incident.made_at)} by walmedic {__version__}; secrets, people and private paths are taken out. "
        "All times are UTC.",
        "",
        *in_short(incident),
        "",
        "## Environment",
        "",
        *_environment(incident),
        "",
        "## Crashes",
        "",
        *(line for group in incident.crashes.groups for line in (*crash_lines(group), "")),
        *([] if incident.crashes.groups else ["No crash log was found.", ""]),
        "## Findings",
        "",
        *finding_lines(incident),
        "",
        "## In time order",
        "",
        *timeline_table(incident),
        "",
        "## Done so far",
        "",
        *action_table(incident),
        "",
        *loss_table(incident),
        "",
        "## What we would do next, and ask you to check",
        "",
        *([f"{n}. {plain(each)}" for n, each in enumerate(left_to_do(incident), 1)] or ["Nothing is left to do."]),
        "",
        "## In the archive",
        "",
        *_contents(files),
    ]
    return redactor.text("\n".join(lines) + "\n")


def _title(incident: Incident) -> str:
    server = f"QuestDB {incident.version}".strip()
    codes = [
        finding.code.value
        for report in incident.tables.tables
        for finding in report.findings
        if finding.severity.value == "damage"
    ]
    what = list(dict.fromkeys(codes))[:2]
    if incident.crashes.total:
        what.insert(0, plural(incident.crashes.total, "crash", "crashes"))
    return f"{server}: {', '.join(what) or 'no damage is found now'}"


def _environment(incident: Incident) -> list[str]:
    server = incident.server
    known = [("QuestDB", incident.questdb)]
    if server:
        known += [(key, value) for key, value in server.parameters if key in _PARAMETERS]
    known += [("queue", f"Redis {incident.backlog.version}")] if incident.backlog else []
    lines = [f"- {plain(key)}: {code(value)}" for key, value in known]
    units = incident.services.units if incident.services else ()
    if units:
        rows = [[code(u.name), u.role, u.state.value, _count(u.restarts), plain(u.loop or u.result)] for u in units]
        lines += ["", *table(("service", "role", "state", "restarts", "last run"), rows, right=(3,))]
    return lines


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _contents(files: Iterable[str]) -> list[str]:
    return [f"- {code(name)}" for name in sorted(files)]

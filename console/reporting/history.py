"""What was done here: the journal's entries with their plans, as a report tells them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.questdb.table_name import SEQUENCER
from console.records import to_json
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim, Outcome, Plan, claims_of, proven_in_words
from console.recovery.store.entries import read_entry_plan
from console.recovery.store.journal import Entry, Journal
from console.recovery.store.locks import StationLock
from console.recovery.store.places import root_key
from console.recovery.store.state import StateDir
from console.reporting.events import Event, Kind
from console.text import clean_line, plural

RUNNING: Final = "running"


@dataclass(frozen=True, slots=True)
class PastAction:
    """One entry of the journal; times in epoch seconds. `plan` is None where its folder is gone.

    `outcome` is a word of Outcome, `undone` and RUNNING added; `claims` are the proof, as it was journalled.
    """

    entry: str
    at: float
    ended_at: float | None
    action: str
    table: str | None
    outcome: str
    message: str
    operator: str
    host: str
    claims: tuple[Claim, ...]
    plan: Plan | None
    undoes: str = ""
    captured: str = ""  # of evidence: how much, and which table had no sequencer then

    @property
    def stands(self) -> bool:
        return self.outcome == Outcome.DONE and not self.undoes

    @property
    def title(self) -> str:
        """Return e.g. `rebuild-sequencer market_orderbook`."""
        return f"{self.action} {self.undoes or self.table or ''}".rstrip()

    @property
    def command(self) -> str:
        """Return the command that does it, or goes on with it where it was cut off."""
        return f"walmedic {'' if self.undoes else 'run '}{self.title}"

    @property
    def rows(self) -> str:
        """Return what it meant for rows, e.g. `6,359 rows back, 0 lost`; empty for what touches none."""
        if self.plan is None or self.table is None:
            return ""
        parts = [plural(self.plan.rows_back, "row") + " back"] if self.plan.rows_back else []
        parts.append(f"{self.plan.rows_lost.words} lost")
        if self.plan.rows_maybe_twice:
            parts.append(f"{self.plan.rows_maybe_twice:,} possible duplicates")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the action in the form of `report --json`."""
        return {
            "entry": self.entry,
            "at": self.at,
            "ended_at": self.ended_at,
            "action": self.action,
            "table": self.table,
            "outcome": self.outcome,
            "message": self.message,
            "operator": self.operator,
            "undoes": self.undoes or None,
            "rows_lost": None if self.plan is None else to_json(self.plan.rows_lost),
            "rows_back": None if self.plan is None else self.plan.rows_back,
            "rows_maybe_twice": None if self.plan is None else self.plan.rows_maybe_twice,
            "verification": to_json(self.claims),
        }


def past_actions_of(state: StateDir, journal: Journal, database: DatabaseRoot) -> tuple[PastAction, ...]:
    """Return what was done on this very database, by device and inode, oldest first. Raises JournalError, OSError."""
    root = root_key(database.db)
    entries = [entry for entry in journal.entries() if entry.root == root]
    undone = {str(entry.intent.get("undoes")) for entry in entries if entry.result is Outcome.DONE}
    found = [_past_action(state, entry, undone) for entry in entries]
    if found and found[-1].outcome == Outcome.UNFINISHED and StationLock(state, database.db).holder() is not None:
        found[-1] = replace(found[-1], outcome=RUNNING)
    return tuple(found)


def rows_proven(past_actions: Sequence[PastAction], table: str) -> int | None:
    """Return the rows that the newest proof by the server found in `table`, None where there is none."""
    name = clean_line(table)
    for past in reversed(past_actions):
        for claim in past.claims:
            digits = claim.found.replace(",", "")
            if (claim.key, claim.table) == (ClaimKey.ROWS, name) and claim.proven and digits.isdigit():
                return int(digits)
    return None


def events_of(past_actions: Sequence[PastAction]) -> list[Event]:
    parts = []
    for past in past_actions:
        proof = proven_in_words(past.claims) if past.claims and past.stands else ""
        failure = past.message if past.outcome not in (Outcome.DONE, "undone") else ""
        detail = "; ".join(each for each in (failure, past.rows, past.captured, proof) if each)
        parts.append(
            Event(past.at, Kind.ACTION, f"{past.title}: {past.outcome}", detail, past.ended_at, outcome=past.outcome)
        )
    return parts


def _past_action(state: StateDir, entry: Entry, undone: set[str]) -> PastAction:
    outcome = entry.outcome or {}
    word = str(outcome.get("outcome", Outcome.UNFINISHED.value))
    undoes = clean_line(str(entry.intent.get("undoes") or ""))
    plan = None
    if not undoes:
        try:
            plan = read_entry_plan(state, entry.id)
        except WalmedicError:
            plan = None
    return PastAction(
        entry=clean_line(entry.id),
        at=entry.events[0].seconds,
        ended_at=entry.events[-1].seconds if outcome else None,
        action=clean_line(entry.action),
        table=None if entry.table is None else clean_line(entry.table),
        outcome="undone" if entry.id in undone else clean_line(word),
        message=clean_line(str(outcome.get("message", ""))),
        operator=clean_line(str(entry.intent.get("operator", ""))),
        host=clean_line(str(entry.intent.get("host", ""))),
        claims=claims_of(outcome.get("verification")),
        plan=plan,
        undoes=undoes,
        captured=_captured(state, entry.id) if entry.action == "capture-evidence" else "",
    )


def _captured(state: StateDir, entry: str) -> str:
    """Return what a capture's manifest says, empty where there is none: it tells of damage that is repaired since."""
    try:
        manifest = json.loads((state.evidence / entry / "manifest.json").read_bytes())
        failure = f"{plural(len(manifest['files']), 'file')}, {int(manifest['bytes']):,} bytes"
        sequencers: dict[str, Any] = manifest["sequencers"]
        for directory, found in sorted(sequencers.items()):
            if SEQUENCER not in found["sets"]:
                failure += (
                    f"; {clean_line(directory)} had no {SEQUENCER}, only {', '.join(map(clean_line, found['sets']))}"
                )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return failure

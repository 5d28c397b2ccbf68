"""What the write side speaks of: action specs, plans, refusals, outcomes. Frozen, JSON-able, no I/O."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from console.errors import WalmedicError
from console.records import LEFT_OUT
from console.recovery.codes import ClaimKey, RefusalCode
from console.table.ledger import Ledger
from console.table.ledger import RowsLost as RowsLost
from console.text import clean_line, plural


class Danger(enum.StrEnum):
    """What an action touches: `SAFE` no data, `SERVICE` running services, `DATA` a table's files or rows."""

    SAFE = "safe"
    SERVICE = "service"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One recovery action as palette, help, command line and docs show it."""

    id: str
    title: str
    danger: Danger
    needs_table: bool
    summary: str  # one sentence: what it does
    undo: str  # one sentence: the way back
    offline: bool = False  # the server must be down, and its lock is held while the action works
    needs_evidence: bool = False  # refused while no fresh evidence of the table is captured
    proves: bool = False  # its own stages start a server, and prove the result by it
    final: str = ""  # why there is no way back once it ended; one sentence
    opposite: str = ""  # the action that is the way back, where undoing needs checks of its own
    hides: bool = False  # the server does not see the table once it ended: only the way back works on it
    for_all: str = ""  # the action that does the same for all tables that need it, in one plan


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action is refused. `code`, `table` and `action` decide; `reason` and `instead` are only shown.

    `action` is the id of the action that comes first, None where a person must do it; `table` is the name of the table
    that the refusal is about, None where it is about the station.
    """

    code: RefusalCode
    reason: str
    instead: str
    action: str | None = None
    table: str | None = None

    def about(self, table: str | None) -> "Refusal":
        """Return the refusal with the table that it is about, where it names none yet."""
        return self if self.table is not None else replace(self, table=table)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that must hold, whether it does, and the evidence for it."""

    claim: str
    holds: bool
    evidence: str


class Lost(enum.StrEnum):
    """What of a value is lost."""

    VALUES = "values"  # they become NULL
    NAMES = "names"  # of symbols: they become placeholders; which rows have the same symbol stays known
    UPDATES = "updated values"  # they stay as they were before an UPDATE


@dataclass(frozen=True, slots=True)
class LostValues:
    """Values of one column that an action gives up, of one partition or, if it names none, of the table.

    Of UPDATES `column` is the statement. `count` are values, or names of symbols; None: not known.
    """

    kind: Lost
    column: str
    partition: str
    count: int | None

    @property
    def sentence(self) -> str:
        count = "an unknown number" if self.count is None else f"{self.count:,}"
        where = f"column {self.column}" + (f", partition {self.partition}" if self.partition else "")
        if self.kind is Lost.NAMES:
            return f"names lost: {count} ({where}); placeholders take their place"
        if self.kind is Lost.UPDATES:
            return f"values lost: {count}, if this was not applied: {self.column}"
        return f"values lost: {count} ({where}); they become NULL"


def values_lost_in_words(lost: Iterable[LostValues]) -> str:
    """Return e.g. `, 25,897 values lost`, empty if no value and no name of a symbol was lost."""
    listed = tuple(lost)
    words = ""
    for kind, name in ((Lost.VALUES, "value"), (Lost.NAMES, "symbol name"), (Lost.UPDATES, "updated value")):
        counts = [each.count for each in listed if each.kind is kind]
        known = [count for count in counts if count is not None]
        if counts:
            words += f", {plural(sum(known), name)} lost" if len(known) == len(counts) else f", {name}s lost"
    return words


@dataclass(frozen=True, slots=True)
class Change:
    """One exact change: a file's bytes before and after, a command, or an SQL statement."""

    kind: str  # `create`, `rename`, `overwrite`, `copy`, `command`, `sql`, `lock`
    target: str  # path relative to the db root, or the command or statement itself
    before: str = ""
    after: str = ""
    size: int | None = None  # bytes written


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a plan, carried out whole and journalled before it starts.

    `step` names the executor's step, `parameters` are all that it needs: JSON values only, so that a stage can be
    resumed from the journal after the process was killed. Large inputs are attachments of the plan, named by a
    parameter.
    """

    id: str
    title: str
    step: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """Something the plan rests on: when `digest` differs at confirmation the phrase is void."""

    name: str  # e.g. a path relative to the db root
    digest: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done. Immutable; `plan_id` is a digest of action, target, stages and facts."""

    plan_id: str
    action: str
    table: str | None  # the table's name
    station: str
    confirmation: str
    why: str  # why this action and how sure it is, one short paragraph
    rows_lost: RowsLost
    rows_back: int  # rows that become visible again
    rows_maybe_twice: int
    refused: tuple[Refusal, ...]
    requirements: tuple[Requirement, ...]
    stages: tuple[Stage, ...]
    facts: tuple[Fact, ...]
    undo: str
    rehearsed: bool
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    directory: str | None = None  # the table's directory, relative to the db root
    disk_needed: int = 0  # bytes that the action writes, in the db root or the state directory
    ledger: Ledger = ()  # what becomes of each segment transaction, where the action decides that
    values_lost: tuple[LostValues, ...] = ()  # of rows that stay
    questdb: str | None = None  # the QuestDB that ran here last, None where no file tells
    duplicates_known: bool = True  # whether `rows_maybe_twice` is all of them
    attachments: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False, metadata=LEFT_OUT)

    @property
    def needed(self) -> bool:
        return bool(self.stages)


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an action is open now, as the palette shows it: if not, why not and what first.

    `table` is what it is planned on, None: the station.
    """

    spec: ActionSpec
    table: str | None
    refusals: tuple[Refusal, ...]
    recommended: bool = False

    @property
    def open(self) -> bool:
        return not self.refusals


@dataclass(frozen=True, slots=True)
class FirstStep:
    """The one step to take now, on `table` or on the station, and why it comes first (empty: it is what is needed)."""

    action: str
    table: str | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One line of a proof: what was expected and what was found. `key` and `table` decide, the texts are only shown.

    A note (`noted`) tells what was found where nothing could be expected. It does not fail, and it proves nothing.
    """

    key: ClaimKey
    claim: str
    expected: str
    found: str
    ok: bool
    table: str | None = None
    noted: bool = False

    @classmethod
    def note(cls, key: ClaimKey, claim: str, found: str, *, table: str | None = None) -> "Claim":
        return cls(key, claim, "", found, ok=True, table=table, noted=True)

    @classmethod
    def same(cls, key: ClaimKey, claim: str, expected: int, found: int, table: str | None = None) -> "Claim":
        return cls(key, claim, f"{expected:,}", f"{found:,}", expected == found, table)

    @classmethod
    def at_least(cls, key: ClaimKey, claim: str, expected: int, found: int, table: str | None = None) -> "Claim":
        return cls(key, claim, f"≥ {expected:,}", f"{found:,}", found >= expected, table)

    @property
    def proven(self) -> bool:
        """Return whether it was compared, and holds."""
        return self.ok and not self.noted

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> "Claim":
        """Return the claim of a journal, also of one that has no keys. What is missing is empty, and not ok."""
        claim, expected, found = (clean_line(str(document.get(name, ""))) for name in ("claim", "expected", "found"))
        table = None if document.get("table") is None else clean_line(str(document["table"]))
        key = _KEYS.get(str(document.get("key")), ClaimKey.UNKNOWN)
        if "key" not in document and claim.endswith(_ROWS_WITHOUT_KEY):  # the one sentence that was ever asked for
            key, table = ClaimKey.ROWS, claim.removesuffix(_ROWS_WITHOUT_KEY)
        return cls(key, claim, expected, found, document.get("ok") is True, table, document.get("noted") is True)


_KEYS: Final = {key.value: key for key in ClaimKey}
_ROWS_WITHOUT_KEY: Final = ": rows"


class Outcome(enum.StrEnum):
    """How a run ended."""

    NOT_NEEDED = "not-needed"
    DONE = "done"
    FAILED = "failed"
    ROLLED_BACK = "rolled-back"
    REFUSED = "refused"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Progress:
    """What the executor tells while it works: a stage begins, moves on, ends. Sizes in bytes where known.

    `at` is when it was reported, in epoch seconds, where that was written down.
    """

    entry: str
    stage: str
    title: str
    state: str  # a StageState
    message: str = ""
    done: int | None = None
    total: int | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """The end of a run, as `run --json` shows it after the plan."""

    entry: str
    outcome: Outcome
    message: str
    verification: tuple[Claim, ...] = ()
    next_step: str = ""


def sentence(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, WalmedicError):
        where = clean_line(str(error.filename or "a file"))
        return f"{where}: {(error.strerror or str(error)).lower()}"
    return clean_line(str(error))


def claims_of(document: Any) -> tuple[Claim, ...]:
    """Return the claims in a list of JSON documents; what is no such document is left out."""
    documents = document if isinstance(document, list | tuple) else ()
    return tuple(Claim.of_json(each) for each in documents if isinstance(each, Mapping))


def proven_in_words(claims: Sequence[Claim]) -> str:
    """Return e.g. `12 checks passed, 2 notes`: notes prove nothing and are not counted."""
    notes = sum(claim.noted for claim in claims)
    document = f"{plural(sum(claim.proven for claim in claims), 'check')} passed"
    return f"{document}, {plural(notes, 'note')}" if notes else document


def failed_in_words(claims: Sequence[Claim]) -> str:
    """Return the first claim that does not hold as a sentence, empty where all hold."""
    failed = next((claim for claim in claims if not claim.ok), None)
    return "" if failed is None else f"{failed.claim} (expected {failed.expected}, found {failed.found})"

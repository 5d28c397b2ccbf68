"""Making plans: their identity, their confirmation phrase, their JSON, there and back."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from console import records
from console.digests import digest_of
from console.questdb.layout import TableDirectory
from console.recovery.model import (
    ActionSpec,
    Change,
    Danger,
    Fact,
    Lost,
    LostValues,
    Plan,
    Refusal,
    Requirement,
    RowsLost,
    Stage,
)
from console.table.ledger import Ledger
from console.text import clean, clean_line


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan is about: a table, or the station as a whole (`table` None). `directory` is relative to `db`."""

    station: str
    table: str | None = None
    directory: str | None = None

    @classmethod
    def of(cls, station: str, table: TableDirectory | None) -> "Target":
        return cls(station) if table is None else cls(station, table.name, table.directory)


def mark_of(facts: Sequence[Fact]) -> str:
    """Return eight hex digits that name the new files of a plan: `<name>.walmedic-<mark>.new` and `….old`.

    The same facts give the same mark, so that a plan made again names the same files.
    """
    return digest_of([[fact.name, fact.digest] for fact in facts])[:8]


def confirmation(
    spec: ActionSpec, station: str, table: str | None, rows_lost: RowsLost, values_lost: Sequence[LostValues] = ()
) -> str:
    """Return the phrase to type (contract), e.g. `trades lose 7`, or `trades lose 0 rows and 130 values`."""
    target = clean_line(table if table is not None else station)
    if spec.danger is not Danger.DATA:
        return f"{spec.id} {target}"
    rows = f"{target} lose {rows_lost.phrase}"
    values = [f"{count} {kind}" for kind in Lost if (count := _counted(values_lost, kind))]
    return f"{rows} rows and {' and '.join(values)}" if values else rows


def _counted(values_lost: Sequence[LostValues], kind: Lost) -> str:
    counts = [lost.count for lost in values_lost if lost.kind is kind]
    known = [count for count in counts if count is not None]
    return "" if not any(counts) and known == counts else str(sum(known)) if known == counts else "unknown"


def make_plan(
    spec: ActionSpec,
    target: Target,
    *,
    why: str,
    stages: Sequence[Stage] = (),
    facts: Sequence[Fact] = (),
    rows_lost: RowsLost = RowsLost("exact", 0),  # noqa: B008 - frozen
    rows_back: int = 0,
    rows_maybe_twice: int = 0,
    duplicates_known: bool = True,
    refused: Sequence[Refusal] = (),
    requirements: Sequence[Requirement] = (),
    left_out: Sequence[str] = (),
    warnings: Sequence[str] = (),
    disk_needed: int = 0,
    ledger: Ledger = (),
    values_lost: Sequence[LostValues] = (),
    attachments: Mapping[str, bytes] | None = None,
) -> Plan:
    """Return a plan with its id and confirmation phrase. The id covers what is done and all that it rests on.

    Names of files and tables get into its sentences: what is shown is cleaned here, what is done (a stage's parameters,
    the directory) stays as it is.
    """
    station, table = target.station, target.table
    attached = dict(attachments or {})
    stages = tuple(_shown(stage) for stage in stages)
    plan_id = digest_of(
        spec.id,
        station,
        table,
        [records.to_json(stage) for stage in stages],
        [[fact.name, fact.digest] for fact in facts],
        [
            rows_lost.kind,
            rows_lost.value,
            rows_maybe_twice,
            *([records.to_json(tuple(values_lost))] if values_lost else []),
        ],
        {name: hashlib.sha256(content).hexdigest() for name, content in attached.items()},
    )[:16]
    return Plan(
        plan_id=plan_id,
        action=spec.id,
        table=table,
        station=station,
        confirmation=confirmation(spec, station, table, rows_lost, values_lost),
        why=clean(why),
        rows_lost=rows_lost,
        rows_back=rows_back,
        rows_maybe_twice=rows_maybe_twice,
        duplicates_known=duplicates_known,
        refused=tuple(refusal.about(table) for refusal in refused),
        requirements=tuple(requirements),
        stages=stages,
        facts=tuple(facts),
        undo=spec.undo,
        rehearsed=False,
        left_out=tuple(clean(each) for each in left_out),
        warnings=tuple(clean(each) for each in (*(lost.sentence for lost in values_lost), *warnings)),
        directory=target.directory,
        disk_needed=disk_needed,
        ledger=tuple(replace(entry, why=clean(entry.why)) for entry in ledger),
        values_lost=tuple(values_lost),
        attachments=attached,
    )


def refused_plan(spec: ActionSpec, target: Target, *refusals: Refusal, facts: Sequence[Fact] = ()) -> Plan:
    return make_plan(spec, target, why=refusals[0].reason, facts=facts, refused=refusals)


def _shown(stage: Stage) -> Stage:
    changes = (
        Change(each.kind, clean(each.target), clean(each.before), clean(each.after), each.size)
        for each in stage.changes
    )
    return Stage(stage.id, clean(stage.title), stage.step, stage.parameters, tuple(changes))


def to_json(plan: Plan) -> dict[str, Any]:
    """Return the document of `plan --json` (contract), and enough beside it to make the plan again."""
    return {"schema": 1, **records.to_json(plan)}


def from_json(document: Mapping[str, Any]) -> Plan:
    """Return the plan of a journal entry. Attachments stay in the entry's folder. Raises RecordError."""
    return records.of_json(Plan, document)


def with_refusals(plan: Plan, refusals: tuple[Refusal, ...]) -> Plan:
    known = {(r.code, r.reason) for r in plan.refused}
    return replace(plan, refused=(*plan.refused, *(r for r in refusals if (r.code, r.reason) not in known)))

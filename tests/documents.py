"""JSON Schemas of the documents that `--json` writes: from the dataclasses that they are made of, by `records.to_json`.

A schema lets through fields that it does not name: fields are added, never renamed. `strict` makes it refuse them.
"""

from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import jsonschema

from console.diagnosis.crashes.groups import CrashGroup
from console.diagnosis.inspection.model import Field, FileDescription
from console.diagnosis.model import DatabaseReport, Finding
from console.probes.checks import Check
from console.probes.contents import SecondOpinion
from console.probes.headline import Alarm
from console.records import named_fields
from console.recovery.guard.state import GuardState
from console.recovery.model import Claim, LostValues, Outcome, Plan, RowsLost
from console.recovery.next_steps.station_plan import StationStep
from console.recovery.rehearsal.model import CloneFacts, RehearsalOutcome
from console.reporting.accounts import TableAccount
from console.reporting.events import Event

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer"}
_NUMBER: Schema = {"type": "number"}
_FLAG: Schema = {"type": "boolean"}
_ANY: Schema = {}
_PLAIN = {str: _TEXT, int: _WHOLE, float: _NUMBER, bool: _FLAG, Path: _TEXT, NoneType: {"type": "null"}, Any: _ANY}


class _Definitions:
    """The dataclasses that one document is made of, each defined once."""

    def __init__(self) -> None:
        self.made: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        """Return the schema of a type."""
        origin, inner = get_origin(kind), get_args(kind)
        if kind in _PLAIN:
            return _PLAIN[kind]
        if origin in (Union, UnionType):
            return {"anyOf": [self.of(each) for each in inner]}
        if origin in (tuple, frozenset):
            fixed = origin is tuple and inner[-1] is not Ellipsis
            return _array([self.of(each) for each in inner]) if fixed else list_of(self.of(inner[0]))
        if origin is not None:
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        if issubclass(kind, Enum):
            return {"enum": [each.value for each in kind]}
        assert is_dataclass(kind), kind
        return self._of_record(cast(type, kind))

    def _of_record(self, kind: type) -> Schema:
        if kind.__name__ not in self.made:
            self.made[kind.__name__] = {}  # what it is made of may hold it again
            hints = get_type_hints(kind)
            fields = {name: self.of(hints[each.name]) for name, each in named_fields(kind).items()}
            self.made[kind.__name__] = record(fields)
        return {"$ref": f"#/$defs/{kind.__name__}"}


def _array(items: list[Schema]) -> Schema:
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def list_of(items: Schema) -> Schema:
    """Return the schema of a list of any length."""
    return {"type": "array", "items": items}


def record(fields: Mapping[str, Schema], *optional: str) -> Schema:
    """Return the schema of an object with these fields, all there but the `optional` ones."""
    return {"type": "object", "properties": dict(fields), "required": sorted(set(fields) - set(optional))}


def or_null(schema: Schema) -> Schema:
    """Return the schema of a value that may be null: not known, or none."""
    return {"anyOf": [schema, {"type": "null"}]}


def strict(schema: Any) -> Any:
    """Return the schema, where objects with named fields have no other."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    return {**closed, "additionalProperties": False} if "properties" in schema else closed


def validated(name: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return the document. Raises ValidationError if the schema of the command `name` does not say all of it."""
    jsonschema.validate(document, strict(schemas()[name]), jsonschema.Draft202012Validator)
    return document


_ERROR = record({"code": _TEXT, "message": _TEXT})


def schemas() -> dict[str, Schema]:
    """Return the schema of each document, by the name of the command that writes it."""
    return {name: _document(name, made) for name, made in _MADE.items()}


def _document(name: str, made: Any) -> Schema:
    kinds = _Definitions()
    fields, optional = made(kinds)
    whole = record({"schema": {"const": 1}, **fields}, *optional)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
    return {**head, **whole, **({"$defs": dict(sorted(kinds.made.items()))} if kinds.made else {})}


def _of(kinds: _Definitions, kind: type) -> Schema:
    """Return the fields of a dataclass that is a document itself."""
    kinds.of(kind)
    fields: Schema = kinds.made.pop(kind.__name__)["properties"]
    return fields


def _check(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    opinion = {**_of(kinds, SecondOpinion), "contradictions": list_of(_TEXT)}
    fields = {**_of(kinds, DatabaseReport), "second_opinion": or_null(record(opinion)), "healthy_not_listed": _WHOLE}
    return fields, ("healthy_not_listed",)


def _plan(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    return _of(kinds, Plan), ()


def _run(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    result = {
        "entry": or_null(_TEXT),
        "outcome": kinds.of(Outcome),
        "message": _TEXT,
        "verification": list_of(kinds.of(Claim)),
        "next_step": _TEXT,
    }
    return {**_of(kinds, Plan), **result}, ()


def _station(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    total = record({"rows_lost": kinds.of(RowsLost), "values_lost": list_of(kinds.of(LostValues))})
    return {"steps": list_of(kinds.of(StationStep)), "total": total}, ()


def _rehearse(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    plan = record({"schema": {"const": 1}, **_of(kinds, Plan)})
    return {
        "rehearsal": _TEXT, "plan": plan, "outcome": kinds.of(RehearsalOutcome), "message": _TEXT,
        "verification": list_of(kinds.of(Claim)), "seconds": _NUMBER, "clone": or_null(kinds.of(CloneFacts)),
        "left_out": list_of(_TEXT),
    }, ()  # fmt: skip


def _journal(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    event = record({"kind": _TEXT, "at": _TEXT, "data": {"type": "object"}})
    entry = record(
        {
            **dict.fromkeys(("entry", "at", "action", "message"), _TEXT),
            **dict.fromkeys(
                ("table", "undoes", "db", "operator", "terminal", "host", "plan", "confirmation"), or_null(_TEXT)
            ),
            "outcome": kinds.of(Outcome),
            "events": list_of(event),
        }
    )
    broken = record({"line": _WHOLE, "entry": _TEXT, "what": _TEXT})
    chain = {"enum": ["whole", "broken"]}
    return {"journal": _TEXT, "entries": list_of(entry), "chain": chain, "broken": list_of(broken)}, ()


def _crash_group(kinds: _Definitions) -> Schema:
    return record({**_of(kinds, CrashGroup), "file": or_null(_TEXT), "accused": or_null(_TEXT)})


def _crashes(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    return {"total": _WHOLE, "crashes": list_of(_crash_group(kinds)), "findings": list_of(kinds.of(Finding))}, ()


def _inspect(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    fields = {"title": _TEXT, "offset": _WHOLE, "size": _WHOLE, "seq_txn": or_null(_WHOLE)}
    view = {**fields, "fields": list_of(kinds.of(Field))}
    asked = record({**view, "asked_offset": or_null(_WHOLE), "field": or_null(kinds.of(Field))})
    return {**_of(kinds, FileDescription), "records": list_of(record(view)), "asked": asked}, ("asked",)


def _report(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    action = record(
        {
            **dict.fromkeys(("entry", "action", "outcome", "message", "operator"), _TEXT),
            **dict.fromkeys(("table", "undoes"), or_null(_TEXT)),
            **dict.fromkeys(("at", "ended_at"), or_null(_NUMBER)),
            "rows_lost": or_null(kinds.of(RowsLost)),
            **dict.fromkeys(("rows_back", "rows_maybe_twice"), or_null(_WHOLE)),
            "verification": list_of(kinds.of(Claim)),
        }
    )
    return {
        "station": _TEXT, "db_root": _TEXT, "questdb_version": or_null(_TEXT), "questdb_versions_seen": list_of(_TEXT),
        "made_at": _NUMBER, "over": _FLAG, "events": list_of(kinds.of(Event)),
        "crashes": list_of(_crash_group(kinds)), "actions": list_of(action), "tables": list_of(kinds.of(TableAccount)),
        **dict.fromkeys(("left_to_do", "advice", "missing"), list_of(_TEXT)),
    }, ()  # fmt: skip


def _bundle(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    counts = {"type": "object", "additionalProperties": _WHOLE}
    part = {"name": _TEXT, "size": _WHOLE, "sha256": _TEXT, "source": _TEXT, "removed": counts, "cut": _FLAG}
    return {
        "made_at": _TEXT, "walmedic": _TEXT, "files": list_of(record(part)), "removed": counts,
        "missing": list_of(record({"what": _TEXT, "why": _TEXT})),
        "take_it_to": list_of(record({"name": _TEXT, "address": _TEXT, "what": _TEXT})),
        "bundle": or_null(_TEXT), "size": or_null(_WHOLE), "sha256": or_null(_TEXT),
    }, ()  # fmt: skip


def _doctor(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    setting = record({"key": _TEXT, "value": _TEXT, "source": _TEXT})
    return {"settings": list_of(setting), "checks": list_of(kinds.of(Check))}, ()


def _init(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    sources = {"type": "object", "additionalProperties": _TEXT}
    return {"file": or_null(_TEXT), "content": _TEXT, "sources": sources, "doubts": list_of(_TEXT)}, ()


def _error(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    return {"error": _ERROR}, ()


def _guard(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    return {"guard": kinds.of(GuardState)}, ()


def _watch(kinds: _Definitions) -> tuple[Schema, tuple[str, ...]]:
    counts = ("tables", "tables_unreadable", "tables_unwritable", "rows_at_risk")
    alarm = kinds.of(Alarm)
    return {
        "station": _TEXT, "alarm": alarm, "before": or_null(alarm), "losing": _FLAG, "server_up": or_null(_FLAG),
        **dict.fromkeys(counts, or_null(_WHOLE)), "services_down": list_of(_TEXT),
    }, ()  # fmt: skip


_MADE = {
    "bundle": _bundle,
    "check": _check,
    "crashes": _crashes,
    "doctor": _doctor,
    "error": _error,
    "guard": _guard,
    "init": _init,
    "inspect": _inspect,
    "journal": _journal,
    "plan": _plan,
    "plan-station": _station,
    "rehearse": _rehearse,
    "report": _report,
    "run": _run,
    "watch": _watch,
}

"""Records as JSON values and back: a frozen dataclass is an object of its fields, by name and type.

Plans, claims, the journal and every `--json` document are made by it. A field says by its metadata what else it is
called, or that it is left out: `field(metadata=renamed("questdb_version"))`, `field(metadata=LEFT_OUT)`.
"""

import functools
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

_NAME: Final = "record name"
LEFT_OUT: Final = {_NAME: None}


class RecordError(ValueError):
    """A JSON value that is not the record asked for; the message names the field."""


def renamed(name: str) -> dict[str, str]:
    return {_NAME: name}


def to_json(value: Any) -> Any:
    """Return `value` as JSON values. Keys that are numbers become text, paths too; sets become lists in order."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {name: to_json(getattr(value, each.name)) for name, each in named_fields(type(value)).items()}
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(each) for each in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def of_json(kind: type[T], document: Any) -> T:
    """Return the `kind` that `to_json` made. Fields it does not know are passed over. Raises RecordError."""
    return cast(T, _value(kind, document, getattr(kind, "__name__", str(kind))))


@functools.cache
def named_fields(kind: type) -> dict[str, Field[Any]]:
    named = {each.metadata.get(_NAME, each.name): each for each in fields(kind)}
    return {name: each for name, each in named.items() if name is not None}


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(kind: Any, document: Any, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return document
    if origin in (Union, UnionType):
        return _optional(inner, document, where)
    if origin is tuple:
        return _tuple(inner, document, where)
    if origin is not None:
        return _mapping(inner, _of(Mapping, document, where), where)
    if is_dataclass(kind):
        return _record(cast(type, kind), _of(Mapping, document, where), where)
    if issubclass(kind, Enum):
        return _enum(kind, document, where)
    if kind is Path:
        return Path(_of(str, document, where))
    if kind is float and type(document) is int:
        return float(document)
    if type(document) is not kind:
        raise RecordError(f"{where}: {kind.__name__} expected, not {document!r:.80}")
    return document


def _optional(inner: tuple[Any, ...], document: Any, where: str) -> Any:
    if document is None and NoneType in inner:
        return None
    return _value(next(each for each in inner if each is not NoneType), document, where)


def _tuple(inner: tuple[Any, ...], document: Any, where: str) -> tuple[Any, ...]:
    values = _of(list | tuple, document, where)
    kinds = (inner[0],) * len(values) if inner[-1] is Ellipsis else inner
    if len(kinds) != len(values):
        raise RecordError(f"{where}: {len(kinds)} values expected, not {len(values)}")
    return tuple(_value(each, value, where) for each, value in zip(kinds, values, strict=True))


def _mapping(inner: tuple[Any, ...], document: Mapping[str, Any], where: str) -> dict[Any, Any]:
    key, value = inner
    return {_key(key, each, where): _value(value, found, f"{where}.{each}") for each, found in document.items()}


def _key(kind: Any, document: str, where: str) -> Any:
    try:
        return kind(document)
    except ValueError:
        raise RecordError(f"{where}: {kind.__name__} expected, not {document!r:.80}") from None


def _record(kind: type, document: Mapping[str, Any], where: str) -> Any:
    given: dict[str, Any] = {}
    for name, each in named_fields(kind).items():
        if name in document:
            given[each.name] = _value(_types(kind)[each.name], document[name], f"{where}.{name}")
        elif each.default is MISSING and each.default_factory is MISSING:
            raise RecordError(f"{where}: {name} is missing")
    return kind(**given)


def _enum(kind: type[Enum], document: Any, where: str) -> Enum:
    try:
        return kind(document)
    except ValueError:
        raise RecordError(f"{where}: {document!r:.80} is no {kind.__name__}") from None


def _of(kind: Any, document: Any, where: str) -> Any:
    if not isinstance(document, kind):
        raise RecordError(f"{where}: {document!r:.80} is no record")
    return document

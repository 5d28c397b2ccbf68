"""Records as JSON and back; what is no record gets one sentence that names the field."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from console.records import LEFT_OUT, RecordError, of_json, renamed, to_json


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Inner:
    pair: tuple[int, str]
    colour: Colour
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    inner: tuple[Inner, ...]
    maybe: Inner | None
    numbers: Mapping[int, str]
    anything: Mapping[str, Any]
    other: int = field(default=1, metadata=renamed("called"))
    secret: bytes = field(default=b"", metadata=LEFT_OUT)


RECORD = Outer("n", (Inner((1, "a"), Colour.RED),), None, {7: "seven"}, {"x": [1, None]}, 2, b"never")


def test_what_was_made_is_read_again() -> None:
    said = json.loads(json.dumps(to_json(RECORD)))
    assert said == {
        "name": "n",
        "inner": [{"pair": [1, "a"], "colour": "red", "share": 0.5}],
        "maybe": None,
        "numbers": {"7": "seven"},
        "anything": {"x": [1, None]},
        "called": 2,
    }
    again = of_json(Outer, said)
    assert again == Outer(RECORD.name, RECORD.inner, None, RECORD.numbers, RECORD.anything, 2)


def test_what_has_a_default_may_be_missing_and_what_is_unknown_is_passed_over() -> None:
    said = to_json(RECORD) | {"of a later version": True}
    del said["called"]
    assert of_json(Outer, said).other == 1


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": 1}, r"Outer\.name: str expected, not 1"),
        ({"inner": {}}, r"Outer\.inner: \{\} is no record"),
        ({"inner": [{"pair": [1], "colour": "red"}]}, r"Outer\.inner\.pair: 2 values expected, not 1"),
        ({"inner": [{"pair": [True, "a"], "colour": "red"}]}, r"Outer\.inner\.pair: int expected, not True"),
        ({"inner": [{"pair": [1, "a"], "colour": "blue"}]}, r"Outer\.inner\.colour: 'blue' is no Colour"),
        ({"maybe": "no"}, r"Outer\.maybe: 'no' is no record"),
        ({"maybe": {}}, r"Outer\.maybe: pair is missing"),
        ({"numbers": {"x": "seven"}}, r"Outer\.numbers: int expected, not 'x'"),
    ],
)
def test_what_is_no_record_gets_one_sentence(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(RecordError, match=f"^{why}$"):
        of_json(Outer, to_json(RECORD) | wrong)

"""Foreign text: whatever it is made of, no control reaches the terminal."""

import random
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from console.text import clean, clean_line, plural

ATTACKS = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]52;c;c2VjcmV0\x1b\\",
    "\x9b2Jcleared",
    "\x1bPdevice control\x1b\\",
    "\x1b_application\x1b\\",
    "a\rb",
    "back\x08\x08space",
    "market\u202etxt.exe",
    "zero\u200bwidth",
    "\u2066isolate\u2069",
    "line\u2028separator\u2029",
    "\udc80\udcff",
    "\x1b\x1b[[31m",
    "\x1b[\x1b[31m31m",
    "[bold]markup[/bold]",
)
FOREIGN = st.lists(
    st.one_of(st.text(st.characters(), max_size=20), st.sampled_from(ATTACKS), st.sampled_from("\x1b\x9b[]0;mPX^_\\")),
    max_size=12,
).map("".join)
BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def harmless(text: str, *, allowed: str = "\n\t") -> bool:
    return not any(
        (unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char not in allowed) or char in BIDI
        for char in text
    )


@settings(max_examples=2_000)
@given(FOREIGN)
@example("\x1b" * 50)
def test_no_control_survives(text: str) -> None:
    assert harmless(clean(text))
    assert clean(clean(text)) == clean(text)


def test_a_hundred_thousand_hostile_strings() -> None:
    """Cut and glued anew, so that the removal of one sequence may make another: still nothing gets through."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    pieces = [*ATTACKS, *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "ab", "[", "]", "m", ";", "0"]
    for _ in range(100_000):
        text = "".join(chance.choices(pieces, k=chance.randrange(1, 8)))
        cut = chance.randrange(len(text) + 1)
        cleaned = clean(text[cut:] + text[:cut])
        assert not any((ch < " " and ch not in "\n\t") or "\x7f" <= ch <= "\x9f" for ch in cleaned), (
            f"seed {seed}: {text!r}"
        )


@settings(max_examples=500)
@given(FOREIGN, st.integers(1, 60))
def test_one_line_of_at_most_so_many_characters(text: str, limit: int) -> None:
    line = clean_line(text, limit)
    assert len(line) <= limit
    assert harmless(line, allowed="")
    assert line == line.strip()


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=40))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_what_names_may_hold_stays() -> None:
    assert clean("рынок 市場 naïve 😀 a\tb\n") == "рынок 市場 naïve 😀 a\tb\n"
    assert clean("\x1b[1;31mred\x1b[0m text") == "red text"
    assert clean_line("a\n  b\tc") == "a b c"
    assert clean_line("x" * 20, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 rows"), (1, "1 row"), (6_359, "6,359 rows")], ids=["none", "one", "many"]
)
def test_plural(count: int, said: str) -> None:
    assert plural(count, "row") == said
    assert plural(2, "entry", "entries") == "2 entries"

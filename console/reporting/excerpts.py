"""Texts cut to what an expert reads: crash logs without dumped memory, server logs without rows."""

import re
from collections import Counter
from typing import Final

from console.text import plural

MOST: Final = 384 << 10
"""Characters of one excerpt."""

# HotSpot prints raw memory and the contents of Java strings: nobody can say what is in there.
_DUMPED = re.compile(
    r"^(Top of Stack:.*?(?=^Instructions:|^Stack slot|^-{5,}|\Z)|Stack slot to memory mapping:.*?(?=^-{5,}|\Z))",
    re.M | re.S,
)
_VECTORS = re.compile(r"^([XYZ]MM\[\d+\]=)[^\n]*", re.M)
_STRINGS = re.compile(r'("java/lang/String"|\'java/lang/String\'|java\.lang\.String)([^\n]*)')
_QUOTED = re.compile(r'"[^"\n]*"')
_ENVIRONMENT = re.compile(r"^Environment Variables:\n(?:[^\n]+\n)*", re.M)
_KEPT_VARIABLES = re.compile(r"^(?:JAVA_HOME|JRE_HOME|LANG|LC_\w+|TZ|LD_LIBRARY_PATH)=", re.M)

# What 9.1.0 logs of lines and statements (LineHttpProcessorState, LineTcpConnectionContext, LineProtocolException,
# QueryProgress): rows, and literals of SQL. A row may hold the mark that ends it, so the last one in the line counts.
_ROWS = re.compile(r"(mangledLine=)(?:`[^\n]*`|`[^\n]*)")
_MANGLED = re.compile(r"(line \(may be mangled[^:\n]*\): |; line protocol value: |cast error \[value=)[^\n]*")
_SQL = re.compile(r"(\b(?:sql|q|query)=)([^\n]*)")
_LITERAL = re.compile(r"'(?:[^'\n]|'')*'?")
_VALUES = re.compile(r"\b(values\s*)\([^\n]*|\b(set\s+)(?=\w+\s*=)[^\n]*", re.I)

_NUMBERS = re.compile(r"\b0x[0-9a-fA-F]+\b|\b[0-9a-f]{8,}\b|\d+")
_REPEATS: Final = 20


def crash_log(text: str) -> str:
    """Return an hs_err log without dumps of the stack, vector registers, strings, and foreign variables."""
    text = _DUMPED.sub(lambda found: f"{found[1].partition(':')[0]}: (removed: memory)\n\n", text)
    text = _VECTORS.sub(r"\1(removed)", text)
    text = _STRINGS.sub(lambda found: found[1] + _QUOTED.sub('"…"', found[2]), text)
    return _ENVIRONMENT.sub(_variables, text)


def server_log(text: str) -> str:
    """Return lines of a log without the rows and the literals that stand in them."""
    text = _ROWS.sub(r"\1`…`", text)
    text = _MANGLED.sub(r"\1…", text)
    return _SQL.sub(lambda found: found[1] + _statement(found[2]), text)


def thinned(text: str) -> str:
    """Return a log in which a line that comes again and again is there a few times at first and a few at the end.

    Lines are alike when only numbers differ. So an hour of refused writes does not push the crash out of the excerpt.
    """
    lines = text.splitlines()
    alike = [_NUMBERS.sub("#", line) for line in lines]
    total, seen, skipped = Counter(alike), Counter[str](), 0
    kept: list[str] = []
    for line, key in zip(lines, alike, strict=True):
        seen[key] += 1
        if _REPEATS < seen[key] <= total[key] - _REPEATS:
            skipped += 1
            continue
        if skipped:
            kept.append(f"… {plural(skipped, 'repeated line')} not shown")
            skipped = 0
        kept.append(line)
    return "\n".join(kept) + "\n"


def _statement(sql: str) -> str:
    """Return a statement, and what follows it in the line, without literals, inserted values and assignments."""
    return _VALUES.sub(lambda found: f"{found[1] or found[2]}(…)", _LITERAL.sub("'…'", sql))


def _variables(found: re.Match[str]) -> str:
    kept = [line for line in found[0].splitlines()[1:] if _KEPT_VARIABLES.match(line)]
    return "\n".join(["Environment Variables: (those that say how Java runs)", *kept]) + "\n"


def beginning(text: str, most: int = MOST) -> tuple[str, bool]:
    """Return at most `most` characters from the beginning, in whole lines, and whether some are left out."""
    if len(text) <= most:
        return text, False
    return text[: text.rfind("\n", 0, most) + 1] + "… the rest is not shown\n", True


def end(text: str, most: int = MOST) -> tuple[str, bool]:
    """Return at most `most` characters from the end, in whole lines, and whether some are left out."""
    if len(text) <= most:
        return text, False
    start = text.find("\n", len(text) - most) + 1
    return "… earlier lines are not shown\n" + text[start:], True

"""Foreign text made harmless before it reaches a terminal, a log or a report.

Names and messages from disk, logs, Redis and the server may carry escape sequences (CWE-150), bidirectional controls or
line separators. Everything that walmedic shows goes through `clean` once, at the border where the text is read.
"""

import datetime
import re

# C0 but newline and tab, DEL, C1, bidi embeddings/overrides/isolates and marks, line/paragraph separators, BOM,
# lone surrogates (undecodable bytes of file names).
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
# A whole escape sequence goes, not only its ESC: what would be left of it is noise.
_SEQUENCE = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[@-Z\\\\-_]")


def clean(text: str) -> str:
    """Return `text` without control characters and escape sequences; newlines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub("", _SEQUENCE.sub("", text))


def clean_line(text: str, limit: int = 500) -> str:
    """Return `text` as one harmless line of at most `limit` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def plural(count: int, noun: str, many: str = "") -> str:
    """Return e.g. `1 row`, `6,359 rows`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def moment(at: float) -> str:
    """Return date and time in UTC of epoch seconds, e.g. `2025-11-09 21:26:11Z`."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")

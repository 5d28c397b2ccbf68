"""Finding bytes in the open file: what the operator typed, and the search in a thread, which can be stopped."""

import re
import threading
from dataclasses import dataclass, field
from pathlib import Path

from console.errors import WalmedicError
from console.questdb.byte_search import find_bytes
from console.questdb.reading import DbFile
from console.text import clean_line
from screens.browser_file import canonical

_HEX = re.compile(r"(?:0x)?((?:[0-9a-f]{2}[\s:]*)+)", re.IGNORECASE)
_QUOTED = re.compile(r'(?P<wide>u)?"(?P<text>.*)"?', re.DOTALL)
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Search:
    """Bytes that are looked for in a file; `stop` ends the search. `typed` is what the operator typed."""

    path: Path
    wanted: bytes
    typed: str
    stop: threading.Event = field(default_factory=threading.Event)

    def after(self, offset: int) -> tuple["Search", int]:
        """Return this search with the next place behind `offset`, from the start again behind the last one.

        Raises WalmedicError if there is none, or the search was stopped. Blocks.
        """
        with DbFile(canonical(self.path)) as file:
            for first, end in ((offset + 1, file.size), (0, offset + 1)):
                found = find_bytes(file, self.wanted, first, end, self.stop.is_set)
                if found is not None:
                    return self, found
        if self.stop.is_set():
            raise WalmedicError("the search was stopped")
        raise WalmedicError(f"the file does not hold {clean_line(self.typed)}")


def bytes_asked_for(text: str) -> bytes:
    """Return the bytes that `text` names: hexadecimal digits in pairs, or a text in quotes (u: as UTF-16).

    Raises WalmedicError for anything else.
    """
    text = text.strip()
    digits, quoted = _HEX.fullmatch(text), _QUOTED.fullmatch(text)
    found = b""
    if digits is not None:
        found = bytes.fromhex(re.sub(r"[\s:]", "", digits[1]))
    elif quoted is not None:
        content = quoted["text"].removesuffix('"')
        found = content.encode("utf-16-le" if quoted["wide"] else "utf-8", "surrogatepass")
    if not found:
        raise WalmedicError(f'{clean_line(text) or "nothing"} is neither bytes (fa 00 1c) nor a text ("abc", u"abc")')
    if len(found) > _LONGEST:
        raise WalmedicError(f"at most {_LONGEST:,} bytes can be looked for")
    return found

"""Bitmap index of a symbol column, and of a symbol dictionary: `<column>.k` and `.v` (BitmapIndexUtils of QuestDB).

formats/table.py has the fields.
"""

from dataclasses import dataclass
from typing import Final

from console.questdb.fields import Fields
from console.questdb.formats.table import INDEX_HEADER, INDEX_KEY
from console.questdb.reading import DamageError, DbFile, ProblemKind

KEY_HEADER: Final = INDEX_HEADER.size
KEY: Final = INDEX_KEY.dtype
SIGNATURE: Final = 0xFA
_MAX_BLOCK: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """Header of `.k`: how many bytes of `.v` are used, how many row numbers a block has, how many keys follow."""

    value_bytes: int
    block_values: int
    keys: int


def read_index_header(file: DbFile) -> IndexHeader:
    """Return the header of a `.k`. Raises DamageError if no server opens such a file, OSError if it cannot be read."""
    return parse_index_header(file.read(0, INDEX_HEADER.size), file.size)


def parse_index_header(head: bytes, file_size: int) -> IndexHeader:
    """Return the header in the first 64 bytes of a `.k` of `file_size` bytes. Raises DamageError as above."""
    data = Fields(head)
    if len(data) < INDEX_HEADER.size:
        what = f"it is {file_size:,} bytes long, and its header has {INDEX_HEADER.size}"
        raise DamageError(what, 0, ProblemKind.SHORT)
    signature, value_bytes, block, keys = (
        INDEX_HEADER.value(name, data) for name in ("signature", "value_bytes", "block_values", "keys")
    )
    if signature != SIGNATURE:
        raise DamageError(f"it begins with {signature:#04x} instead of {SIGNATURE:#04x}", 0)
    if value_bytes < 0:
        raise DamageError(f"it counts {value_bytes:,} bytes of row numbers", INDEX_HEADER.at("value_bytes"))
    if not 0 < block <= _MAX_BLOCK or block & (block - 1):
        raise DamageError(f"it has blocks of {block:,} row numbers", INDEX_HEADER.at("block_values"))
    if keys < 0:
        raise DamageError(f"it counts {keys:,} keys", INDEX_HEADER.at("keys"))
    needed = INDEX_HEADER.size + INDEX_KEY.size * keys
    if file_size < needed:
        what = f"it is {file_size:,} bytes long, and its {keys:,} keys need {needed:,}"
        raise DamageError(what, file_size, ProblemKind.SHORT)
    return IndexHeader(value_bytes, block, keys)

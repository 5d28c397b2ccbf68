"""The frame of a Parquet file, without its content: magic numbers at both ends, and the length of the footer."""

from typing import Final

from console.questdb.reading import DamageError, DbFile, ProblemKind

MAGIC: Final = b"PAR1"
_LEAST: Final = 12
_OF_8: Final = b"__qdb_type__0"
"""A key of the footer as QuestDB 8 writes it; from 9.0 on the key is `questdb`."""
_MOST: Final = 1 << 20


def check_parquet_frame(file: DbFile, size: int) -> None:
    """Check the first `size` bytes of a Parquet file: bytes behind them are no part of it.

    Raises DamageError with the offset of what is wrong, OSError if the file cannot be read.
    """
    if size < _LEAST or file.size < size:
        raise DamageError(f"it is {file.size:,} bytes long, and _txn says {size:,}", file.size, ProblemKind.SHORT)
    if file.read(0, 4) != MAGIC:
        raise DamageError("it does not begin with PAR1", 0)
    tail = file.read(size - 8, 8)
    if tail[4:] != MAGIC:
        raise DamageError(f"it does not end with PAR1 after the {size:,} bytes that _txn says", size - 4)
    footer = int.from_bytes(tail[:4], "little")
    if not 0 < footer <= size - _LEAST:
        raise DamageError(f"its footer is {footer:,} bytes long, of {size:,} in all", size - 8)


def of_version_8(file: DbFile, size: int) -> bool:
    """Return whether QuestDB 8.1 or 8.2 wrote the file, whose frame was checked. Raises OSError if it cannot be read.

    The key and value pairs are near the end of the footer, of which the last MiB is looked at.
    """
    footer = int.from_bytes(file.read(size - 8, 4), "little")
    length = min(footer, _MOST)
    return _OF_8 in file.read(size - 8 - length, length)

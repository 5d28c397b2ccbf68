"""`_name` of a table directory, and what the name of a directory says: of which table, with which id."""

import struct
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields
from console.questdb.reading import DamageError, read_small

SEQUENCER: Final = "txn_seq"
"""The directory of a WAL table's log, in the table's own."""
_SYSTEM_PREFIX: Final = "sys."
_SYSTEM_TABLES: Final = frozenset({"telemetry_config", "telemetry", "_query_trace"})


def parse_table_name(data: bytes) -> str | None:
    """Return the raw name in the bytes of a `_name` file: `str`, then one zero byte; None where they are not that.

    Source: TableUtils.readTableName, which ignores a file whose length does not fit its string.
    """
    try:
        name, end = Fields(data).string(0, limit=4096)
    except DamageError:
        return None
    return name if name and end == len(data) - 1 else None


def encode_table_name(raw_name: str) -> bytes:
    """Return the bytes of a `_name` file: the name as `str` (i32 count of UTF-16 units, then these), one zero byte.

    Source: TableUtils.createTableNameFile.
    """
    units = raw_name.encode("utf-16-le", "surrogatepass")
    return struct.pack("<i", len(units) // 2) + units + b"\0"


def read_table_name(table: Path) -> str | None:
    """Return the raw name that the table directory `table` gives itself; None where `_name` is missing or damaged."""
    return parse_table_name(read_small(table / "_name", 1 << 14).data)


def name_of_directory(directory: str) -> str:
    """Return the table name that the server takes from a directory name: what stands before the first `~`."""
    return directory.partition("~")[0]


def id_of_directory(directory: str) -> int:
    """Return the table id that a directory's name ends with (`NAME~ID`), 0 if there is none: it cannot be damaged."""
    _, mangled, number = directory.rpartition("~")
    return int(number) if mangled and number.isdecimal() else 0


def is_system_name(name: str) -> bool:
    """Return whether the server counts `name` among its own tables (TableFlagResolverImpl with default prefix)."""
    return name.startswith(_SYSTEM_PREFIX) or name.lower() in _SYSTEM_TABLES

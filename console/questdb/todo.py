"""`_todo_`: what a writer left half done, which the next one ends as it opens (TableWriter.readTodo, 9.1.0)."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields
from console.questdb.formats.table import TODO
from console.questdb.reading import Problem, read_small
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import TxnArea

_ENTRY: Final = struct.Struct("<i4xi")
"""Behind the header: what is to do (the server takes the low half of an i64), the number of a `_meta.prev`."""


class Task(IntEnum):
    """What is to do. The server ignores any other code."""

    TRUNCATE = 1
    RESTORE_METADATA = 2


@dataclass(frozen=True, slots=True)
class Pending:
    """What the next writer does. `previous` is the name of the file that RESTORE_METADATA puts in place of `_meta`."""

    task: Task
    previous: str = "_meta.prev"


def read_pending(table: Path, txn: int) -> Pending | None:
    """Return what `_todo_` has the next writer do; `txn` is the version of `_txn`. None: nothing, or it is cut.

    An entry of another version of `_txn`, or whose two versions differ, is ignored, as the server does. Behind the
    file's end the server reads zeros.
    """
    file = read_small(table / "_todo_")
    if len(file.data) < TODO.at("count"):
        return None
    fields = Fields(file.data.ljust(TODO.size + _ENTRY.size, b"\0"))
    header = TODO.read(fields)
    if not txn == header["txn"] == header["txn_check"] or header["count"] <= 0:
        return None
    code, index = _ENTRY.unpack_from(fields.data, TODO.size)
    if code not in tuple(Task):
        return None
    return Pending(Task(code), f"_meta.prev.{index}" if index > 0 else "_meta.prev")


def restored_metadata(table: Path, pending: Pending | None) -> TableMetadata | Problem | None:
    """Return what the next writer makes of `_meta`; None where it leaves it: there is no such task, or no such file."""
    if pending is None or pending.task is not Task.RESTORE_METADATA or not (table / pending.previous).exists():
        return None
    return read_table_metadata(table, pending.previous)


def metadata_in_force(table: Path, area: TxnArea | None) -> TableMetadata | Problem:
    """Return the table's `_meta`; of an ALTER that was cut off before `_txn`, the one that the next writer puts back.

    `area` is the state that `_txn` has.
    """
    metadata = read_table_metadata(table)
    if area is None or isinstance(metadata, Problem) or metadata.metadata_version <= area.metadata_version:
        return metadata
    restored = restored_metadata(table, read_pending(table, area.txn))
    heals = isinstance(restored, TableMetadata) and restored.metadata_version == area.metadata_version
    return restored if heals and restored is not None else metadata

"""A marked row written into the clone and read back by SQL; then a column added and used: the table takes writes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from console.errors import WalmedicError
from console.questdb.column_types import ColumnTag, is_nanos
from console.questdb.layout import TableDirectory
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim
from console.recovery.server.sql import Server, SqlError, literal, quoted
from console.text import clean_line
from console.waiting import looks

_TEXT = (ColumnTag.VARCHAR, ColumnTag.STRING, ColumnTag.SYMBOL)
_VISIBLE = 30.0  # seconds that an accepted row gets to become visible
_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """What a row of the table needs: its designated timestamp, and a text column for the mark (empty: none)."""

    table: str
    timestamp: str
    nanos: bool
    text: str

    @classmethod
    def of(cls, table: TableDirectory) -> "Shape":
        """Return the shape that `_meta` gives. Raises WalmedicError where it cannot be read or names no timestamp."""
        metadata = read_table_metadata(table.path)
        column = metadata.timestamp if isinstance(metadata, TableMetadata) else None
        if not isinstance(metadata, TableMetadata) or column is None:
            raise WalmedicError(f"{table.name}: no designated timestamp can be read from its _meta")
        texts = [each.raw_name for each in metadata.columns if not each.dropped and each.tag in _TEXT]
        return cls(table.raw_name, column.raw_name, is_nanos(column.type_code), texts[0] if texts else "")

    @property
    def unit(self) -> str:
        return "timestamp_ns" if self.nanos else "timestamp"

    def newest(self, server: Server) -> int:
        """Return the newest timestamp in the table's own unit; now for an empty table."""
        at = quoted(self.timestamp)
        found = server.rows(f"SELECT cast(max({at}) AS long) AS high FROM {quoted(self.table)}")[0]["high"]  # noqa: S608
        return int(found) if found is not None else time.time_ns() // (1 if self.nanos else 1000)


def canary_claim(server: Server, shape: Shape, mark: str, alive: Callable[[], None]) -> Claim:
    """Write one row one tick after the newest, with `mark` where a text column is, and read it back."""
    name = clean_line(shape.table)
    claim = f"{name}: a marked row is written and read back"
    try:
        at = shape.newest(server) + 1
        columns, values = [quoted(shape.timestamp)], [f"cast({at} AS {shape.unit})"]
        if shape.text:
            columns.append(quoted(shape.text))
            values.append(literal(mark))
        server.rows(f"INSERT INTO {quoted(shape.table)} ({', '.join(columns)}) VALUES ({', '.join(values)})")  # noqa: S608
        marked = f" AND {quoted(shape.text)} = {literal(mark)}" if shape.text else ""
        found = _visible(server, shape, f"{quoted(shape.timestamp)} = cast({at} AS {shape.unit}){marked}", alive)
    except SqlError as error:
        return Claim(ClaimKey.CANARY, claim, "1 row", str(error), ok=False, table=name)
    return Claim(ClaimKey.CANARY, claim, "1 row", _rows(found), ok=found == 1, table=name)


def column_claim(server: Server, shape: Shape, mark: str, alive: Callable[[], None]) -> Claim:
    """Add a column, write a row that fills it, and read that back: a structure change goes through the sequencer."""
    name = clean_line(shape.table)
    claim = f"{name}: a column is added, written and read back"
    column = quoted(mark.replace("-", "_"))
    try:
        server.rows(f"ALTER TABLE {quoted(shape.table)} ADD COLUMN {column} LONG")
        at = shape.newest(server) + 1
        server.rows(
            f"INSERT INTO {quoted(shape.table)} ({quoted(shape.timestamp)}, {column}) "  # noqa: S608
            f"VALUES (cast({at} AS {shape.unit}), {at})"
        )
        found = _visible(server, shape, f"{column} = {at}", alive)
    except SqlError as error:
        return Claim(ClaimKey.NEW_COLUMN, claim, "1 row", str(error), ok=False, table=name)
    return Claim(ClaimKey.NEW_COLUMN, claim, "1 row", _rows(found), ok=found == 1, table=name)


def _visible(server: Server, shape: Shape, condition: str, alive: Callable[[], None]) -> int:
    """Return how many rows meet `condition`, once there is one, all that was accepted is applied, or the time is up.

    A statement that names a column which is not applied yet is refused by the server: that too is waited out.
    """
    found = 0
    for late in looks(_VISIBLE, _POLL):
        alive()
        settled = _settled(server, shape) or late
        try:
            found = int(server.rows(f"SELECT count() AS n FROM {quoted(shape.table)} WHERE {condition}")[0]["n"])  # noqa: S608
        except SqlError:
            if settled:
                raise
            found = 0
        if found or settled:
            break
    return found


def _settled(server: Server, shape: Shape) -> bool:
    """Return whether nothing accepted so far will still be applied: all of it is, or the table is suspended."""
    row = server.wal_table(shape.table)
    return row is not None and (bool(row["suspended"]) or int(row["writerTxn"]) >= int(row["sequencerTxn"]))


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"

"""Rows that may come twice when the writer sends again what was never acknowledged, and how many then did.

What is delivered and not acknowledged in Redis (pending) is sent again. Some of it may be in the table already: the
crash came between QuestDB's commit and the acknowledgement; a repair includes such rows and says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from console.questdb.column_types import ColumnTag
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.recovery.gate.registry import PlanContext
from console.recovery.model import Outcome
from console.recovery.server.sql import Server, quoted
from console.recovery.store.entries import read_entry_plan
from console.recovery.store.places import root_key
from console.redis_queue.reader import Queue
from console.settings import Stream
from console.text import clean_line, plural

MARGIN: Final = 300.0
"""Seconds that a row's timestamp may be off the time at which its entry was added."""
_COUNT: Final = 120.0  # seconds for counting
_UNGROUPED: Final = (ColumnTag.ARRAY, ColumnTag.BINARY)


@dataclass(frozen=True, slots=True)
class Doubles:
    """What of one stream may come twice. `low`..`high`: epoch seconds between which the pending entries were added."""

    stream: str
    table: str
    pending: int
    repaired: int  # rows_maybe_twice of the repairs that stand
    keyed: bool  # the table has dedup keys: a row that comes again replaces itself
    low: float
    high: float

    @property
    def most(self) -> int:
        """Rows that may come twice."""
        return 0 if self.keyed else self.pending

    @property
    def description(self) -> str:
        name, table = clean_line(self.stream), clean_line(self.table)
        pending = f"{name}: {plural(self.pending, 'entry', 'entries')} pending, sent again first"
        repaired = f"a repair of {table} may have brought {plural(self.repaired, 'row')} of them back"
        if self.keyed:
            return f"{pending}; {table} has dedup keys, so that none comes twice"
        if not self.pending:
            return f"{pending}; none comes twice" + (f", though {repaired}" if self.repaired else "")
        return f"{pending}; {repaired}" if self.repaired else pending


def doubles_of(context: PlanContext, queue: Queue, streams: tuple[Stream, ...]) -> Iterator[Doubles]:
    """Yield for each stream that ends in a table what may come twice. Raises QueueError."""
    repaired = _repaired(context)
    pending = {each.stream: each.pending for each in queue.waiting()}
    for stream in streams:
        if not stream.table:
            continue
        span = queue.pending_span(stream) or (0.0, 0.0)
        table = context.database.table(stream.table)
        metadata = read_table_metadata(table.path)
        keyed = isinstance(metadata, TableMetadata) and metadata.has_dedup
        count = pending[stream.name]
        yield Doubles(stream.name, stream.table, count, repaired.get(table.directory, 0), keyed, *span)


def _repaired(context: PlanContext) -> dict[str, int]:
    """Return by table directory the rows that the repairs which stand may have brought back unacknowledged."""
    root, undone = root_key(context.database.db), context.journal.undone()
    found: dict[str, int] = {}
    for entry in context.journal.entries():
        if (
            entry.root == root
            and entry.result is Outcome.DONE
            and entry.id not in undone
            and entry.intent.get("directory")
        ):
            plan = read_entry_plan(context.state, entry.id)
            if plan.rows_maybe_twice:
                found[str(entry.intent["directory"])] = plan.rows_maybe_twice
    return found


def counted(server: Server, metadata: TableMetadata, table: str, doubles: Doubles) -> int:
    """Return how many rows around the pending entries are there more than once, each but its first. Raises SqlError."""
    columns = [column for column in metadata.columns if not column.dropped and column.tag not in _UNGROUPED]
    stamp = metadata.timestamp
    if stamp is None or not doubles.pending:
        return 0
    names = ", ".join(quoted(column.raw_name) for column in columns)
    at, low, high = quoted(stamp.raw_name), int((doubles.low - MARGIN) * 1e6), int((doubles.high + MARGIN) * 1e6)
    rows = (
        f"SELECT {names}, count() AS n FROM {quoted(table)} "  # noqa: S608 - quoted
        f"WHERE {at} >= cast({low} AS timestamp) AND {at} < cast({high} AS timestamp)"
    )
    found = server.rows(f"SELECT sum(n - 1) AS twice FROM ({rows}) WHERE n > 1", (), _COUNT)  # noqa: S608
    return int(found[0]["twice"] or 0)

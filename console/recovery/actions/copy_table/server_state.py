"""Where a copy stands, as server and disk say: names by directory, whose the last transaction is, what still runs."""

import math
from collections.abc import Mapping
from typing import Any, Final

from console.questdb.layout import DatabaseRoot
from console.questdb.partition_rows import TableRows
from console.questdb.reading import DamageError
from console.recovery.model import Stage
from console.recovery.server.sql import Server, quoted
from console.recovery.steps.steps import RunContext, StepError
from console.text import clean_line, plural
from console.waiting import Standstill, looks

STATEMENT: Final = 3600.0
"""Seconds for one statement: the server's own limit for a query is below."""
COPY_DIRECTORY: Final = "copy directory"
SETTLED: Final = "settled transaction"
RENAMING: Final = "renaming to"
ORIGINAL: Final = "original name"
FOREIGN: Final = "transactions of others"
EXPECTED: Final = "rows expected"
"""Notes of an entry: the copy's directory, the last transaction that is ours, the name that the copy is being given (a
rename is one more transaction of ours), the name that its original had, how many transactions of others the copy had
when the entry took it up, and the rows that it must have in the end."""
_PAUSE: Final = 0.05
_STALLED: Final = 120.0  # seconds without progress after which waiting for the server is given up


def our_server(run: RunContext) -> Server:
    """Return the station's server. Raises SqlError where it does not answer, or is another database's."""
    server = Server(run.settings.questdb)
    server.prove_ours(run.database.db)
    return server


def names_of(database: DatabaseRoot) -> dict[str, str]:
    """Return the tables' names by directory, as the registry on disk has them.

    For tables() of QuestDB 8.2 leaves a table out that was renamed to a name that another table had.
    """
    return {table.directory: table.raw_name for table in database.tables_and_views()}


def directory_of(database: DatabaseRoot, table: str) -> str | None:
    return next((directory for directory, name in names_of(database).items() if name == table), None)


def rows_of(server: Server, table: str) -> int:
    return int(server.rows(f"SELECT count() AS n FROM {quoted(table)}")[0]["n"])  # noqa: S608 - quoted


def settle(run: RunContext, server: Server, table: str) -> None:
    """Note the last transaction that is ours: one more is somebody else's."""
    row = server.wal_table(table)
    run.remember(SETTLED, None if row is None else int(row["sequencerTxn"]))
    run.remember(RENAMING, None)


def written_since(noted: Mapping[str, Any], server: Server, table: str) -> int:
    """Return how many transactions the copy, now called `table`, took that are not ours, by an entry's notes."""
    settled, row = noted.get(SETTLED), server.wal_table(table)
    if settled is None or row is None:
        return 0
    ours = int(settled) + (noted.get(RENAMING) == table)
    return int(row["sequencerTxn"]) - ours


def refuse_moved_on(run: RunContext, server: Server, table: str) -> None:
    """Raise StepError where something was written to the copy that is not ours."""
    noted = {key: run.recall(key) for key in (SETTLED, RENAMING)}
    if since := written_since(noted, server, table):
        raise StepError(moved_on(table, since))


def moved_on(table: str, since: int) -> str:
    """Return why a copy that others wrote to is not taken back."""
    return (
        f"{clean_line(table)} took {plural(since, 'transaction')} since: to take it back would put their rows out of "
        "reach"
    )


def refuse_changed(run: RunContext, stage: Stage) -> None:
    """Raise StepError where the original is not as the plan saw it."""
    try:
        now = TableRows(run.database.db / str(stage.parameters["directory"])).txn.txn
    except DamageError as damage:
        raise StepError(f"the table cannot be read any more: {clean_line(damage.what)}") from damage
    if now != int(stage.parameters["version"]):
        raise StepError("the table changed while it was copied; freeze-writer first, then copy it again")


def await_quiet(run: RunContext, server: Server, copy: str) -> None:
    """Wait until no statement of an earlier, killed attempt works on the copy any more."""
    for late in looks(STATEMENT, _PAUSE):
        queries = [str(row["query"]) for row in server.rows("SELECT query FROM query_activity()")]
        if not any(f"INTO {quoted(copy)} " in query for query in queries):
            return
        run.progress("waiting for a statement of the attempt before")
        if late:
            raise StepError(f"a statement on {clean_line(copy)} does not end; CANCEL QUERY ends it")


def await_applied(run: RunContext, server: Server, table: str) -> None:
    """Wait until the server has applied all that was logged for the copy. Raises StepError where it is suspended."""
    still = Standstill()
    for _ in looks(math.inf, _PAUSE):
        row = server.wal_table(table)
        if row is not None and row["suspended"]:
            raise StepError(f"{clean_line(table)} is suspended: the server cannot apply to it; its log says why")
        if row is not None and int(row["writerTxn"]) >= int(row["sequencerTxn"]):
            return
        if still.seconds(-1 if row is None else int(row["writerTxn"])) > _STALLED:
            raise StepError(f"the server has applied nothing to {clean_line(table)} for {_STALLED:.0f} s")

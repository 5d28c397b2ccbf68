"""Steps of copy-table: an empty copy, filled stretch by stretch, compared, given the original's name where it is free.

All of it goes through the server. What is ours is known by its directory, which no rename changes; the original's
directory is never touched, and only the copy is ever dropped, while nothing was written to it but by us.
"""

from console.questdb.partition_rows import TableRows
from console.questdb.reading import DamageError
from console.records import of_json
from console.recovery.actions.copy_table import catch_up
from console.recovery.actions.copy_table.catch_up import bring_rows
from console.recovery.actions.copy_table.earlier import written_by_others
from console.recovery.actions.copy_table.equality import different
from console.recovery.actions.copy_table.server_state import (
    COPY_DIRECTORY,
    EXPECTED,
    ORIGINAL,
    RENAMING,
    SETTLED,
    STATEMENT,
    await_applied,
    await_quiet,
    directory_of,
    moved_on,
    names_of,
    our_server,
    refuse_changed,
    refuse_moved_on,
    rows_of,
    settle,
)
from console.recovery.actions.copy_table.statements import (
    copy_statement,
    count_statement,
    create_statement,
    finish_statements,
    shown_alike,
)
from console.recovery.actions.copy_table.stretches import Stretch
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim, Stage
from console.recovery.server.sql import SqlError, quoted
from console.recovery.steps.steps import CheckStep, RunContext, Step, StepError
from console.text import clean_line, plural

NOT_FREED = "name not freed"


class CreateCopy(Step):
    """Make the empty copy. Reversed: drop it, unless something else was written to it."""

    name = "create-copy"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Create it and note its directory; one that a killed attempt made is taken up where it is empty."""
        server, copy = our_server(run), str(stage.parameters["copy"])
        if run.recall(COPY_DIRECTORY) is not None:
            return
        if directory_of(run.database, copy) is None:
            server.rows(_statement(run, stage))
        directory = directory_of(run.database, copy)
        if directory is None or rows_of(server, copy):
            raise StepError(
                f"{clean_line(copy)} is there and not empty, so it is not ours; plan again for another name"
            )
        run.remember(ORIGINAL, str(stage.parameters["table"]))
        run.remember(COPY_DIRECTORY, directory)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        server, copy = our_server(run), str(stage.parameters["copy"])
        directory = directory_of(run.database, copy)
        noted = run.recall(COPY_DIRECTORY)
        if directory is None or directory == str(stage.parameters["directory"]):
            return
        if directory != noted and (noted is not None or rows_of(server, copy)):
            raise StepError(f"{clean_line(copy)} is not the table that entry {run.entry} made; nothing was dropped")
        if since := written_by_others(run.journal, run.state, run.entry, server, copy):
            raise StepError(moved_on(copy, since))
        await_quiet(run, server, copy)
        server.rows(f"DROP TABLE {quoted(copy)}")


class CopyStretches(Step):
    """Copy every stretch that the copy does not have yet. A stretch is there whole or not at all."""

    name = "copy-stretches"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Copy; raises StepError where the original changed, or a stretch is there in part."""
        server, given = our_server(run), stage.parameters
        copy = str(given["copy"])
        await_quiet(run, server, copy)
        await_applied(run, server, copy)
        stretches = [of_json(Stretch, each) for each in given["stretches"]]
        total, done = sum(each.rows for each in stretches), 0
        timestamp, nanos = str(given["timestamp"]), bool(given["nanos"])
        columns = [str(column) for column in given["columns"]]
        for each in stretches:
            run.progress(f"{each.partition}: {plural(each.rows, 'row')}", done, total)
            count = count_statement(copy, timestamp, nanos, each)
            found = int(server.rows(count)[0]["n"])
            if not found:
                refuse_changed(run, stage)
                server.rows(copy_statement(str(given["table"]), copy, columns, timestamp, nanos, each), (), STATEMENT)
                await_applied(run, server, copy)
                found = int(server.rows(count)[0]["n"])
            if found != each.rows:
                raise StepError(f"{each.partition} has {found:,} of {each.rows:,} rows in {clean_line(copy)}")
            done += each.rows
        run.progress("every partition copied", done, total)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Nothing of its own: the copy is dropped as a whole."""


class CompareTables(CheckStep):
    """Compare both tables, partition by partition and column by column, from the files of both."""

    name = "compare-tables"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        server, given = our_server(run), stage.parameters
        if run.recall(SETTLED) is not None:
            return  # compared before it was finished; its name may be another by now
        refuse_changed(run, stage)
        await_applied(run, server, str(given["copy"]))
        try:
            original = TableRows(run.database.db / str(given["directory"]))
            copied = TableRows(run.database.db / str(run.recall(COPY_DIRECTORY)))
            total, done = original.txn.rows, 0

            def on_rows(partition: str, rows: int) -> None:
                nonlocal done
                done += rows
                run.progress(f"{partition}: every column compared", done, total)

            wrong = different(original, copied, on_rows)
        except DamageError as damage:
            raise StepError(f"the tables cannot be compared: {clean_line(damage.what)}") from damage
        names = f"{plural(len(original.partitions), 'partition')} of {plural(len(original.columns), 'column')}"
        found = clean_line("; ".join(wrong[:5])) if wrong else "equal"
        run.claims.append(Claim(ClaimKey.COPY_VALUES, f"{names}, value by value", "equal", found, not wrong))
        run.claims.append(Claim.same(ClaimKey.ROWS_COPIED, "rows copied", original.txn.rows, copied.txn.rows))
        if wrong:
            raise StepError(f"the copy differs: {found}")
        run.remember(EXPECTED, copied.txn.rows)


class FinishCopy(Step):
    """Give the copy the original's TTL and DEDUP, and prove that both are shown alike."""

    name = "finish-copy"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Both statements may be repeated."""
        server, copy = our_server(run), str(stage.parameters["copy"])
        if run.recall(SETTLED) is not None:
            return
        for statement in finish_statements(copy, _original(run, stage).metadata):
            server.rows(statement)
        await_applied(run, server, copy)
        alike = shown_alike(server, str(stage.parameters["table"]), copy)
        claim, found = "definition as SHOW CREATE TABLE has it", "alike" if alike else "differs"
        run.claims.append(Claim(ClaimKey.COPY_DEFINITION, claim, "alike", found, alike))
        if not alike:
            raise StepError(f"{clean_line(copy)} is not shown as the original is")
        settle(run, server, copy)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Nothing of its own."""


class SwapNames(Step):
    """Rename the original away and the copy to its name. Reversed: both back."""

    name = "swap-names"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Where the server cannot rename the original, nothing is renamed, and that is reported."""
        server = our_server(run)
        table, old, copy = (str(stage.parameters[key]) for key in ("table", "old", "copy"))
        ours = str(run.recall(COPY_DIRECTORY))
        names = names_of(run.database)
        if names.get(str(stage.parameters["directory"])) == table:
            refuse_changed(run, stage)
            try:
                server.rows(f"RENAME TABLE {quoted(table)} TO {quoted(old)}")
            except SqlError as error:
                if names_of(run.database).get(str(stage.parameters["directory"])) == table:
                    run.remember(NOT_FREED, str(error))
                    return
        if names.get(ours) == copy:
            if _original(run, stage).txn.rows != int(stage.parameters["rows"]):
                late = bring_rows(run, stage, server, old, copy)
                run.remember(EXPECTED, int(run.recall(EXPECTED)) + late)
                settle(run, server, copy)
                claim = "rows that came until the name was free"
                run.claims.append(Claim.note(ClaimKey.COPY_LATE, claim, f"{late:,} copied"))
            run.remember(RENAMING, table)
            server.rows(f"RENAME TABLE {quoted(copy)} TO {quoted(table)}")
        await_applied(run, server, table)
        settle(run, server, table)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Raises StepError where the copy took rows under the old name: they would be out of reach."""
        server = our_server(run)
        table, old, copy = (str(stage.parameters[key]) for key in ("table", "old", "copy"))
        ours = run.recall(COPY_DIRECTORY)
        names = names_of(run.database)
        if ours is not None and names.get(str(ours)) == table:
            refuse_moved_on(run, server, table)
            run.remember(SETTLED, None)  # from here on its transactions are ours
            server.rows(f"RENAME TABLE {quoted(table)} TO {quoted(copy)}")
            await_applied(run, server, copy)
            settle(run, server, copy)
        if names.get(str(stage.parameters["directory"])) == old:
            server.rows(f"RENAME TABLE {quoted(old)} TO {quoted(table)}")


def _original(run: RunContext, stage: Stage) -> TableRows:
    try:
        return TableRows(run.database.db / str(stage.parameters["directory"]))
    except DamageError as damage:
        raise StepError(f"the original cannot be read: {clean_line(damage.what)}") from damage


def _statement(run: RunContext, stage: Stage) -> str:
    try:
        return create_statement(str(stage.parameters["copy"]), _original(run, stage))
    except DamageError as damage:
        raise StepError(f"the original cannot be read: {clean_line(damage.what)}") from damage


STEPS: tuple[Step, ...] = (*catch_up.STEPS, CreateCopy(), CopyStretches(), CompareTables(), FinishCopy(), SwapNames())

"""Steps on a copy that an earlier run made: rows that its original took since are copied, then both are compared.

What is missing is found anew from the files of both whenever it is asked, so that a killed attempt is gone on with by
doing it again: rows that came are no longer missing.
"""

from console.questdb.partition_rows import TableRows
from console.questdb.reading import DamageError
from console.recovery.actions.copy_table.earlier import others_before
from console.recovery.actions.copy_table.missing import Compared, compared
from console.recovery.actions.copy_table.server_state import (
    COPY_DIRECTORY,
    EXPECTED,
    FOREIGN,
    ORIGINAL,
    STATEMENT,
    await_applied,
    await_quiet,
    names_of,
    our_server,
    refuse_changed,
    settle,
)
from console.recovery.actions.copy_table.statements import gap_statement
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim, Stage, failed_in_words
from console.recovery.server.sql import Server
from console.recovery.steps.steps import CheckStep, RunContext, Step, StepError
from console.text import clean_line, plural

_ROUNDS = 3


def differences(run: RunContext, stage: Stage) -> Compared:
    """Return what original and copy have apart. Raises StepError where either cannot be read."""
    try:
        original = TableRows(run.database.db / str(stage.parameters["directory"]))
        copy = TableRows(run.database.db / str(run.recall(COPY_DIRECTORY)))
        total, done = original.txn.rows, 0

        def on_rows(partition: str, rows: int) -> None:
            nonlocal done
            done += rows
            run.progress(f"{partition}: compared", done, total)

        return compared(original, copy, on_rows)
    except DamageError as damage:
        raise StepError(f"the tables cannot be compared: {clean_line(damage.what)}") from damage


def bring_rows(run: RunContext, stage: Stage, server: Server, source: str, copy: str) -> int:
    """Copy every row of `source` (the original's name now) that the copy lacks; return how many there were."""
    original = TableRows(run.database.db / str(stage.parameters["directory"]))
    columns = [column.raw_name for column in original.columns]
    timestamp, nanos = original.timestamp.raw_name, original.partitioning.nanos
    brought = 0
    for _ in range(_ROUNDS):  # a row that comes while others are copied is found by the next comparison
        found = differences(run, stage)
        if not found.missing:
            return brought
        for gap in found.gaps:
            run.progress(f"{gap.stretch.partition}: {plural(gap.missing, 'row')}", brought, found.missing)
            statement = gap_statement(source, copy, columns, timestamp, nanos, gap)
            server.rows(statement, (), STATEMENT)
            brought += gap.missing
        await_applied(run, server, copy)
    if left := differences(run, stage).missing:
        raise StepError(
            f"{plural(left, 'row')} of the original are still not in {clean_line(copy)}: something writes to the "
            "original; freeze-writer first"
        )
    return brought


class CatchUp(Step):
    """Copy what the original took since the copy was made. Reversed: the rows stay, as ours."""

    name = "catch-up-copy"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Take the copy up and fill its gaps; raises StepError where the original is not as the plan saw it."""
        server, given = our_server(run), stage.parameters
        copy = str(given["copy"])
        if run.recall(COPY_DIRECTORY) is None:
            run.remember(FOREIGN, others_before(run, str(given["ours"]), server, copy))
            run.remember(ORIGINAL, str(given["table"]))
            run.remember(COPY_DIRECTORY, str(given["ours"]))
        refuse_changed(run, stage)
        await_quiet(run, server, copy)
        await_applied(run, server, copy)
        brought = bring_rows(run, stage, server, str(given["table"]), copy)
        settle(run, server, copy)
        wanted = int(given["missing"])
        copied_text = f"{brought:,} of {wanted:,} copied" if brought < wanted else f"{brought:,} copied"
        run.claims.append(
            Claim.note(ClaimKey.COPY_CAUGHT_UP, "rows that the table took since it was copied", copied_text)
        )

    def reverse(self, stage: Stage, run: RunContext) -> None:
        ours = run.recall(COPY_DIRECTORY)
        if ours is None:
            return
        server = our_server(run)
        name = names_of(run.database).get(str(ours))
        if name is not None:
            await_quiet(run, server, name)
            await_applied(run, server, name)
            settle(run, server, name)


class CompareContained(CheckStep):
    """Compare once more: the copy must have every row of the original, and just those more that the plan counted."""

    name = "compare-contained"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        server, given = our_server(run), stage.parameters
        names = names_of(run.database)
        if names.get(str(given["directory"])) != str(given["table"]):
            return  # compared before the names were swapped: the first of the two renames changed the original too
        copy = names.get(str(run.recall(COPY_DIRECTORY)), str(given["copy"]))
        refuse_changed(run, stage)
        await_applied(run, server, copy)
        found, more = differences(run, stage), int(given["only_in_copy"])
        claims = (
            Claim.same(ClaimKey.COPY_LACKS, "rows of the table that its copy lacks", 0, found.missing),
            Claim.same(ClaimKey.COPY_ONLY, "rows that the copy alone has", more, found.only_in_copy),
        )
        run.claims.extend(claims)
        if failed := failed_in_words(claims):
            raise StepError(f"not proven: {failed}")
        run.remember(EXPECTED, TableRows(run.database.db / str(run.recall(COPY_DIRECTORY))).txn.rows)


STEPS: tuple[Step, ...] = (CatchUp(), CompareContained())

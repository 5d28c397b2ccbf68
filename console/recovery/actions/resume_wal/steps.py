"""Steps of resume-wal: keep the segments that a skip would give to the purge, resume by SQL, prove what came of it."""

import os
import stat
import time
from pathlib import Path
from typing import Any

from console.records import of_json, to_json
from console.recovery.gate.history import EXPECTED, STOPPED_AT, among
from console.recovery.model import Stage, failed_in_words
from console.recovery.server.expectation import Expectation, expectation_of
from console.recovery.server.sql import Server, quoted
from console.recovery.server.value_claims import noted_value_claims, sums_before
from console.recovery.server.verification import table_claims, wait_until_applied
from console.recovery.steps.steps import CheckStep, RunContext, Step, StepError
from console.recovery.store.copying import CopyError, copy_out, sync_tree
from console.recovery.tree.tree import parts_of
from console.text import clean_line

KEPT = "kept-wal"
_VALUES, _SKIPPED = "values", "skipped"
_ATTEMPTS = 5  # a segment that a writer still appends to is copied again


class KeepSegments(Step):
    """Copy WAL segments into the entry's folder: once their transactions are skipped, the next sweep deletes them."""

    name = "keep-segments"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Copy each file, read it back; files that are there already are made anew."""
        directory = str(stage.parameters["directory"])
        for wal, segment in stage.parameters["segments"]:
            relative = f"{directory}/wal{int(wal)}/{int(segment)}"
            with run.tree.directory(parts_of(relative)):
                pass  # refuses links on the way
            target = run.state.made(run.folder / KEPT / directory / f"wal{int(wal)}" / str(int(segment)))
            for entry in sorted(os.scandir(run.database.db / relative), key=lambda e: e.name):
                if stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    run.progress(f"keeping {clean_line(relative)}/{clean_line(entry.name)}")
                    _copied(Path(entry.path), target / entry.name, f"{relative}/{entry.name}")
        sync_tree(run.folder / KEPT)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Keep the copies: they hold rows."""


def _copied(source: Path, target: Path, name: str) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            copy_out(source, target, name)
        except CopyError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.2)
        else:
            return


class ResumeTable(Step):
    """`ALTER TABLE … RESUME WAL [FROM TXN n]`. Done again it changes nothing: what is applied is not skipped."""

    name = "resume-table"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Note what the table must hold then, and send the statement to the server that works on this database."""
        first = stage.parameters["from_txn"]
        server = Server(run.settings.questdb)
        server.prove_ours(run.database.db)
        if run.recall(_key(stage, EXPECTED)) is None:
            table = run.database.in_directory(str(stage.parameters["directory"]))
            last = stage.parameters["last_txn"]
            values = sums_before(table, first=first, last=last)
            run.remember(_key(stage, _VALUES), to_json(values))
            run.remember(_key(stage, EXPECTED), to_json(expectation_of(table, first=first, last=last)))
        if first is not None:
            run.remember(_key(stage, _SKIPPED), True)
        server.rows(statement(str(stage.parameters["table"]), first))

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Raise StepError where transactions were skipped; a table that was only resumed loses nothing by it."""
        if run.recall(_key(stage, _SKIPPED)):
            raise StepError(
                f"transactions that were skipped stay skipped; their segments are kept in {run.folder / KEPT}, from "
                "where salvage-wal reads their rows"
            )


class VerifyResumed(CheckStep):
    """Wait until the table has applied what was promised, and prove it by rows.

    One table among several does not end the run: its claims do, once every other table is proven.
    """

    name = "verify-resumed"
    repeat = True

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Add the claims to the run. Raises StepError if one does not hold, saying where the server stopped."""
        server = Server(run.settings.questdb)
        remembered = run.recall(_key(stage, EXPECTED))
        if not isinstance(remembered, dict):
            raise StepError(f"entry {run.entry} does not say what the table should contain; undo it and plan again")
        expected = of_json(Expectation, remembered)

        def on_applied(done: int, total: int) -> None:
            run.progress(f"{expected.table}: transactions applied", done, total)

        row = _settled(server, expected, on_applied)
        stops, at_least = stage.parameters["last_txn"] is not None, bool(stage.parameters["at_least"])
        claims = table_claims(server, expected, row, stops=stops, at_least=at_least)
        if not failed_in_words(claims):
            table, noted = run.database.in_directory(expected.directory), run.recall(_key(stage, _VALUES))
            claims = (*claims, *noted_value_claims(server, table, expected, noted, row, grew=at_least))
        run.claims.extend(claims)
        failed = failed_in_words(claims)
        if not failed:
            return
        why = ""
        if row is not None and row["suspended"]:
            stuck = int(row["writerTxn"]) + 1
            run.remember(_key(stage, STOPPED_AT), stuck)
            error = clean_line(" ".join(str(row.get(key) or "") for key in ("errorTag", "errorMessage")), 300)
            why = f"; the server stopped at seqTxn {stuck:,}" + (f" ({error})" if error.strip() else "")
        if "among" not in stage.parameters:
            raise StepError(f"not proven: {failed}{why}")


def _key(stage: Stage, note: str) -> str:
    """Return under which an entry notes this about the stage's table: several tables have their own notes."""
    return among(note, str(stage.parameters["among"])) if "among" in stage.parameters else note


def statement(table: str, first: int | None) -> str:
    return f"ALTER TABLE {quoted(table)} RESUME WAL" + (f" FROM TXN {first}" if first is not None else "")


def _settled(server: Server, expected: Expectation, on_applied: Any) -> dict[str, Any] | None:
    """Wait as long as anything moves. A table that is suspended is looked at twice: the flag may be an old one."""
    row = wait_until_applied(server, expected, on_applied)
    if row is not None and row["suspended"] and int(row["writerTxn"]) < expected.logged_txn:
        time.sleep(0.5)
        row = wait_until_applied(server, expected, on_applied)
    return row


STEPS: tuple[Step, ...] = (KeepSegments(), ResumeTable(), VerifyResumed())

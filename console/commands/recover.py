"""`plan`, `run`, `undo` and `journal`: the engine from the command line, with the same plans as the palette."""

import functools
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from console.commands import completion, recover_text
from console.commands.action_argument import LISTED, ActionName
from console.commands.options import Invocation, station_options
from console.errors import WalmedicError
from console.exit_codes import ExitCode
from console.records import to_json
from console.recovery import plans
from console.recovery.codes import StageState
from console.recovery.engine import Engine, PlanChangedError, WrongPhraseError
from console.recovery.model import Outcome, Plan, Progress, RunResult
from console.recovery.store.journal import Entry, Journal
from console.recovery.store.state import StateDir
from console.text import clean_line

_STATION = "station"
_EXITS = {
    Outcome.NOT_NEEDED: ExitCode.OK,
    Outcome.DONE: ExitCode.DONE,
    Outcome.FAILED: ExitCode.FAILED,
    Outcome.ROLLED_BACK: ExitCode.FAILED,
    Outcome.REFUSED: ExitCode.REFUSED,
    Outcome.UNFINISHED: ExitCode.FAILED,
}


F = TypeVar("F", bound=Callable[..., Any])


def salvage_options(function: F) -> F:
    """Give a command the options of single actions. It stands below `station_options`, whose Invocation it changes."""

    @click.option(
        "--to", help="salvage-wal, salvage-table: the directory to write into (default: in the state directory)."
    )
    @click.option(
        "--format", "form", type=click.Choice(["csv", "parquet"]), help="salvage-wal, salvage-table: csv or parquet."
    )
    @click.option(
        "--rows", type=click.Choice(["unapplied", "all"]), help="salvage-wal: unapplied rows, or all in the WAL."
    )
    @click.option("--wal", help="salvage-wal: a directory that holds walN copied from a table.")
    @click.option("--partition", help="repair-partition: only the partition of that name.")
    @click.option(
        "--choice",
        type=click.Choice(["copy", "null", "whole-rows", "drop-rows", "set-aside"]),
        help="repair-partition: what is done with a damaged partition (default: what loses the fewest rows).",
    )
    @click.option("--from", "source", help="repair-partition: a directory that holds a copy of the partition.")
    @functools.wraps(function)
    def wrapper(
        invocation: Invocation,
        to: str | None,
        form: str | None,
        rows: str | None,
        wal: str | None,
        partition: str | None,
        choice: str | None,
        source: str | None,
        **arguments: Any,
    ) -> Any:
        chosen = {"to": to, "format": form, "rows": rows, "wal": wal}
        given: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
        settings = invocation.settings
        asked = {"partition": partition, "choice": choice, "source": source}
        wanted: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        changed = replace(
            settings,
            salvage=replace(settings.salvage, **given),
            partition=replace(settings.partition, **wanted),
        )
        return function(replace(invocation, settings=changed), **arguments)

    return wrapper  # type: ignore[return-value]


@click.command(epilog=f"{LISTED}\n\n`walmedic plan station` lists the steps of all tables, with the total loss.")
@click.argument("action", type=ActionName(_STATION))
@click.argument("table", required=False, shell_complete=completion.tables)
@station_options
@salvage_options
def plan(invocation: Invocation, action: str, table: str | None) -> int:
    """Show what ACTION would do to TABLE and what it would cost; nothing is changed."""
    if action == _STATION:
        return _plan_station(invocation)
    made = Engine(invocation.settings).plan(action, table)
    if invocation.as_json:
        invocation.emit(plans.to_json(made))
    else:
        recover_text.show_plan(recover_text.console(), made)
    return ExitCode.REFUSED if made.refused else ExitCode.OK


def _plan_station(invocation: Invocation) -> int:
    found = Engine(invocation.settings).plan_station()
    if invocation.as_json:
        invocation.emit(found.to_json())
    else:
        recover_text.show_station(recover_text.console(), found)
    return ExitCode.PROBLEMS if found.steps else ExitCode.OK


@click.command(epilog=LISTED)
@click.argument("action", type=ActionName())
@click.argument("table", required=False, shell_complete=completion.tables)
@click.option("--confirm", "phrase", help="The confirmation phrase of the plan.")
@click.option("--plan", "plan_id", help="Only if the plan is still this one.")
@station_options
@salvage_options
def run(invocation: Invocation, action: str, table: str | None, phrase: str | None, plan_id: str | None) -> int:
    """Do ACTION, after the typed confirmation, and prove it."""
    engine = Engine(invocation.settings)
    made = engine.plan(action, table)
    if plan_id is not None and made.plan_id != plan_id and not made.refused:
        return _void(invocation, made, PlanChangedError(made))
    return _carry_out(invocation, made, phrase, lambda typed: engine.run(made, typed, _reporter(invocation)))


@click.command()
@click.argument("entry", shell_complete=completion.entries)
@click.option("--confirm", "phrase", help="The confirmation phrase of the undo.")
@station_options
def undo(invocation: Invocation, entry: str, phrase: str | None) -> int:
    """Take the journal entry ENTRY back."""
    engine = Engine(invocation.settings)
    made = engine.plan_undo(entry)
    return _carry_out(invocation, made, phrase, lambda typed: engine.undo(entry, typed, _reporter(invocation)))


@click.command()
@click.option("--verify", is_flag=True, help="Say it too if the chain of hashes is whole.")
@station_options
def journal(invocation: Invocation, verify: bool) -> int:
    """Show what was done, by whom, and where the chain of hashes is broken."""
    book = Journal(StateDir(invocation.settings.state_path))
    entries = book.entries()
    broken = book.verify()
    damaged = any(not each.crash for each in broken)
    if invocation.as_json:
        document: dict[str, Any] = {
            "schema": 1,
            "journal": str(book.path),
            "entries": [_entry_json(e) for e in entries],
        }
        document["chain"] = "broken" if damaged else "whole"
        document["broken"] = [{"line": b.line, "entry": b.entry, "what": b.what} for b in broken]
        invocation.emit(document)
    else:
        to = recover_text.console()
        if entries or not broken:
            recover_text.show_entries(to, entries)
        for each in broken:
            to.print(f"the chain is broken at line {each.line} (entry {clean_line(each.entry)}): {each.what}")
        if damaged:
            to.print(f"{clean_line(str(book.path))} cannot be relied on: put it back from a copy")
        elif verify:
            to.print("the chain is whole")
    return ExitCode.PROBLEMS if damaged else ExitCode.OK


def _carry_out(invocation: Invocation, made: Plan, phrase: str | None, do: Any) -> int:
    if made.refused or not made.needed:
        if not invocation.as_json:
            recover_text.show_plan(recover_text.console(), made)
        result = do("")
        return _end(invocation, made, result, quiet=True)
    if phrase is None:
        if invocation.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return _unconfirmed(invocation, made)
        recover_text.show_plan(recover_text.console(), made)
        phrase = click.prompt("", prompt_suffix="> ", default="", show_default=False)
    _survive_hangup()
    try:
        result = do(phrase)
    except WrongPhraseError as error:
        return _stopped(invocation, made, error, ExitCode.USAGE)
    except PlanChangedError as error:
        return _void(invocation, error.plan, error)
    except WalmedicError as error:
        return _stopped(invocation, made, error, ExitCode.REFUSED)
    return _end(invocation, made, result, quiet=False)


def _survive_hangup() -> None:
    """Go on when the operator's session dies; end in good order (rolling back) when asked to end."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _reporter(invocation: Invocation) -> Any:
    to = recover_text.console(stderr=True)

    def report(progress: Progress) -> None:
        if not invocation.as_json and (progress.state != StageState.GOES_ON or sys.stderr.isatty()):
            # A terminal that went away must not end what is being done to the files.
            try:
                recover_text.show_progress(to, progress)
            except OSError:
                return

    return report


def _end(invocation: Invocation, made: Plan, result: RunResult, *, quiet: bool) -> int:
    if invocation.as_json:
        invocation.emit(_result_json(made, result))
    elif not quiet or result.outcome is not Outcome.REFUSED:
        recover_text.show_result(recover_text.console(), result)
    return _EXITS[result.outcome]


def _result_json(made: Plan, result: RunResult) -> dict[str, Any]:
    return {
        **plans.to_json(made),
        "entry": result.entry or None,
        "outcome": result.outcome.value,
        "message": result.message,
        "verification": to_json(result.verification),
        "next_step": result.next_step,
    }


def _unconfirmed(invocation: Invocation, made: Plan) -> int:
    message = f"not confirmed; to do it: --confirm '{made.confirmation}'"
    if invocation.as_json:
        invocation.emit(_result_json(made, RunResult("", Outcome.REFUSED, message)))
    else:
        recover_text.show_plan(recover_text.console(), made)
    click.echo(f"walmedic: {message}", err=True)
    return ExitCode.REFUSED


def _void(invocation: Invocation, made: Plan, error: PlanChangedError) -> int:
    if not invocation.as_json:
        recover_text.show_plan(recover_text.console(), made)
    return _stopped(invocation, made, error, ExitCode.REFUSED)


def _stopped(invocation: Invocation, made: Plan, error: WalmedicError, code: ExitCode) -> int:
    if invocation.as_json:
        invocation.emit(_result_json(made, RunResult("", Outcome.REFUSED, str(error))))
    click.echo(f"walmedic: {error}", err=True)
    return code


def _entry_json(entry: Entry) -> dict[str, Any]:
    outcome = entry.outcome
    return {
        "entry": entry.id,
        "at": entry.at,
        "action": entry.action,
        "table": entry.table,
        "undoes": entry.intent.get("undoes"),
        "db": entry.intent.get("db"),
        "operator": entry.intent.get("operator"),
        "terminal": entry.intent.get("terminal"),
        "host": entry.intent.get("host"),
        "plan": entry.intent.get("plan"),
        "confirmation": entry.intent.get("confirmation"),
        "outcome": (entry.result or Outcome.UNFINISHED).value,
        "message": "" if outcome is None else outcome.get("message", ""),
        "events": [{"kind": e.kind, "at": e.at, "data": dict(e.data)} for e in entry.events[1:]],
    }

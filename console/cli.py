"""The command line: which command lives where, and how errors end. Commands are imported only when they are called."""

import difflib
import importlib
import logging
import logging.handlers
import os
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console import __version__, paths
from console.errors import WalmedicError, run_as_owner
from console.exit_codes import DETAILED, ExitCode
from console.standard_streams import Streams
from console.text import clean_line

if TYPE_CHECKING:  # what is imported before the first paint delays it
    from click.shell_completion import CompletionItem

_WIDEST = 100_000  # columns; what is wider is no terminal

# name -> (module:attribute, summary). Text, so that `walmedic --help` and `check` never import Textual.
COMMANDS = {
    "check": ("console.commands.check:check", "Diagnose the tables from disk, and from SQL where it is reachable."),
    "inspect": ("console.commands.inspect:inspect", "Decode one file: header, summary, findings, any record."),
    "crashes": ("console.commands.crashes:crashes", "Group hs_err logs by cause and tie each to file, offset, seqTxn."),
    "plan": ("console.commands.recover:plan", "Show what an action would do and cost; nothing is changed."),
    "rehearse": ("console.commands.rehearse:rehearse", "Carry a plan out on a clone with a real QuestDB."),
    "run": ("console.commands.recover:run", "Do it, after the typed confirmation, and prove it."),
    "undo": ("console.commands.recover:undo", "Take a journal entry back."),
    "journal": ("console.commands.recover:journal", "Show what was done, by whom, and whether the chain is whole."),
    "report": ("console.commands.report:report", "Report the incident: happened, done, lost, left to do (Markdown)."),
    "bundle": ("console.commands.bundle:bundle", "Collect what an expert asks for, without secrets and rows."),
    "guard": ("console.commands.guard:guard", "Before the power fails: keep copies from which repairs are exact."),
    "watch": ("console.commands.watch:watch", "Look after a station without a screen: metrics, and who is notified."),
    "doctor": ("console.commands.doctor:doctor", "Show what can be reached and done here, and from where it is known."),
    "init": ("console.commands.init:init", "Find the running station and write a settings file."),
    "demo": (
        "console.commands.demo:demo",
        "Build a real station, break it as in the incident, open the console on it.",
    ),
    "console": ("console.commands.console:console", "Open the console (the same as no command at all)."),
}

_WITH_VALUE = ("--config", "--db-root", "--state-dir")  # of console.commands.options


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above is ours
        if all(DETAILED not in option.opts for option in command.params):
            description = "End with 2, 4, 8 or 16 too, as docs/exit-codes.md lists them."
            command.params.append(click.Option([DETAILED], is_flag=True, expose_value=False, help=description))
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Complete the first word from the table: no command is imported for it."""
        from click.shell_completion import CompletionItem

        names = [name for name in COMMANDS if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=COMMANDS[name][1]) for name in names), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # Options without a command are the console's: `walmedic --config FILE`. Before a command they are that one's.
        if args and args[0].startswith("-"):
            at = _first_word(args)
            args = [args[at], *args[:at], *args[at + 1 :]] if at is not None else ["console", *args]
        if args[0] not in COMMANDS and (near := difflib.get_close_matches(args[0], COMMANDS, 1)):
            raise click.UsageError(f"there is no command {args[0]!r}; did you mean {near[0]}?")
        return super().resolve_command(ctx, args)


def _first_word(args: Sequence[str]) -> int | None:
    """Return where the command stands behind options that belong to it; None where there is none."""
    at = 0
    while at < len(args) and args[at].startswith("-"):
        at += 2 if args[at] in _WITH_VALUE else 1
    return at if at < len(args) and args[at] in COMMANDS else None


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "-V", "--version")
@click.pass_context
def walmedic(ctx: click.Context) -> None:
    """Bring a QuestDB station back after its WAL sequencer was damaged. Without a command: the console."""
    if ctx.invoked_subcommand is None:
        command = ctx.command
        assert isinstance(command, click.Group)  # noqa: S101 - it is the group itself
        found = command.get_command(ctx, "console")
        if found is not None:
            ctx.invoke(found)


def _start_log() -> None:
    """Log to a rotated file of mode 0600 in the state directory; nothing ever goes to the terminal."""
    try:
        folder = paths.make_private(paths.default_state_dir())
        os.umask(0o077)
        _must_be_a_file(folder / "walmedic.log")
        handler: logging.Handler = logging.handlers.RotatingFileHandler(
            folder / "walmedic.log", maxBytes=2_000_000, backupCount=3, encoding="utf-8", delay=True
        )
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _must_be_a_file(place: Path) -> None:
    """Raise OSError if the log is a pipe, whose opening would wait for a reader, or anything else that is no file."""
    if place.exists() and not stat.S_ISREG(place.stat().st_mode):
        raise OSError(f"{place} is no file")


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its detailed exit code: its own, 8 for any operational error, 16 for wrong usage."""
    as_json = "--json" in arguments
    try:
        _start_log()
        result = walmedic.main(args=list(arguments), prog_name="walmedic", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _ended("stopped; nothing more is done", "stopped", ExitCode.REFUSED, as_json)
    except click.ClickException as error:
        return _ended(f"walmedic: {error.format_message()}", "usage", ExitCode.USAGE, as_json)
    except SystemExit as end:  # of click's own completion
        return end.code if isinstance(end.code, int) else 0
    except WalmedicError as error:
        logging.getLogger("walmedic").info("refused: %s", error)
        return _ended(f"walmedic: {error}", "refused", ExitCode.REFUSED, as_json)
    except PermissionError as error:
        logging.getLogger("walmedic").exception("permission denied")
        denied = clean_line(str(error.filename or "a file"))
        message = f"walmedic: {denied} cannot be used as uid {os.geteuid()}; {run_as_owner('its owner')}"
        return _ended(f"{message}; treat it as not done", "permission", ExitCode.REFUSED, as_json)
    except Exception as error:
        logging.getLogger("walmedic").exception("unexpected error")
        place = paths.default_state_dir() / "walmedic.log"
        message = f"walmedic: an unexpected {type(error).__name__}; treat it as not done. See {place}"
        return _ended(message, "unexpected", ExitCode.REFUSED, as_json)
    return result if isinstance(result, int) else 0


def _ended(message: str, code: str, exit_code: int, as_json: bool) -> int:
    """Say why there is no result: on standard error, and where JSON was asked for also as that command's document."""
    if as_json:
        import json

        click.echo(json.dumps({"schema": 1, "error": {"code": code, "message": message.removeprefix("walmedic: ")}}))
    click.echo(message, err=True)
    return exit_code


def _usable_environment() -> None:
    """Forget a width that is none: COLUMNS=0 would lay out every line in no columns at all."""
    for name in ("COLUMNS", "LINES"):
        value = os.environ.get(name, "")
        if value and not (value.isascii() and value.isdigit() and 0 < int(value[:9]) < _WIDEST):
            del os.environ[name]


def main(arguments: Sequence[str] | None = None, *, answers_interrupt: bool = True) -> int:
    """Run one command in a process of its own and return its exit code.

    What happens to standard output changes nothing of what is done. It changes the exit code only where that would
    claim that all is well, and nobody can have read why.
    """
    streams = Streams()
    _usable_environment()
    words = sys.argv[1:] if arguments is None else arguments
    if answers_interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = run(words)
    failure = streams.failure
    if failure is not None:
        click.echo(f"walmedic: standard output cannot be written ({failure.strerror}); its reader has less", err=True)
        code = code or ExitCode.REFUSED
    return code.plain if isinstance(code, ExitCode) and DETAILED not in words else int(code)

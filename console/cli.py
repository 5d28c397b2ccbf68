"""The command line: which command lives where, and how errors end. Commands are imported only when they are called."""

import contextlib
import importlib
import logging
import logging.handlers
import os
import sys
from collections.abc import Sequence

import click

from console import __version__, paths
from console.errors import WalmedicError

_USAGE, _REFUSED = 16, 8

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
    "report": ("console.commands.report:report", "Tell the incident: happened, done, lost, left to do (Markdown)."),
    "bundle": ("console.commands.bundle:bundle", "Collect what an expert asks for, without secrets and rows."),
    "doctor": ("console.commands.doctor:doctor", "Show what can be reached and done here, and from where it is known."),
    "init": ("console.commands.init:init", "Find the running station and write a settings file."),
    "demo": (
        "console.commands.demo:demo",
        "Build a real station, break it as in the incident, open the console on it.",
    ),
    "console": ("console.commands.console:console", "Open the console (the same as no command at all)."),
}


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
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # Options without a command are the console's: `walmedic --config FILE`.
        if args and args[0].startswith("-"):
            args = ["console", *args]
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__)
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
        handler: logging.Handler = logging.handlers.RotatingFileHandler(
            folder / "walmedic.log", maxBytes=2_000_000, backupCount=3, encoding="utf-8", delay=True
        )
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: its own, 8 for any operational error, 16 for any wrong usage."""
    _start_log()
    try:
        result = walmedic.main(args=list(arguments), prog_name="walmedic", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        click.echo("stopped; nothing more is done", err=True)
        return _REFUSED
    except click.ClickException as error:
        click.echo(f"walmedic: {error.format_message()}", err=True)
        return _USAGE
    except (BrokenPipeError, SystemExit):
        # SystemExit: in this mode click raises it for a broken pipe alone, with 1, which is `problems found` here.
        return _reader_went_away()
    except WalmedicError as error:
        logging.getLogger("walmedic").info("refused: %s", error)
        click.echo(f"walmedic: {error}", err=True)
        return _REFUSED
    except Exception as error:
        logging.getLogger("walmedic").exception("unexpected error")
        place = paths.default_state_dir() / "walmedic.log"
        click.echo(f"walmedic: an unexpected {type(error).__name__}; nothing is assumed done. See {place}", err=True)
        return _REFUSED
    return result if isinstance(result, int) else 0


def _reader_went_away() -> int:
    """Return 0: what there was to do is done. Python must not flush into the closed pipe at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def main() -> None:
    """Entry point of the `walmedic` command."""
    sys.exit(run(sys.argv[1:]))

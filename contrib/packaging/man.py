"""The man page, made from the commands: it has nothing that `--help` has not."""

import sys
from collections.abc import Iterator

import click

from console import __version__
from console.cli import COMMANDS, walmedic
from console.exit_codes import DETAILED


def page() -> Iterator[str]:
    """Yield the lines of walmedic(1), in the macros of man(7)."""
    yield f'.TH WALMEDIC 1 "" "walmedic {__version__}" "User commands"'
    yield from (".SH NAME", f"walmedic \\- {_text(_first(walmedic.help))}")
    yield from (".SH SYNOPSIS", ".B walmedic", "[\\fICOMMAND\\fR] [\\fIOPTION\\fR]...")
    yield from (".SH DESCRIPTION", "Without a command the console opens; it only looks.", ".SH COMMANDS")
    for name in COMMANDS:
        yield from _command(name)
    yield from (".SH EXIT STATUS", "0: done, or healthy. 1: a problem. 2: wrong usage.")
    yield _text(f"With {DETAILED}: see docs/exit-codes.md.")
    yield from (".SH FILES", ".TP", "~/.config/walmedic/walmedic.toml", "settings, where --config names no other")
    yield from (".TP", "~/.local/state/walmedic", "journal, evidence, locks and the guard's copies")


def _command(name: str) -> Iterator[str]:
    with click.Context(walmedic, info_name="walmedic") as parent:
        command = walmedic.get_command(parent, name)
        assert command is not None  # noqa: S101 - a name of the table
        context = click.Context(command, info_name=name, parent=parent)
        usage = " ".join(command.collect_usage_pieces(context))
        yield from (f".SS {name} {_text(usage)}", *_paragraphs(command.help or ""))
        for param in command.get_params(context):
            record = param.get_help_record(context)
            if record is not None and record[1] and not param.is_eager:
                yield from (".TP", f"\\fB{_text(record[0])}\\fR", _text(record[1]))
        yield from _paragraphs(command.epilog or "")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.replace("\b", "").split("\n\n"):
        if paragraph.strip():
            yield from (".PP", _text(" ".join(paragraph.split())))


def _first(text: str | None) -> str:
    return (text or "").partition("\n")[0].partition(". ")[0]


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.stdout.write("\n".join(page()) + "\n")

"""Options of `plan` and `run` that only salvage-wal knows: they go over what the settings say."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from console.commands.options import Invocation

F = TypeVar("F", bound=Callable[..., Any])


def salvage_options(function: F) -> F:
    """Give a command --to, --format, --rows and --wal. It stands below `station_options`, whose Invocation it
    changes.
    """

    @click.option("--to", help="salvage-wal: the directory to write into (default: in the state directory).")
    @click.option("--format", "form", type=click.Choice(["csv", "parquet"]), help="salvage-wal: csv or parquet.")
    @click.option(
        "--rows", type=click.Choice(["unapplied", "all"]), help="salvage-wal: unapplied rows, or all in the WAL."
    )
    @click.option("--wal", help="salvage-wal: a directory that holds walN copied from a table.")
    @functools.wraps(function)
    def wrapper(
        invocation: Invocation, to: str | None, form: str | None, rows: str | None, wal: str | None, **arguments: Any
    ) -> Any:
        said = {"to": to, "format": form, "rows": rows, "wal": wal}
        given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        settings = invocation.settings
        changed = replace(settings, salvage=replace(settings.salvage, **given))
        return function(replace(invocation, settings=changed), **arguments)

    return wrapper  # type: ignore[return-value]

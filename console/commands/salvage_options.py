"""Options of `plan` and `run` that only some actions know: they go over what the settings say."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

from console.commands.options import Invocation

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
        type=click.Choice(["copy", "null", "whole-rows", "set-aside"]),
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

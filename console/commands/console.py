"""`walmedic` without a command: the full-screen console."""

import functools
import gc
import os
import sys
from collections.abc import Callable
from dataclasses import replace

import click

from console.commands.options import Invocation, station_options
from console.errors import WalmedicError
from console.settings import Settings, load


@click.command()
@click.option(
    "--mouse/--no-mouse",
    default=None,
    help="Let the console take the mouse (the terminal's own selection then stops).  [default: mouse of the settings]",
)
@click.option("--colors", type=click.Choice(["auto", "light", "16", "none"]), default="auto", help="Colours to use.")
@station_options
def console(invocation: Invocation, mouse: bool | None, colors: str) -> int:
    """Open the console in observe mode."""
    settings = invocation.settings if mouse is None else replace(invocation.settings, mouse=mouse)
    return open_console(settings, colors=colors, reload=invocation.reload)


def open_console(settings: Settings, *, colors: str = "auto", reload: Callable[[], Settings] | None = None) -> int:
    """Run the console until the operator leaves it; return the exit code. Raises WalmedicError without a terminal."""
    # Textual takes keys from standard input and draws on standard error, whatever standard output is.
    for stream, name in ((sys.stdin, "standard input"), (sys.stderr, "standard error")):
        if not stream.isatty():
            raise WalmedicError(
                f"the console needs a terminal, and {name} is none; open it without redirection, "
                "or use the commands that need none: walmedic check, plan, run, journal"
            )
    # Read when Textual is imported: a paint waits for the next of so many moments a second, at rest there is none.
    os.environ.setdefault("TEXTUAL_FPS", "120")
    # What is imported stays: to look for garbage among it costs a tenth of the time to the first paint.
    gc.disable()
    from console.app import run_console

    while not isinstance(ended := run_console(settings, colors=colors, reload=reload), int):
        reload = functools.partial(load, ended)
        settings = reload()
    return ended

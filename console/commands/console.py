"""`walmedic` without a command: the full-screen console."""

import gc
import os

import click

from console.commands.options import Invocation, station_options


@click.command()
@click.option("--mouse", is_flag=True, help="Let the console take the mouse (the terminal's own selection then stops).")
@click.option("--colors", type=click.Choice(["auto", "16", "none"]), default="auto", help="Colours to use.")
@station_options
def console(invocation: Invocation, mouse: bool, colors: str) -> int:
    """Open the console in observe mode."""
    # Read when Textual is imported: a paint waits for the next of so many moments a second, at rest there is none.
    os.environ.setdefault("TEXTUAL_FPS", "120")
    # What is imported stays: to look for garbage among it costs a tenth of the time to the first paint.
    gc.disable()
    from console.app import run_console

    return run_console(invocation.settings, mouse=mouse, colors=colors)

"""`walmedic` without a command: the full-screen console."""

import click

from console.commands.options import Invocation, station_options


@click.command()
@click.option("--mouse", is_flag=True, help="Let the console take the mouse (the terminal's own selection then stops).")
@click.option("--colors", type=click.Choice(["auto", "16", "none"]), default="auto", help="Colours to use.")
@station_options
def console(invocation: Invocation, mouse: bool, colors: str) -> int:
    """Open the console in observe mode."""
    from console.app import run_console

    return run_console(invocation.settings, mouse=mouse, colors=colors)

"""`walmedic demo`: a real station, broken as in the incident, and the console on it (or the whole story as text)."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.commands.console import open_console
from console.commands.ending import ended_like_ctrl_c
from console.exit_codes import ExitCode
from console.station.scenario import SCALES, Scenario

if TYPE_CHECKING:
    from console.station.build import Station


@click.command()
@click.option(
    "--scenario",
    type=click.Choice([scenario.value for scenario in Scenario]),
    default=Scenario.INCIDENT.value,
    show_default=True,
    help="How far the station is broken.",
)
@click.option(
    "--scale",
    type=click.IntRange(*SCALES),
    default=100,
    show_default=True,
    help="Divide the incident's row counts by this.",
)
@click.option("--true-size", is_flag=True, help="Give both sequencer logs the incident's real length (409M and 204M).")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where to build it, and keep it afterwards.")
@click.option("--headless", is_flag=True, help="Print the story as text and recover without the console.")
@click.option("--serve", is_flag=True, help="Only build it and keep it running until interrupted.")
def demo(scenario: str, scale: int, true_size: bool, directory: Path | None, headless: bool, serve: bool) -> int:
    """Build a real station, break it as in the incident, and open the console on it.

    Leaving stops every process that it started and nothing else. Without a terminal it recovers the station without
    questions, says what it does, and exits 0 only if every row was recovered.
    """
    from console.station.downloads import require_packages

    require_packages()
    forget_other_stations()
    from console.station.build import station
    from console.station.processes import marked

    say = _reporter()
    say(f"building a station: QuestDB, Redis, two collectors, a batch writer; scenario {scenario}")
    with (
        ended_like_ctrl_c(),
        station(Scenario(scenario), directory=directory, scale=scale, true_size=true_size, say=say) as built,
        marked(built.layout.directory),
    ):
        say(f"the station is ready in {built.layout.directory}")
        if serve:
            return _serve(built)
        if headless or not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
            from console.station.story import play

            return ExitCode.OK if play(built, say) else ExitCode.REFUSED
        left = open_console(built.settings())
        say("stopping the station's processes")
        return left


def forget_other_stations() -> None:
    """Take settings for another station out of the environment: they would reach the actions of this one."""
    for name in [name for name in os.environ if name.startswith("WALMEDIC_")]:
        del os.environ[name]


def _serve(built: "Station") -> int:
    click.echo(f"settings: {built.layout.settings_file}; Ctrl-C ends it")
    while True:
        signal.pause()


def _reporter() -> Callable[[str], None]:
    """Return what prints one line with the seconds since now; a reader that went away does not stop the work."""
    begun = time.monotonic()

    def say(line: str) -> None:
        with contextlib.suppress(OSError):
            click.echo(f"{time.monotonic() - begun:6.1f} s  {line}")

    return say

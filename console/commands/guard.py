"""`guard`: before the power fails, keep copies of the small files that a recovery rests on."""

import time
from typing import TYPE_CHECKING

import click

from console.commands.check import located
from console.commands.ending import ended_like_ctrl_c
from console.commands.options import Invocation, station_options
from console.exit_codes import ExitCode
from console.records import to_json
from console.sd_notify import notify

if TYPE_CHECKING:
    from console.probes.checks import Check


@click.command()
@click.option("--once", is_flag=True, help="One round, then end: for a timer, or to see what it says.")
@station_options
def guard(invocation: Invocation, once: bool) -> int:
    """Keep copies of _txn, _meta, _cv, sequencers, small symbol maps and the registry, from which repairs are exact.

    The database is only read, the server is not asked. Copies lie in the state directory, or where guard.to says:
    another disk is better. Ends with 1 (4 with --detailed-exitcode) if --once could not copy a table.
    """
    from console.recovery.guard.taking import Guard

    settings = invocation.settings
    if not invocation.as_json:
        for warning in _warnings(invocation):
            click.echo(f"! {warning.said}", err=not once)
    said: dict[str, str] = {}
    with ended_like_ctrl_c(), Guard(located(invocation), settings.guard_path, settings.guard.most_mib << 20) as keeper:
        while True:
            began = time.monotonic()
            state = keeper.round()
            if once and invocation.as_json:
                invocation.emit({"schema": 1, "guard": to_json(state)})
            for name, why in state.left_out.items() if not (once and invocation.as_json) else ():
                if said.get(name) != why:
                    click.echo(f"{name}: not copied, {why}", err=not once)
            said = dict(state.left_out)
            if once and not invocation.as_json:
                click.echo(
                    f"{state.copied:,} copied, {state.written:,} bytes written; all copies take {state.used:,} bytes"
                )
            if once:
                return ExitCode.FAILED if state.left_out else ExitCode.OK
            notify(f"READY=1\nWATCHDOG=1\nSTATUS=copies of {state.tables:,} tables, {len(state.left_out):,} skipped")
            time.sleep(max(0.5, settings.guard.every - (time.monotonic() - began)))


def _warnings(invocation: Invocation) -> "list[Check]":
    """Return what will hurt when the power fails, and a disk that is too full for a repair."""
    from console.probes.checks import Level
    from console.probes.checkup import disk_room
    from console.probes.precautions import precautions

    database = located(invocation)
    room = disk_room("disk of the data", database.db)
    return [*precautions(invocation.settings, database), *([room] if room.level is Level.PROBLEM else [])]

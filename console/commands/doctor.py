"""`doctor`: what can be reached and done here, and from where it is known."""

import asyncio

import click

from console.commands.options import Invocation, station_options
from console.exit_codes import ExitCode
from console.records import to_json

_GLYPHS = {"ok": "✓", "note": "·", "problem": "✗"}


@click.command()
@station_options
def doctor(invocation: Invocation) -> int:
    """Show every setting with its source, and what can be reached and done here.

    Nothing is changed. Exits 8 where something that is configured cannot be reached or done.
    """
    from console.probes.checks import Level
    from console.probes.checkup import checkup, known_settings

    settings = known_settings(invocation.settings)
    checks = asyncio.run(checkup(invocation.settings))
    problems = [check for check in checks if check.level is Level.PROBLEM]
    if invocation.as_json:
        invocation.emit(
            {
                "schema": 1,
                "settings": [{"key": each.key, "value": each.value, "source": each.source} for each in settings],
                "checks": to_json(checks),
            }
        )
        return ExitCode.REFUSED if problems else ExitCode.OK
    width = max(len(each.key) for each in settings)
    for each in settings:
        click.echo(f"{each.key:<{width}}  {each.value}  ({each.source})")
    click.echo()
    width = max(len(check.subject) for check in checks)
    for check in checks:
        click.echo(f"{_GLYPHS[check.level]} {check.level:<7}  {check.subject:<{width}}  {check.said}")
    return ExitCode.REFUSED if problems else ExitCode.OK

"""`walmedic report`: what happened, what was done, what was lost, what is left to do."""

from pathlib import Path

import click

from console.commands.options import Invocation, station_options
from console.reporting.incident import read_incident
from console.reporting.output import write_new
from console.reporting.private import redacted, redactor_for
from console.reporting.report import file_name, to_json
from console.reporting.report import report as written


@click.command()
@click.option("--to", type=click.Path(path_type=Path), help="Write it (0600) to this new file, or into this directory.")
@station_options
def report(invocation: Invocation, to: Path | None) -> int:
    """Tell the incident in time order, as Markdown: crashes, services, findings, actions; rows lost; what is left.

    Secrets are taken out; operators and paths stay. What can be shown to anybody is in `walmedic bundle`.
    """
    incident = read_incident(invocation.settings)
    redactor = redactor_for(incident, private=False)
    shared = redacted(incident, redactor)
    text = written(shared, redactor)
    if to is not None:
        place = write_new(to / file_name(incident) if to.is_dir() else to, text.encode(), incident.database)
        click.echo(f"the report is in {place}", err=invocation.as_json)
    if invocation.as_json:
        invocation.emit(to_json(shared, redactor))
    elif to is None:
        click.echo(text, nl=False)
    return 0

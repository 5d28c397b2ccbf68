"""`walmedic bundle`: the archive for the QuestDB community and experts, shown before it is written."""

import sys
from pathlib import Path

import click

from console.commands.options import Invocation, station_options
from console.reporting.bundle import Bundle, Written, place_for, prepare, write
from console.reporting.parts import in_words
from console.reporting.posting import DESTINATIONS
from console.text import plural


@click.command()
@click.option("--to", type=click.Path(path_type=Path), help="A new file, or a directory; else the state directory.")
@click.option("--preview", is_flag=True, help="Show what would be in it and write nothing.")
@click.option("--yes", is_flag=True, help="Write it without asking.")
@station_options
def bundle(invocation: Invocation, to: Path | None, preview: bool, yes: bool) -> int:
    """Collect what an expert asks for into one archive (mode 0600): a report to post, findings, headers and tails of
    the logs, hashes of the copies, crash logs, configuration, plans, journal.

    No rows. Secrets, people and private paths are taken out. It is shown first; on a terminal it asks before it writes.
    """
    made = prepare(invocation.settings)
    if not invocation.as_json:
        _show(made)
    place = None if preview else place_for(made, invocation.settings, to)
    if place is not None and not yes and not invocation.as_json and sys.stdin.isatty() and sys.stdout.isatty():
        click.confirm(f"write it to {place}?", default=True, abort=True)
    written = None if place is None else write(made, place)
    if invocation.as_json:
        invocation.emit(_document(made if written is None else written.bundle, written))
    elif written is not None:
        _show_written(made, written)
    return 0


def _document(made: Bundle, written: Written | None) -> dict[str, object]:
    return {
        **made.to_json(),
        "bundle": None if written is None else str(written.path),
        "size": None if written is None else written.size,
        "sha256": None if written is None else written.sha256,
    }


def _show(made: Bundle) -> None:
    width = max((len(part.name) for part in made.parts), default=0)
    for part in made.parts:
        click.echo(f"{part.name:<{width}}  {len(part.content):>9,}  {part.notes}".rstrip())
    for each in made.missing:
        click.echo(f"missing: {each.what}: {each.why}")
    taken = in_words(made.removed) or "nothing"
    click.echo(f"{plural(len(made.parts), 'file')}, {made.size:,} bytes before they are packed; taken out: {taken}")


def _show_written(made: Bundle, written: Written) -> None:
    for each in written.bundle.missing[len(made.missing) :]:
        click.echo(f"missing: {each.what}: {each.why}")
    click.echo(f"written: {written.path} ({written.size:,} bytes, mode 0600)")
    click.echo(f"sha256:  {written.sha256}")
    click.echo("look at report.md before you post it; take it to:")
    for place in DESTINATIONS:
        click.echo(f"  {place.name}: {place.address} ({place.what})")

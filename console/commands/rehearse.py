"""`walmedic rehearse`: the plan carried out on a clone, a real QuestDB started on it, the result proven."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import click

from console.commands import completion, recover_text
from console.commands.action_argument import LISTED, ActionName
from console.commands.ending import ended_like_ctrl_c
from console.commands.options import Invocation, station_options
from console.recovery.codes import StageState
from console.recovery.engine import Engine
from console.recovery.model import Progress
from console.recovery.rehearsal.model import EXITS, Rehearsal, RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse as rehearse_on_clone
from console.settings import Settings

_LEAST_PAUSE = 0.1  # seconds between two progress lines of one stage


@click.command(epilog=LISTED)
@click.argument("action", type=ActionName())
@click.argument("table", shell_complete=completion.tables)
@click.option("--to", type=click.Path(path_type=Path), help="Where to put the clone (default: the state directory).")
@click.option("--keep", is_flag=True, help="Keep the clone afterwards.")
@click.option("--jar", help="The station's QuestDB jar, where it cannot be seen from a running server.")
@click.option("--java", help="The Java to run it with.")
@click.option("--maven", help="Where no jar is known, fetch it: mvn (as Maven is set up), or a repository's URL.")
@station_options
def rehearse(invocation: Invocation, action: str, table: str, to: Path | None, keep: bool, **binary: str | None) -> int:
    """Carry ACTION out on a clone of TABLE, start a real QuestDB on it, and prove the result.

    The original is only read. Exit 0: passed; 1: failed, refused, or could not be done. With --json its
    progress comes as JSON lines on standard error.
    """
    engine = Engine(_with_binary(invocation.settings, binary))
    with ended_like_ctrl_c():
        ended = rehearse_on_clone(engine, action, table, to=to, keep=keep, on_progress=_reporter(invocation))
    if invocation.as_json:
        invocation.emit(ended.to_json())
    else:
        _show(ended)
    return EXITS[ended.outcome]


def _with_binary(settings: Settings, binary: Mapping[str, str | None]) -> Settings:
    jar, java, maven = (binary[name] or getattr(settings.questdb, name) for name in ("jar", "java", "maven"))
    return replace(settings, questdb=replace(settings.questdb, jar=jar, java=java, maven=maven))


def _reporter(invocation: Invocation) -> Callable[[Progress], None]:
    to = recover_text.console(stderr=True)
    last = 0.0

    def report(progress: Progress) -> None:
        nonlocal last
        with contextlib.suppress(OSError):
            if invocation.as_json:
                now = time.monotonic()
                if progress.state == StageState.GOES_ON and now - last < _LEAST_PAUSE:
                    return
                last = now
                sys.stderr.write(json.dumps(asdict(progress) | {"at": time.time()}) + "\n")
                sys.stderr.flush()
            elif progress.state != StageState.GOES_ON or sys.stderr.isatty():
                recover_text.show_progress(to, progress)

    return report


def _show(ended: Rehearsal) -> None:
    to = recover_text.console()
    good = ended.outcome in (RehearsalOutcome.PASSED, RehearsalOutcome.NOT_NEEDED)
    to.print(f"rehearsal of {ended.plan.action} {ended.plan.table}: {ended.outcome}", style="green" if good else "red")
    to.print(ended.message)
    recover_text.show_claims(to, ended.verification)
    for left in ended.left_out:
        to.print(f"not checked: {left}")
    if ended.clone is not None and ended.clone.kept:
        to.print(f"the clone is kept: {ended.clone.folder}")
    if ended.outcome is RehearsalOutcome.PASSED:
        to.print(f"{ended.seconds:.1f} s; to do it for good, type exactly: {ended.plan.confirmation}")

"""Writes the captured values anew from real demo stations: `make captured`, some minutes.

Three stations are built one after another: all well, crash loop, and the incident, which is then recovered. What names
the machine is made neutral; nothing else is edited.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from console.probes.contents import JournalLine, JournalSample
from console.probes.sample import Sample
from console.probes.scheduler import read_once
from console.probes.station import station_probes
from console.records import to_json
from console.recovery.codes import StageState
from console.recovery.engine import Engine
from console.recovery.model import Outcome, Plan, Progress, RunResult
from console.recovery.rehearsal.model import RehearsalOutcome
from console.recovery.rehearsal.rehearsing import rehearse
from console.station.build import Station, station
from console.station.layout import ORDERBOOK, TRADES
from console.station.scenario import Scenario

_HERE: Final = Path(__file__).parent
_SAMPLES: Final = ("server", "tables", "crashes", "services", "backlog", "journal")
_DIGESTS: Final = frozenset({"stamp", "stamps", "world"})  # of this boot and of the files: nothing shows them
_LISTED = 4  # of each segment's transactions: nobody scrolls through more in a test
_LOOKS, _PAUSE = 8, 2.0  # as often as the console looks: rates and histories come from that
_STATIONS = 3  # that are tried: a run that fails on a busy machine brings no values


class _FailedRunError(Exception):
    """A run that did not succeed: a station of its own tries again."""


def main() -> None:
    """Capture all scenes."""
    with _built(Scenario.HEALTHY) as (well, names):
        _write("healthy", _samples(well), names)
    with _built(Scenario.CRASH_LOOP) as (crashing, names):
        time.sleep(30)  # until there is a loop to see
        _write("crash_loop", _samples(crashing), names)
    for number in range(1, _STATIONS + 1):
        try:
            with _built(Scenario.INCIDENT) as (broken, names):
                scenes = {"incident": _samples(broken), "recovery": _recovery(broken)}
                for scene, values in scenes.items():
                    _write(scene, values, names)
            return
        except _FailedRunError as failed:
            _say(f"station {number} of {_STATIONS}: {failed}")
    raise SystemExit("no recovery was captured: its values stay as they are")


@contextlib.contextmanager
def _built(scenario: Scenario) -> Iterator[tuple[Station, Mapping[str, str]]]:
    """Yield a station of a scenario, and what its names are replaced by."""
    with (
        tempfile.TemporaryDirectory(prefix="captured-") as folder,
        station(scenario, directory=Path(folder) / "station", say=_say) as made,
    ):
        layout = made.layout
        yield (
            made,
            {
                str(layout.data_root): "/srv/questdb/hot",
                str(layout.state_dir): "/var/lib/walmedic",
                str(layout.settings_file): "/etc/walmedic.toml",
                str(layout.directory): "/srv/station",
                f"127.0.0.1:{layout.pg_port}": "127.0.0.1:8812",
                f"127.0.0.1:{layout.redis_port}": "127.0.0.1:6379",
                socket.gethostname(): "trading-01",
                json.dumps(made.settings().station): json.dumps("ai-trading-station"),
            },
        )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _write(scene: str, values: Mapping[str, Any], names: Mapping[str, str]) -> None:
    text = json.dumps(to_json(values), ensure_ascii=False, indent=1)
    for ours, neutral in names.items():
        text = text.replace(ours, neutral)
    (_HERE / f"{scene}.json").write_text(text + "\n", encoding="utf-8")
    _say(f"{scene}: {len(text):,} bytes")


def _samples(built: Station) -> dict[str, Any]:
    """Return what the probes bring after some looks; of a server that does not answer why."""
    found = asyncio.run(_looked(built))
    scene: dict[str, Any] = {name: _rounded(to_json(found[name].data)) for name in _SAMPLES if found[name].data}
    if found["server"].data is None:
        scene["server_error"] = found["server"].error
    for table in scene["tables"]["tables"]:
        for segment in table["waiting"]:
            del segment["listed"][_LISTED:]
    return {"at": round(time.time(), 3), **scene}


async def _looked(built: Station) -> dict[str, Sample[Any]]:
    probes = station_probes(built.settings())
    for _ in range(_LOOKS):
        found = {probe.name: await read_once(probe) for probe in probes}
        await asyncio.sleep(_PAUSE)
    for probe in probes:
        await probe.close()
    return found


def _rounded(value: Any) -> Any:
    """Return seconds and rates to the thousandth, as anybody reads them."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def _recovery(built: Station) -> dict[str, Any]:
    """Recover the station; on the way rehearse, undo, and cut one run off.

    Raises _FailedRunError for the first that does not succeed: those after it would be refused.
    """
    engine, progress = Engine(built.settings()), list[Progress]()
    for action in ("freeze-writer", "stop-server", "capture-evidence"):
        _run(engine, action, None)
    planned = engine.plan("restore-sequencer", ORDERBOOK)  # before its rehearsal: the screens urge one
    rehearsed = rehearse(
        engine, "restore-sequencer", ORDERBOOK, on_progress=lambda each: progress.append(replace(each, at=time.time()))
    )
    if rehearsed.outcome is not RehearsalOutcome.PASSED:
        raise _FailedRunError(f"the rehearsal {rehearsed.outcome}: {rehearsed.message}")
    _, restored = _run(engine, "restore-sequencer", ORDERBOOK)
    undo = engine.plan_undo(restored.entry)
    done_entry, done_line = engine.journal.entry(restored.entry), _journal_line(built, restored.entry)
    undone = _done(engine.undo(restored.entry, undo.confirmation))
    _killed_as_it_checks(engine)
    (cut_off,) = engine.unfinished()
    _done(engine.finish(cut_off.id))
    for action, table in (("rebuild-sequencer", TRADES), ("start-server", None), ("thaw-writer", None)):
        _run(engine, action, table)
    journal = _journal(built)
    kept = tuple(
        done_line if line.entry == restored.entry else line
        for line in journal.lines
        if line.entry not in (cut_off.id, undone.entry)
    )
    return {
        "rehearsed": replace(rehearsed, plan=_shown(rehearsed.plan)),
        "rehearsal_progress": _thinned(progress),
        "restore_plan": _shown(planned),
        "restore_result": restored,
        "journal": replace(journal, lines=kept),
        "entry": _neutral(cut_off),
        "done_entry": _neutral(done_entry),
        "undo": _shown(undo),
        "undone": undone,
    }


def _journal(built: Station) -> JournalSample:
    """Return the journal as its pane shows it."""
    (probe,) = (each for each in station_probes(built.settings()) if each.name == "journal")
    data: JournalSample | None = asyncio.run(read_once(probe)).data
    assert data is not None
    return data


def _journal_line(built: Station, entry: str) -> JournalLine:
    """Return the journal's line of an entry as it is now: an undo marks it later."""
    return next(line for line in _journal(built).lines if line.entry == entry)


def _run(engine: Engine, action: str, table: str | None) -> tuple[Plan, RunResult]:
    plan = engine.plan(action, table)
    sys.argv = _command(plan)
    result = engine.run(plan, plan.confirmation)
    _say(f"{action} {table or ''}: {result.outcome}, {result.message}")
    return plan, _done(result)


def _done(result: RunResult) -> RunResult:
    """Return the result of a run that succeeded. Raises _FailedRunError for any other."""
    if result.outcome is not Outcome.DONE:
        raise _FailedRunError(f"entry {result.entry} {result.outcome}: {result.message}")
    return result


def _command(plan: Plan) -> list[str]:
    target = [plan.table] if plan.table else []
    return ["walmedic", "run", plan.action, *target, "--plan", plan.plan_id, "--confirm", plan.confirmation, "--json"]


def _killed_as_it_checks(engine: Engine) -> None:
    child = os.fork()
    if child == 0:

        def kill(progress: Progress) -> None:
            if progress.stage == "check" and progress.state == StageState.BEGINS:
                os.kill(os.getpid(), signal.SIGKILL)

        plan = engine.plan("restore-sequencer", ORDERBOOK)
        sys.argv = _command(plan)
        engine.run(plan, plan.confirmation, kill)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit("the run was not cut off")


def _shown(plan: Plan) -> Plan:
    """Return what the screens show of a plan: parameters are the executor's."""
    return replace(plan, stages=tuple(replace(stage, parameters={}) for stage in plan.stages))


def _thinned(reports: list[Progress]) -> list[Progress]:
    """Return a report of each change of a stage's state: while it goes on, a stage reports many times."""
    kept: list[Progress] = []
    states: dict[str, str] = {}
    for each in reports:
        if states.get(each.stage) != each.state:
            kept.append(each)
        states[each.stage] = each.state
    return kept


def _neutral(entry: Any) -> Any:
    """Return an entry with a terminal, and without the digests, of which nothing else is captured."""
    return replace(
        entry,
        events=tuple(
            replace(
                each,
                digest=each.digest[:8],
                data={
                    name: "/dev/pts/3" if name == "terminal" else value
                    for name, value in each.data.items()
                    if name not in _DIGESTS
                },
            )
            for each in entry.events
        ),
    )


if __name__ == "__main__":
    main()

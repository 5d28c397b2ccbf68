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

from console.probes.sample import JournalSample, Sample
from console.probes.scheduler import read_once
from console.probes.station import station_probes
from console.records import to_json
from console.recovery.codes import StageState
from console.recovery.engine import Engine
from console.recovery.model import Plan, Progress, RunResult
from console.recovery.rehearsal.rehearsing import rehearse
from console.station.build import Station, station
from console.station.layout import ORDERBOOK, TRADES
from console.station.scenario import Scenario

_HERE: Final = Path(__file__).parent
_SAMPLES: Final = ("server", "tables", "crashes", "services", "backlog", "journal")
_LISTED = 4  # of each segment's transactions: nobody scrolls through more in a test
_LOOKS, _PAUSE = 8, 2.0  # as often as the console looks: rates and histories come from that


def main() -> None:
    """Capture all scenes."""
    with _built(Scenario.HEALTHY) as (well, names):
        _write("healthy", _samples(well), names)
    with _built(Scenario.CRASH_LOOP) as (crashing, names):
        time.sleep(30)  # until there is a loop to see
        _write("crash_loop", _samples(crashing), names)
    with _built(Scenario.INCIDENT) as (broken, names):
        _write("incident", _samples(broken), names)
        _write("recovery", _recovery(broken), names)


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
    """Recover the station; on the way rehearse, undo, and cut one run off."""
    engine, told = Engine(built.settings()), list[Progress]()
    for action in ("freeze-writer", "stop-server", "capture-evidence"):
        _run(engine, action, None)
    rehearsed = rehearse(
        engine, "restore-sequencer", ORDERBOOK, on_progress=lambda each: told.append(replace(each, at=time.time()))
    )
    first, restored = _run(engine, "restore-sequencer", ORDERBOOK)
    undo = engine.plan_undo(restored.entry)
    done_entry = engine.journal.entry(restored.entry)
    undone = engine.undo(restored.entry, undo.confirmation)
    _killed_as_it_checks(engine)
    (cut_off,) = engine.unfinished()
    engine.finish(cut_off.id)
    for action, table in (("rebuild-sequencer", TRADES), ("start-server", None), ("thaw-writer", None)):
        _run(engine, action, table)
    journal: JournalSample | None = asyncio.run(_looked(built))["journal"].data
    assert journal is not None
    kept = tuple(line for line in journal.lines if line.entry not in (restored.entry, undone.entry))
    return {
        "rehearsed": replace(rehearsed, plan=_shown(rehearsed.plan)),
        "rehearsal_told": _thinned(told),
        "restore_plan": _shown(first),
        "restore_result": restored,
        "journal": replace(journal, lines=kept),
        "entry": _neutral(cut_off),
        "done_entry": _neutral(done_entry),
        "undo": _shown(undo),
        "undone": undone,
    }


def _run(engine: Engine, action: str, table: str | None) -> tuple[Plan, RunResult]:
    plan = engine.plan(action, table)
    sys.argv = _command(plan)
    result = engine.run(plan, plan.confirmation)
    _say(f"{action} {table or ''}: {result.outcome}, {result.message}")
    return plan, result


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


def _thinned(told: list[Progress]) -> list[Progress]:
    """Return the first of what goes on in each stage: it is told many times."""
    first: dict[tuple[str, str], Progress] = {}
    for each in told:
        first.setdefault((each.stage, each.state), each)
    return list(first.values())


def _neutral(entry: Any) -> Any:
    """Return an entry with a terminal, and without the digests, of which nothing else is captured."""
    return replace(
        entry,
        events=tuple(
            replace(
                each,
                digest=each.digest[:8],
                data={**each.data, **({"terminal": "/dev/pts/3"} if "terminal" in each.data else {})},
            )
            for each in entry.events
        ),
    )


if __name__ == "__main__":
    main()

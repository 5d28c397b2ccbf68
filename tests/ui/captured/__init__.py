"""What the probes and the engine brought from real demo stations, made neutral and never edited: `make captured`."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from console.diagnosis.model import DatabaseReport
from console.probes.contents import BacklogSample, CrashesSample, JournalSample, ServerSample, ServicesSample
from console.records import of_json
from console.recovery.model import Plan, Progress, RunResult
from console.recovery.rehearsal.model import Rehearsal
from console.recovery.store.journal import Entry

T = TypeVar("T")


@cache
def _scene(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_bytes())
    return found


def _of(scene: str, name: str, kind: type[T]) -> T:
    return of_json(kind, _scene(scene)[name])


CRASH_LOOP_AT: Final = _of("crash_loop", "at", float)
CRASH_LOOP_SERVER_ERROR: Final = _of("crash_loop", "server_error", str)
CRASH_LOOP_BACKLOG: Final = _of("crash_loop", "backlog", BacklogSample)
CRASH_LOOP_CRASHES: Final = _of("crash_loop", "crashes", CrashesSample)
CRASH_LOOP_JOURNAL: Final = _of("crash_loop", "journal", JournalSample)
CRASH_LOOP_SERVICES: Final = _of("crash_loop", "services", ServicesSample)
CRASH_LOOP_TABLES: Final = _of("crash_loop", "tables", DatabaseReport)

HEALTHY_AT: Final = _of("healthy", "at", float)
HEALTHY_BACKLOG: Final = _of("healthy", "backlog", BacklogSample)
HEALTHY_CRASHES: Final = _of("healthy", "crashes", CrashesSample)
HEALTHY_JOURNAL: Final = _of("healthy", "journal", JournalSample)
HEALTHY_SERVER: Final = _of("healthy", "server", ServerSample)
HEALTHY_SERVICES: Final = _of("healthy", "services", ServicesSample)
HEALTHY_TABLES: Final = _of("healthy", "tables", DatabaseReport)

INCIDENT_AT: Final = _of("incident", "at", float)
INCIDENT_BACKLOG: Final = _of("incident", "backlog", BacklogSample)
INCIDENT_CRASHES: Final = _of("incident", "crashes", CrashesSample)
INCIDENT_JOURNAL: Final = _of("incident", "journal", JournalSample)
INCIDENT_SERVER: Final = _of("incident", "server", ServerSample)
INCIDENT_SERVICES: Final = _of("incident", "services", ServicesSample)
INCIDENT_TABLES: Final = _of("incident", "tables", DatabaseReport)

REHEARSED: Final = _of("recovery", "rehearsed", Rehearsal)
REHEARSAL_PROGRESS: Final = _of("recovery", "rehearsal_progress", tuple[Progress, ...])
RESTORE_PLAN: Final = _of("recovery", "restore_plan", Plan)
RESTORE_RESULT: Final = _of("recovery", "restore_result", RunResult)
RECOVERED_JOURNAL: Final = _of("recovery", "journal", JournalSample)
ENTRY: Final = _of("recovery", "entry", Entry)
DONE_ENTRY: Final = _of("recovery", "done_entry", Entry)
UNDO: Final = _of("recovery", "undo", Plan)
UNDONE: Final = _of("recovery", "undone", RunResult)

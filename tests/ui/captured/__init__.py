"""What the probes and the engine brought from real demo stations; paths, names and ports made neutral, never edited."""

from tests.ui.captured.crash_loop import (
    CRASH_LOOP_AT,
    CRASH_LOOP_BACKLOG,
    CRASH_LOOP_CRASHES,
    CRASH_LOOP_JOURNAL,
    CRASH_LOOP_SERVER_ERROR,
    CRASH_LOOP_SERVICES,
    CRASH_LOOP_TABLES,
)
from tests.ui.captured.healthy import (
    HEALTHY_AT,
    HEALTHY_BACKLOG,
    HEALTHY_CRASHES,
    HEALTHY_JOURNAL,
    HEALTHY_SERVER,
    HEALTHY_SERVICES,
    HEALTHY_TABLES,
)
from tests.ui.captured.incident import (
    INCIDENT_AT,
    INCIDENT_BACKLOG,
    INCIDENT_CRASHES,
    INCIDENT_JOURNAL,
    INCIDENT_SERVER,
    INCIDENT_SERVICES,
    INCIDENT_TABLES,
)
from tests.ui.captured.rehearsal import REHEARSAL_TOLD, REHEARSED
from tests.ui.captured.restoring import RECOVERED_JOURNAL, RESTORE_PLAN, RESTORE_RESULT
from tests.ui.captured.undoing import DONE_ENTRY, ENTRY, UNDO, UNDONE

__all__ = [
    "CRASH_LOOP_AT",
    "CRASH_LOOP_BACKLOG",
    "CRASH_LOOP_CRASHES",
    "CRASH_LOOP_JOURNAL",
    "CRASH_LOOP_SERVER_ERROR",
    "CRASH_LOOP_SERVICES",
    "CRASH_LOOP_TABLES",
    "DONE_ENTRY",
    "ENTRY",
    "HEALTHY_AT",
    "HEALTHY_BACKLOG",
    "HEALTHY_CRASHES",
    "HEALTHY_JOURNAL",
    "HEALTHY_SERVER",
    "HEALTHY_SERVICES",
    "HEALTHY_TABLES",
    "INCIDENT_AT",
    "INCIDENT_BACKLOG",
    "INCIDENT_CRASHES",
    "INCIDENT_JOURNAL",
    "INCIDENT_SERVER",
    "INCIDENT_SERVICES",
    "INCIDENT_TABLES",
    "RECOVERED_JOURNAL",
    "REHEARSAL_TOLD",
    "REHEARSED",
    "RESTORE_PLAN",
    "RESTORE_RESULT",
    "UNDO",
    "UNDONE",
]

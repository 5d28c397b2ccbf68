"""What the screens of timeline and bundle ask of `console.reporting`."""

from pathlib import Path

from console.recovery.store.state import StateDir
from console.redaction import Redactor
from console.reporting.bundle import Bundle, Written, place_for, prepare, write
from console.reporting.incident import Incident, read_incident
from console.reporting.output import write_new
from console.reporting.private import redacted, redactor_for
from console.reporting.report import file_name, report
from console.settings import Settings


class StationDesk:
    """Reads the incident, writes what leaves the machine. Every call may take seconds: from a thread only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redactor = Redactor(private=False)

    def incident(self) -> Incident:
        known = read_incident(self._settings)
        self._redactor = redactor_for(known, private=False)
        return redacted(known, self._redactor)

    def report(self, incident: Incident) -> str:
        return report(incident, self._redactor)

    def save_report(self, incident: Incident) -> Path:
        state = StateDir(self._settings.state_path)
        folder = state.made(state.root / "reports")
        return write_new(folder / file_name(incident), self.report(incident).encode(), incident.database)

    def bundle(self) -> Bundle:
        return prepare(self._settings)

    def save_bundle(self, bundle: Bundle) -> Written:
        return write(bundle, place_for(bundle, self._settings, None))

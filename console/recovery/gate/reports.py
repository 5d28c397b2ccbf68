"""Table reports from disk for plans: the diagnosis layer, asked once per table and context."""

from console.diagnosis.database import HistoryOf, diagnose_table
from console.diagnosis.model import TableReport
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot


class DiskReports:
    """Diagnoses tables of one database from disk and remembers each report."""

    def __init__(self, database: DatabaseRoot, history: HistoryOf | None = None) -> None:
        self._database, self._history = database, history
        self._reports: dict[str, TableReport | None] = {}

    def of_table(self, table: str) -> TableReport | None:
        """Return the report of a table, None where it cannot be made."""
        if table not in self._reports:
            self._reports[table] = self._made(table)
        return self._reports[table]

    def _made(self, table: str) -> TableReport | None:
        try:
            return diagnose_table(self._database, self._database.table(table), self._history)
        except WalmedicError:
            return None

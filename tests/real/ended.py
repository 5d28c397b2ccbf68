"""How a table ended that was struck and repaired: the rows of its undamaged twin beside those that the server shows."""

import time
from collections import Counter
from dataclasses import dataclass, field

from console.recovery.model import Outcome, RowsLost
from console.recovery.server.private_server import PrivateServer

Rows = Counter[tuple[str, str]]
"""Rows by their id and by all of their values."""


@dataclass(kw_only=True)
class Ended:
    """The outcome of the last repair (None: none was planned), the twin's rows and ids, and what was found."""

    outcome: Outcome | None
    truth: Rows
    ids: set[str]
    found: Rows = field(default_factory=Counter)
    error: str = ""

    @property
    def repaired(self) -> bool:
        """Whether the repair ended well: only then does a server meet the table."""
        return self.outcome in (Outcome.DONE, Outcome.NOT_NEEDED)

    @property
    def lost(self) -> int:
        """Rows of the twin that are not there, or are there with other values."""
        return sum((self.truth - self.found).values())

    @property
    def extra(self) -> int:
        """Rows that the twin does not have."""
        return sum((self.found - self.truth).values())

    def hold_ids(self) -> None:
        """Assert that no row is another table's, and that none is there twice."""
        ids = Counter(row[0] for row in self.found.elements())
        assert set(ids) <= self.ids, f"foreign {sorted(set(ids) - self.ids)[:5]}: {self}"
        assert not ids or max(ids.values()) == 1, f"twice {[i for i, n in ids.items() if n > 1][:5]}: {self}"

    def hold_loss(self, announced: RowsLost) -> None:
        """Assert that what is lost is what was announced."""
        if announced.kind == "exact":
            assert self.lost == announced.value, self
        elif announced.kind == "bound":
            assert self.lost <= (announced.value or 0), self


def not_applied(server: PrivateServer) -> set[str]:
    """Wait until nothing is applied any more; return the tables that are not suspended, and yet not applied to the end.

    What stands still for ten seconds stands.
    """
    wanted = "SELECT name, writerTxn FROM wal_tables() WHERE NOT suspended AND writerTxn < sequencerTxn ORDER BY name"
    before, since = server.query(wanted), time.monotonic()
    while before and time.monotonic() < since + 10:
        time.sleep(0.1)
        now = server.query(wanted)
        if now != before:
            before, since = now, time.monotonic()
    return {str(row[0]) for row in before}

"""Looking after a station without a screen: its probes, how it stands, and when that is news."""

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.errors import WalmedicError
from console.probes.headline import Alarm, Headline, headline
from console.probes.sample import Sample
from console.probes.state import StationState
from console.questdb.layout import DatabaseRoot
from console.recovery.evidence.index import EvidenceIndex
from console.recovery.guard.state import read_state
from console.recovery.store.journal import Journal
from console.recovery.store.places import root_key
from console.recovery.store.state import StateDir
from console.settings import Settings

_STEADY = 2
"""How often in a row the station must be found so before that is news: a restart is none."""


@dataclass(slots=True)
class Watched:
    """One station as it is seen. `on_news` is called with the alarm before and now, once for each lasting change."""

    settings: Settings
    on_news: Callable[[Alarm | None, Headline], None]
    state: StationState = field(default_factory=StationState)
    told: Alarm | None = None
    _seen: list[Alarm] = field(default_factory=list)

    def take(self, sample: Sample[Any]) -> None:
        self.state = self.state.taking(sample)

    def look(self, steady: int = _STEADY) -> Headline:
        """Return how the station stands now; tell it if it was found so `steady` times and that is new.

        Only what is broken, and the end of that, is told: not the start of a healthy station.
        """
        now = headline(self.state, self.settings, None, asked=False, now=time.time(), monotonic=time.monotonic())
        self._seen = [*self._seen[1 - steady :], now.alarm] if steady > 1 else [now.alarm]
        lasting = len(self._seen) >= steady and len(set(self._seen)) == 1
        if lasting and now.alarm is not self.told:
            if Alarm.BAD in (now.alarm, self.told):
                self.on_news(self.told, now)
            self.told = now.alarm
        return now

    def ages(self) -> dict[str, float | None]:
        """Return the seconds since evidence was captured last, and since the guard's last round; None: never."""
        guard = read_state(self.settings.guard_path)
        return {"evidence": self._evidence_age(), "guard": time.time() - guard.at if guard is not None else None}

    def _evidence_age(self) -> float | None:
        try:
            database = DatabaseRoot.locate(Path(self.settings.questdb.db_root))
            state = StateDir(self.settings.state_path)
            captures = EvidenceIndex(state, root_key(database.db), Journal(state)).captures()
            at = datetime.datetime.fromisoformat(captures[-1].at).timestamp() if captures else None
        except (WalmedicError, OSError, ValueError):
            return None
        return time.time() - at if at is not None else None

"""Telling how far a rehearsal is, in the words and shape of the executor's progress."""

from collections.abc import Callable

from console.recovery.codes import StageState
from console.recovery.model import Progress
from console.text import clean_line

OnProgress = Callable[[Progress], None]


class Reporter:
    """Tells stages of one rehearsal to a callback."""

    def __init__(self, rehearsal: str, on_progress: OnProgress | None) -> None:
        self._rehearsal = rehearsal
        self._on_progress = on_progress
        self._titles: dict[str, str] = {}

    def begins(self, stage: str, title: str) -> None:
        self._titles[stage] = title
        self._report(stage, StageState.BEGINS)

    def goes_on(self, stage: str, message: str, done: int | None = None, total: int | None = None) -> None:
        """A stage moves on; sizes in bytes or counts, as the message says."""
        self._report(stage, StageState.GOES_ON, message, done, total)

    def done(self, stage: str, message: str = "") -> None:
        self._report(stage, StageState.DONE, message)

    def forward(self, progress: Progress) -> None:
        self._titles.setdefault(progress.stage, progress.title)
        self._report(progress.stage, progress.state, progress.message, progress.done, progress.total)

    def _report(
        self, stage: str, state: str, message: str = "", done: int | None = None, total: int | None = None
    ) -> None:
        if self._on_progress is not None:
            title = self._titles.get(stage, stage)
            self._on_progress(
                Progress(self._rehearsal, stage, clean_line(title), state, clean_line(message), done, total)
            )

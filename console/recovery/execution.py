"""Carrying a plan out, stage by stage: a journal event, synced, before each; back again where one fails."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.errors import WalmedicError
from console.records import to_json
from console.recovery.codes import StageState
from console.recovery.gate.registry import action_module
from console.recovery.model import (
    Claim,
    Outcome,
    Progress,
    RunResult,
    Stage,
    failed_in_words,
    proven_in_words,
    sentence,
)
from console.recovery.steps.steps import RunContext, Step, step_named
from console.recovery.store.journal import Journal, JournalError
from console.text import clean_line

OnProgress = Callable[[Progress], None]
_LEAST_PAUSE = 0.1  # seconds between two progress lines of one stage


class ProgressLog:
    """Progress as a JSON-lines file in the entry's folder, for whoever watches, and to a callback."""

    def __init__(self, entry: str, folder: Path, on_progress: OnProgress | None) -> None:
        self._entry = entry
        self._path = folder / "progress.jsonl"
        self._on_progress = on_progress
        self._last = 0.0

    def notify(
        self, stage: Stage, state: str, message: str = "", done: int | None = None, total: int | None = None
    ) -> None:
        """Tell where a stage is. A line that cannot be written is not an error of the action."""
        now = time.monotonic()
        if state == StageState.GOES_ON and now - self._last < _LEAST_PAUSE:
            return
        self._last = now
        progress = Progress(self._entry, stage.id, stage.title, state, clean_line(message), done, total)
        line = {
            "at": time.time(), "entry": progress.entry, "stage": progress.stage, "title": progress.title,
            "state": progress.state, "message": progress.message, "done": done, "total": total,
        }  # fmt: skip
        try:
            with open(self._path, "ab", opener=_private) as stream:
                stream.write(json.dumps(line).encode() + b"\n")
        except OSError:
            pass
        if self._on_progress is not None:
            self._on_progress(progress)


def verification_progress(on_progress: OnProgress | None) -> Callable[[int, int], None]:
    """Return what tells how much of the evidence has been read before a run rests on it."""
    last = 0.0

    def notify(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if on_progress is not None and (done >= total or now - last >= _LEAST_PAUSE):
            last = now
            state = StageState.DONE if done >= total else StageState.GOES_ON
            on_progress(
                Progress("", "evidence", "verify the evidence", state, f"{done:,} of {total:,} bytes", done, total)
            )

    return notify


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Executor:
    """Carries out, finishes or takes back the stages of one entry; the caller holds the locks and judged the policy."""

    def __init__(
        self, journal: Journal, run: RunContext, steps: Sequence[Step], on_progress: OnProgress | None
    ) -> None:
        self._journal = journal
        self._run = run
        self._steps = steps
        self._log = ProgressLog(run.entry, run.folder, on_progress)

    def perform(self, done: frozenset[str]) -> None:
        """Carry out all stages but those of `done`. Raises what a step raised, after journalling it."""
        for stage in self._run.plan.stages:
            step = step_named(self._steps, stage.step)
            if stage.id in done and not step.repeat:
                continue
            self._event("stage", stage, StageState.BEGINS)
            self._log.notify(stage, StageState.BEGINS)
            self._listen(stage)
            try:
                step.perform(stage, self._run)
            except (WalmedicError, OSError) as error:
                self._log.notify(stage, StageState.FAILED, sentence(error))
                self._event("stage", stage, StageState.FAILED, sentence(error))
                raise
            self._event("stage", stage, StageState.DONE)
            self._log.notify(stage, StageState.DONE)

    def reverse(self) -> None:
        """Take all stages back, last first, whether they were done, begun or neither. Raises what a step raised.

        A journal that cannot be written (a full disk) does not keep the files from going back; the outcome will tell.
        """
        for stage in reversed(self._run.plan.stages):
            self._log.notify(stage, StageState.BEGINS, "taking it back")
            self._listen(stage)
            step_named(self._steps, stage.step).reverse(stage, self._run)
            with contextlib.suppress(JournalError):
                self._event("reversed", stage, StageState.DONE)
            self._log.notify(stage, StageState.DONE, "taken back")

    def verify(self) -> tuple[Claim, ...]:
        return (*self._run.claims, *action_module(self._run.plan.action).verify(self._run.plan, self._run))

    def _listen(self, stage: Stage) -> None:
        self._run.report = lambda message, done, total: self._log.notify(
            stage, StageState.GOES_ON, message, done, total
        )
        self._run.asks = lambda sentence: self._log.notify(stage, StageState.ASKS, sentence)

    def _event(self, kind: str, stage: Stage, state: str, message: str = "") -> None:
        data = {"id": stage.id, "title": stage.title, "step": stage.step, "state": state}
        self._journal.append(self._run.entry, kind, {**data, "message": message} if message else data)


@dataclass(frozen=True, slots=True)
class Ended:
    """How the stages of an entry ended, in one sentence, and what was proven."""

    outcome: Outcome
    message: str
    claims: tuple[Claim, ...] = ()


def write_end(
    journal: Journal,
    entry: str,
    ended: Ended,
    *,
    before: Mapping[str, str],
    after: Mapping[str, str],
    promise: Mapping[str, Any] | None = None,
    restored: Mapping[str, str] | None = None,
    manifest: str = "",
) -> RunResult:
    """Journal how a run, an undo or a restore ended, and return it. There is no other place that writes an outcome.

    `before` and `after` are stamps of the table by directory; `promise` is what the table will hold once a server has
    applied all; `restored` are stamps of a state whose evidence counts again; `manifest` is the hash
    of the manifest that a capture wrote: evidence is known by it from then on.
    """
    data: dict[str, Any] = {
        "outcome": ended.outcome.value, "message": ended.message,
        "verification": to_json(ended.claims),
        "stamps_before": dict(before), "stamps_after": dict(after),
    }  # fmt: skip
    if promise is not None:
        data["promise"] = dict(promise)
    if restored is not None:
        data["restored"] = dict(restored)
    if manifest:
        data["manifest"] = manifest
    journal.append(entry, "outcome", data)
    return RunResult(entry, ended.outcome, ended.message, ended.claims)


def carry_out(journal: Journal, run: RunContext, done: frozenset[str], on_progress: OnProgress | None) -> Ended:
    """Carry out what is not `done` yet and prove it; where either fails, take everything back.

    The caller closes `run.keep`.
    """
    executor = Executor(journal, run, action_module(run.plan.action).STEPS, on_progress)
    claims: tuple[Claim, ...] = ()
    try:
        executor.perform(done)
        claims = executor.verify()
        failed = failed_in_words(claims)
        if not failed:
            return Ended(Outcome.DONE, proven_in_words(claims), claims)
        problem = f"not proven: {failed}"
    except (WalmedicError, OSError) as error:
        problem, claims = sentence(error), tuple(run.claims)
    except KeyboardInterrupt:
        problem, claims = "it was interrupted", tuple(run.claims)
    try:
        executor.reverse()
    except (WalmedicError, OSError) as error:
        message = f"{problem}; taking it back failed too: {sentence(error)}"
        return Ended(Outcome.FAILED, message, claims)
    return Ended(Outcome.ROLLED_BACK, problem, claims)

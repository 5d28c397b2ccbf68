"""Running an action in a process of its own that outlives the console and the operator's session.

Its output goes to files of the state directory, its progress to the entry's folder; a console that is started later
finds it by the journal.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from console.errors import WalmedicError
from console.recovery.engine import Engine
from console.recovery.journal import Entry
from console.recovery.model import Claim, Outcome, Plan, Progress, RunResult
from console.text import clean_line


class RunningAction:
    """An action in its own process, watched through files. `poll` and `result` never block."""

    def __init__(self, engine: Engine, plan_id: str, pid: int, folder: Path | None, entry: str = "") -> None:
        self._engine = engine
        self._plan_id = plan_id
        self.pid = pid
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.entry = entry
        self._read = 0

    def poll(self) -> list[Progress]:
        """Return what was told since the last call, oldest first."""
        entry = self._found()
        if entry is None:
            return []
        try:
            with (self._engine.state.entry(entry) / "progress.jsonl").open("rb") as stream:
                stream.seek(self._read)
                content = stream.read()
        except OSError:
            return []
        whole = content.rfind(b"\n") + 1
        self._read += whole
        told = []
        for line in content[:whole].splitlines():
            said: dict[str, Any] = json.loads(line)
            told.append(
                Progress(
                    said["entry"],
                    said["stage"],
                    said["title"],
                    said["state"],
                    said["message"],
                    said["done"],
                    said["total"],
                )
            )
        return told

    def result(self) -> RunResult | None:
        """Return how it ended, None while it goes on. A process that died leaves its entry unfinished."""
        if self.alive:
            return None
        entry = self._found()
        found = next((e for e in self._engine.journal.entries() if e.id == entry), None)
        if found is not None and found.outcome is not None:
            return _result(found)
        if found is not None:
            return RunResult(
                found.id,
                Outcome.UNFINISHED,
                "its process ended before it did",
                (),
                "run it again to finish it, or undo it",
            )
        return RunResult("", Outcome.REFUSED, self._said())

    @property
    def alive(self) -> bool:
        """Return whether its process still runs."""
        if self._process is not None:
            return self._process.poll() is None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return _is_walmedic(self.pid)

    def _found(self) -> str | None:
        if not self.entry:
            for entry in self._engine.journal.entries():
                if entry.intent.get("pid") == self.pid and entry.intent.get("plan") == self._plan_id:
                    self.entry = entry.id
        return self.entry or None

    def _said(self) -> str:
        if self._folder is None:
            return "it left no word"
        try:
            return clean_line(json.loads((self._folder / "stdout").read_bytes())["message"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        words = (self._folder / "stderr").read_text(errors="replace").strip().splitlines()
        return clean_line(words[-1]) if words else "it ended without a word"


def launch(engine: Engine, plan: Plan, phrase: str, *, undoes: str = "") -> RunningAction:
    """Start `plan` (or the undo of entry `undoes`) in a session of its own. Raises WalmedicError where it cannot be."""
    folder = engine.state.made(engine.state.root / "launches" / secrets.token_hex(6))
    what = (
        ["undo", undoes]
        if undoes
        else ["run", plan.action, *([plan.table] if plan.table else []), "--plan", plan.plan_id]
    )
    settings = engine.settings
    command = [
        *_own_scope(), sys.executable, "-m", "console", *what, "--confirm", phrase, "--json",
        "--db-root", str(engine.database.db), "--state-dir", str(engine.state.root),
        *(["--config", settings.file] if settings.file else []),
    ]  # fmt: skip
    try:
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, cwd="/"
            )
    except OSError as error:
        raise WalmedicError(f"{sys.executable} cannot be started ({error.strerror}); nothing was done") from error
    running = RunningAction(engine, plan.plan_id, process.pid, folder)
    running._process = process
    return running


def attach(engine: Engine) -> RunningAction | None:
    """Return the action that runs on this database, started by another console or a command line; None for none."""
    for entry in engine.unfinished():
        pid = int(entry.intent.get("pid", 0))
        if pid and engine.busy() and _is_walmedic(pid):
            return RunningAction(engine, str(entry.intent.get("plan", "")), pid, None, entry.id)
    return None


def _own_scope() -> list[str]:
    """Return the prefix that keeps systemd from ending the process with the operator's session."""
    tool = shutil.which("systemd-run")
    if tool is None or not Path("/run/systemd/system").is_dir():
        return []
    user = [] if os.geteuid() == 0 else ["--user"]
    if user and not Path(f"/run/user/{os.geteuid()}/bus").exists():
        return []
    return [tool, *user, "--scope", "--quiet", "--collect"]


def _is_walmedic(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"console" in words or b"walmedic" in words


def _result(entry: Entry) -> RunResult:
    outcome = entry.outcome or {}
    claims = tuple(Claim(c["claim"], c["expected"], c["found"], c["ok"]) for c in outcome.get("verification", ()))
    return RunResult(entry.id, Outcome(outcome["outcome"]), str(outcome.get("message", "")), claims)

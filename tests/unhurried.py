"""What plans and runs wait for because of a server that may live, left out where none does."""

import pytest

from console.diagnosis.server import liveness
from console.diagnosis.server.open_files import FileUsers
from console.questdb import reading
from console.recovery.gate import policy


def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server lives: it is not looked for before each of some hundred plans and runs, and what is damaged lasts."""
    monkeypatch.setattr(liveness, "_LOOK", 0.0)
    monkeypatch.setattr(policy, "users_of", lambda directory: FileUsers((), ()))
    monkeypatch.setattr(reading, "PAUSES", ())

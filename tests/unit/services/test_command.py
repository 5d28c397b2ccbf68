"""Programs that are run beside us: none of them is given the passwords of our environment."""

import pytest

from console.services.command import plain_environment, run


def test_no_password_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUESTDB_PASSWORD", "QUESTDB_READONLY_PASSWORD", "REDIS_PASSWORD"):
        monkeypatch.setenv(f"WALMEDIC_{name}", f"canary-{name}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    told = run(["env"], 10).output
    assert "canary" not in told
    assert "XDG_RUNTIME_DIR=/run/user/7" in told
    assert not any("canary" in value for value in plain_environment().values())

"""The console on a QuestDB that a person starts and stops: YOUR TURN is shown, and what was done is seen."""

import sys
from pathlib import Path

import pytest

from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import wait_until_applied
from tests.real.tmux_pane import PHRASE, Pane, has_title

pytestmark = pytest.mark.faults


def _asked(pane: Pane, action: str) -> str:
    """Confirm `action` by keys; return the screen on which the operator is asked."""
    pane.press("a")
    pane.until(lambda s: has_title(s, "actions"))
    pane.type(action)
    pane.until(lambda s: action in s)
    pane.press("Enter")
    found = PHRASE.search(pane.until(lambda s: PHRASE.search(s) is not None))
    assert found is not None
    pane.type(found[1].strip())
    pane.press("Enter")
    return pane.until(lambda s: "YOUR TURN" in s, 120)


def _proven(pane: Pane) -> None:
    pane.until(lambda s: "DONE AND VERIFIED" in s, 240)
    pane.press("Escape")
    pane.until(lambda s: has_title(s, "actions"))
    pane.press("Escape")
    pane.until(lambda s: "── tables " in s)


def test_a_server_is_stopped_and_started_by_hand(questdb: ServerBinary, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "station"
    root.mkdir()
    server = PrivateServer(root, questdb, http=True)
    server.start()
    try:
        server.query("create table t (ts timestamp, x long) timestamp(ts) partition by day wal")
        server.query("insert into t values (0, 1)")
        wait_until_applied(server)
        file = tmp_path / "walmedic.toml"
        file.write_text(
            f'station = "hand"\nstate_dir = "{tmp_path}/state"\n[questdb]\ndb_root = "{root}"\n'
            f"pg_port = {server.pg_port}\nhttp_port = {server.http_port}\n"
            f'jar = "{questdb.jar}"\njava = "{questdb.java}"\n'
            '[services]\nbackend = "by-hand"\n[[services.units]]\nname = "questdb"\nrole = "database"\n'
        )
        pane = Pane([sys.executable, "-m", "console", "--config", str(file)], tmp_path)
        try:
            pane.until(lambda s: "✓ healthy" in s)
            pane.press("o")
            pane.until(lambda s: "operate" in s.lower().replace("o operate", ""))
            pane.type("operate")
            pane.press("Enter")
            pane.until(lambda s: "OPERATE" in s.splitlines()[1])
            assert f"stop questdb now (pid {server.pid})" in _asked(pane, "stop-server")
            server.stop()
            _proven(pane)
            assert "start questdb now" in _asked(pane, "start-server")
            server.start()
            _proven(pane)
            pane.until(lambda s: "✓ healthy" in s)
        finally:
            pane.close()
        assert server.query("select count() from t") == [(1,)]
    finally:
        server.kill()

"""A real server, and walmedic beside it in namespaces of its own; the lock file is removed and made again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from console.diagnosis.server.liveness import Life, Proof, liveness
from console.questdb.layout import DatabaseRoot
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer, free_ports
from console.recovery.store.locks import server_is_down
from tests.real.generated_tables import wait_until_applied

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces")
_ELSEWHERE = ["unshare", "--pid", "--mount", "--fork", "--mount-proc"]


def _walmedic(root: Path, state: Path, *words: str) -> tuple[int, str]:
    """Run walmedic in namespaces of its own; return its exit code and all that it said."""
    place = ["--db-root", str(root), "--state-dir", str(state)]
    argv = [*_ELSEWHERE, sys.executable, "-m", "console", *words, *place, "--detailed-exitcode"]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    return ended.returncode, ended.stdout + ended.stderr


def _refused(root: Path, state: Path, *words: str) -> set[str]:
    code, said = _walmedic(root, state, "plan", *words, "--json")
    assert code == 8, said
    return {refusal["code"] for refusal in json.loads(said)["refused"]}


def test_no_namespace_and_no_new_lock_file_hides_a_living_server(questdb: ServerBinary, tmp_path: Path) -> None:
    root, state = tmp_path.resolve() / "station", tmp_path / "state"
    root.mkdir()
    with PrivateServer(root, questdb) as server:
        server.query("create table t (ts timestamp, x long) timestamp(ts) partition by day wal")
        server.query("insert into t values (0, 1)")
        wait_until_applied(server)
        database = DatabaseRoot.locate(root)
        for proof in (Proof.LOCK, Proof.TABLE_LOCKS):
            found = liveness(database.db)
            assert (found.life, found.proof, found.pids) == (Life.ALIVE, proof, (server.pid,))
            assert server_is_down(database.db) is False
            assert "QuestDB is running on it" in _walmedic(root, state, "doctor")[1]
            assert "server-alive" in _refused(root, state, "repair-log", "t")
            assert "server-alive" in _refused(root, state, "rebuild-sequencer", "t")
            database.lock.unlink()  # idle from here on: nothing of it moves
            database.lock.touch()
        for lock in database.db.glob("*.lock"):
            lock.unlink()
        database.lock.touch()
        assert liveness(database.db).proof is Proof.FILES
        server.kill()
    assert liveness(database.db).life is Life.DOWN
    assert "it cannot be known whether QuestDB is running on it" in _walmedic(root, state, "doctor")[1]
    for number in range(2):  # a start makes its locks anew, and all is known again
        with PrivateServer(root, questdb) as server:
            assert liveness(database.db).life is Life.ALIVE
            server.kill()
        assert ("no QuestDB is running on it" in _walmedic(root, state, "doctor")[1]) or not number


def _asked(root: Path, folder: Path, pg_port: int, http_port: int) -> set[str]:
    """Return why a repair is refused, planned out of sight of the server, whose ports the settings name."""
    config = folder / "walmedic.toml"
    ports = f"pg_port = {pg_port}\nhttp_port = {http_port}\n"
    config.write_text(f'state_dir = "{folder}/asked"\n[questdb]\ndb_root = "{root}"\n{ports}')
    argv = [*_ELSEWHERE, sys.executable, "-m", "console", "plan", "repair-log", "t", "--json", "--config", str(config)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    return {refusal["code"] for refusal in json.loads(ended.stdout)["refused"]}


@pytest.mark.parametrize("other", [False, True], ids=["its own port", "another database's port"])
def test_a_hidden_server_with_new_lock_files_is_found_by_its_answer(
    questdb: ServerBinary, tmp_path: Path, other: bool
) -> None:
    """Its lock files are made again, with the time of the old ones, so that nothing on disk shows it."""
    folder = tmp_path.resolve()
    root, served = folder / "station", folder / ("elsewhere" if other else "station")
    for each in {root, served}:
        each.mkdir()
    closed = free_ports(1)[0]
    if other:
        with PrivateServer(root, questdb) as server:
            server.query("create table t (ts timestamp, x long) timestamp(ts) partition by day wal")
    with PrivateServer(served, questdb, http=True) as server:
        if not other:
            server.query("create table t (ts timestamp, x long) timestamp(ts) partition by day wal")
            for lock in (root / "db").glob("*.lock"):
                lock.unlink()
        lock = DatabaseRoot.locate(root).lock
        lock.touch()
        os.utime(lock, (1, 1))
        assert ("server-alive" in _asked(root, folder, server.pg_port, closed)) is not other
        assert ("server-alive" in _asked(root, folder, closed, server.http_port)) is not other
        assert "server-alive" not in _asked(root, folder, closed, closed)

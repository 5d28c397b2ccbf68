"""Whether a server lives: seen through locks that were made again, and from within another pid namespace."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.diagnosis.server.liveness import Doubt, Life, Proof, exclusive_holders, liveness
from console.recovery.store.locks import LockedError, ServerLock, server_is_down
from tests.other_user import CHECKOUT, USER, for_others

_HOLD = """
import fcntl, sys, time
held = [open(path) for path in sys.argv[1:]]
for each in held:
    fcntl.flock(each, fcntl.LOCK_EX)
print(flush=True)
time.sleep(120)
"""
_ASK = """
import json, sys
from pathlib import Path
from console.diagnosis.server.liveness import liveness
from console.recovery.store.locks import server_is_down
found = liveness(Path(sys.argv[1]))
proof, doubt = found.proof and found.proof.name, found.doubt and found.doubt.name
print(json.dumps([found.life.name, proof, doubt, server_is_down(Path(sys.argv[1])), found.sentence]))
"""


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """The locks of a database as a server makes them, in its order."""
    db = tmp_path / "db"
    db.mkdir()
    for name in ("tables.d.lock", "sys.text_import_log.lock", "_query_trace.lock"):
        (db / name).touch()
        time.sleep(0.01)
    return db


@pytest.fixture
def holder(db: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds them all, as a server does."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, *map(str, db.glob("*.lock"))], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def elsewhere(db: Path) -> tuple[str, str | None, str | None, bool | None, str]:
    """Ask from within a pid and a mount namespace of its own, as from a container beside the server's."""
    inside = ["unshare", "--pid", "--mount", "--fork", "--mount-proc"] if os.geteuid() == 0 else []
    if not inside:
        pytest.skip("only root makes namespaces")
    argv = [*inside, sys.executable, "-c", _ASK, str(db)]
    life, proof, doubt, down, said = json.loads(
        subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout
    )
    return life, proof, doubt, down, said


def made_again(lock: Path) -> None:
    lock.unlink()
    time.sleep(0.01)
    lock.touch()


def test_the_lock_is_seen_from_here_and_from_another_namespace(db: Path, holder: "subprocess.Popen[bytes]") -> None:
    found = liveness(db)
    assert (found.life, found.proof, found.pids) == (Life.ALIVE, Proof.LOCK, (holder.pid,))
    assert f"(pid {holder.pid})" in found.sentence
    assert elsewhere(db)[:4] == ("ALIVE", "LOCK", None, False)
    holder.kill()
    holder.wait()
    assert liveness(db).life is Life.DOWN
    assert elsewhere(db)[:4] == ("DOWN", None, None, True)
    assert sorted(path.name for path in db.iterdir()) == [
        "_query_trace.lock", "sys.text_import_log.lock", "tables.d.lock",
    ]  # fmt: skip


def test_a_lock_that_was_made_again_hides_no_server(db: Path, holder: "subprocess.Popen[bytes]") -> None:
    made_again(db / "tables.d.lock")
    found = liveness(db)
    assert (found.life, found.proof, found.pids) == (Life.ALIVE, Proof.TABLE_LOCKS, (holder.pid,))
    assert server_is_down(db) is False
    with pytest.raises(LockedError, match="QuestDB is running on it"):
        ServerLock(db).acquire()
    assert elsewhere(db)[:4] == ("ALIVE", "TABLE_LOCKS", None, False)
    holder.kill()
    holder.wait()
    assert liveness(db).life is Life.DOWN  # and the operator who made it again is not stopped by it
    assert elsewhere(db)[:4] == ("DOWN", None, None, True)
    lock = ServerLock(db)
    lock.acquire()
    lock.release()


def test_where_all_locks_were_made_again_it_is_unknown_to_who_sees_no_process(db: Path) -> None:
    for lock in sorted(db.glob("*.lock"), key=lambda path: path.name == "tables.d.lock"):
        made_again(lock)
    assert elsewhere(db)[:4] == ("DOWN", None, None, True)  # free, and older than the one that was made again
    for lock in db.glob("*.lock"):
        if lock.name != "tables.d.lock":
            lock.unlink()
    (db / "_query_trace.lock").symlink_to("nowhere")
    os.utime(db / "_query_trace.lock", (1, 1), follow_symlinks=False)
    life, _, doubt, down, said = elsewhere(db)
    assert (life, doubt, down) == ("UNKNOWN", "REPLACED", None)
    assert "from outside of this container" in said


def test_a_missing_lock_says_nothing_and_is_not_made(db: Path, holder: "subprocess.Popen[bytes]") -> None:
    (db / "tables.d.lock").unlink()
    assert liveness(db).proof is Proof.TABLE_LOCKS
    assert elsewhere(db)[:4] == ("ALIVE", "TABLE_LOCKS", None, False)
    holder.kill()
    holder.wait()
    found = liveness(db)
    assert (found.life, found.doubt) == (Life.UNKNOWN, Doubt.MISSING)
    assert server_is_down(db) is None
    assert not (db / "tables.d.lock").exists()


def test_a_file_that_a_process_has_open_for_writing_is_proof_enough(db: Path) -> None:
    (db / "tables.d.0").write_bytes(b"x" * 64)
    made_again(db / "tables.d.lock")
    open_it = "import sys,time;f=open(sys.argv[1],'r+b');print(flush=True);time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", open_it, str(db / "tables.d.0")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        found = liveness(db)
        assert (found.life, found.proof, found.pids) == (Life.ALIVE, Proof.FILES, (process.pid,))
    finally:
        process.kill()
        process.wait()


def test_a_transaction_that_moves_is_proof_enough(db: Path) -> None:
    (db / "t~1").mkdir()
    txn = db / "t~1/_txn"
    txn.write_bytes(bytes(64))
    made_again(db / "tables.d.lock")
    move = (
        "import os,sys,time\n"
        "for n in range(400):\n"
        " f=os.open(sys.argv[1],os.O_WRONLY);os.pwrite(f,n.to_bytes(8,'little'),0);os.close(f);time.sleep(0.02)"
    )
    process = subprocess.Popen([sys.executable, "-c", move, str(txn)])
    try:
        time.sleep(0.2)
        assert elsewhere(db)[:2] == ("ALIVE", "MOVING")
    finally:
        process.kill()
        process.wait()


def test_a_lock_with_the_same_inode_on_another_disk_is_not_ours(tmp_path: Path) -> None:
    """The kernel lists devices that are not those of stat on overlay and btrfs, so they are asked of the process."""
    disk = Path("/dev/shm")
    if not disk.is_dir() or disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    ours, folder = tmp_path / "tables.d.lock", disk / f"walmedic-{os.getpid()}"
    ours.touch()
    folder.mkdir()
    try:
        other = folder / "x.lock"
        other.touch()
        process = subprocess.Popen([sys.executable, "-c", _HOLD, str(other)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        assert exclusive_holders([other]) == (process.pid,)
        assert exclusive_holders([ours]) == ()
        process.kill()
        process.wait()
    finally:
        shutil.rmtree(folder)


def test_a_lock_that_may_not_be_read_is_no_absence(db: Path) -> None:
    if os.geteuid():
        pytest.skip("only root becomes another user")
    for folder in (db, *db.parents):
        if folder.stat().st_uid == 0 and folder != Path("/") and folder != Path("/tmp"):
            folder.chmod(0o711)
    (db / "tables.d.lock").chmod(0)
    python = str(for_others(Path(sys.executable)))
    argv = ["setpriv", "--reuid", str(USER), "--clear-groups", python, "-c", _ASK, str(db)]
    ended = subprocess.run(argv, capture_output=True, check=True, timeout=60, cwd=for_others(CHECKOUT))
    said = json.loads(ended.stdout)
    assert said[3] is None

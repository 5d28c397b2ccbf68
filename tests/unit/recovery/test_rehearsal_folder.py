"""The place of a rehearsal: removed at its end however that comes; nothing else is ever removed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from console.errors import WalmedicError
from console.recovery.rehearsal.folder import RehearsalFolder, end_servers, remove_leftovers
from console.recovery.store.state import StateDir

KILLED = """
import os, signal, sys
from pathlib import Path
from console.recovery.rehearsal.folder import RehearsalFolder
from console.recovery.store.state import StateDir
to = Path(sys.argv[2]) if len(sys.argv) > 2 else None
with RehearsalFolder(StateDir(Path(sys.argv[1])), to) as folder:
    (folder.db / "t~1").mkdir(parents=True)
    (folder.db / "t~1/_txn").write_bytes(b"rows")
    print(folder.place, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def killed(state: StateDir, *to: Path) -> Path:
    """Return the place that a rehearsal left which was killed by SIGKILL."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(state.root), *map(str, to)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    place = Path(ended.stdout.strip())
    assert (place / "clone/db/t~1/_txn").is_file()
    return place


@pytest.mark.parametrize("error", [None, WalmedicError("no"), KeyboardInterrupt()])
def test_the_folder_is_gone_afterwards(state: StateDir, error: BaseException | None) -> None:
    def work() -> Path:
        with RehearsalFolder(state) as folder:
            assert folder.place.stat().st_mode & 0o777 == 0o700
            (folder.db / "t~1").mkdir(parents=True)
            if error is not None:
                raise error
        return folder.place

    if error is None:
        assert not work().exists()
    else:
        with pytest.raises(type(error)):
            work()
    assert not list((state.root / "rehearsals").iterdir())


def test_a_kept_folder_stays_and_is_no_leftover(state: StateDir) -> None:
    with RehearsalFolder(state) as folder:
        folder.db.mkdir()
        folder.kept = True
    assert folder.db.is_dir()
    assert remove_leftovers(state) == ()
    assert folder.db.is_dir()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_a_killed_one_left_goes_with_the_next(state: StateDir, tmp_path: Path, elsewhere: bool) -> None:
    (tmp_path / "big disk").mkdir()
    place = killed(state, *([tmp_path / "big disk"] if elsewhere else []))
    assert (tmp_path / "big disk" in place.parents) is elsewhere
    assert [f"walmedic-rehearsal-{name}" for name in remove_leftovers(state)] == [place.name]
    assert not place.exists()
    assert not list((state.root / "rehearsals").iterdir())
    assert (tmp_path / "big disk").is_dir()


def test_one_that_lives_is_left_alone(state: StateDir) -> None:
    with RehearsalFolder(state) as folder:
        assert remove_leftovers(state) == ()
        assert folder.root.is_dir()


def test_a_half_removed_leftover_is_still_known(state: StateDir) -> None:
    place = killed(state)
    (place / "clone/db/t~1/_txn").unlink()
    (place / "clone/db/t~1").rmdir()
    assert len(remove_leftovers(state)) == 1
    assert not place.exists()


@pytest.mark.parametrize("how", ["named otherwise", "no mark", "another's mark", "linked"])
def test_what_is_not_ours_is_never_removed(state: StateDir, tmp_path: Path, how: str) -> None:
    place = killed(state)
    (record,) = (state.root / "rehearsals").glob("*.json")
    precious = tmp_path / "precious"
    if how == "named otherwise":
        place.rename(precious)
        record.write_text(json.dumps({"id": record.stem, "place": str(precious)}))
    elif how == "no mark":
        (place / ".walmedic-rehearsal").unlink()
        precious = place
    elif how == "another's mark":
        (place / ".walmedic-rehearsal").write_text("20200101000000-abcdef")
        precious = place
    else:
        place.rename(precious)
        place.symlink_to(precious)
    remove_leftovers(state)
    assert (precious / "clone/db/t~1/_txn").read_bytes() == b"rows"


def test_a_damaged_record_stops_nothing(state: StateDir) -> None:
    place = killed(state)
    (state.root / "rehearsals" / "junk.json").write_bytes(os.urandom(64))
    (state.root / "rehearsals" / "list.json").write_text("[]")
    assert len(remove_leftovers(state)) == 1
    assert not place.exists()


def test_only_the_server_on_that_clone_is_ended(tmp_path: Path) -> None:
    place = tmp_path / "walmedic-rehearsal-1"
    code = "import time; print(flush=True); time.sleep(60)"
    mine, other = (
        subprocess.Popen([sys.executable, "-c", code, "-d", str(root)], stdout=subprocess.PIPE)
        for root in (place / "clone", tmp_path / "walmedic-rehearsal-12/clone")
    )
    try:
        for child in (mine, other):
            assert child.stdout is not None
            child.stdout.readline()
        end_servers(place)
        mine.wait(5)
        assert not psutil.pid_exists(mine.pid)
        assert other.poll() is None
    finally:
        for child in (mine, other):
            child.kill()
            child.communicate()


def test_a_place_that_cannot_be_used_is_one_sentence(state: StateDir, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for to in (tmp_path / "file", tmp_path / "absent"):
        with pytest.raises(WalmedicError, match="name another directory with --to"), RehearsalFolder(state, to):
            pass
    assert not list((state.root / "rehearsals").iterdir())
    assert not (tmp_path / "absent").exists()

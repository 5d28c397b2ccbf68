"""A start of our own on the real database: it applies nothing, purges nothing, and nobody else can write meanwhile.

The station's unit would open its ports to the writer, apply what waits in every other table and purge. This server is
the station's own version on loopback and free ports, with a configuration of its own; its data root is a directory of
ours that holds nothing but a link to the database. It dies with this process.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from console.recovery.server.binary import server_binary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server
from console.recovery.steps.services import acquire_within
from console.recovery.steps.steps import RunContext, StepError
from console.recovery.store.state import write_private
from console.settings import QuestDBSettings

_SETTINGS = {
    "cairo.wal.apply.enabled": "false",
    "cairo.wal.purge.interval": "86400000",
    "cairo.mat.view.enabled": "false",  # views are loaded, and neither refreshed nor judged
    "cairo.repeat.migration.from.version": "-1",  # else every table's lag is checked, and `_txn` written
}
LOG = "server.log"
"""What the last such server reported, in the entry's folder."""
_LOG_TAIL = 256 << 10
_PLACE = "place of our start"
_START = 180.0
_GONE = 30.0


@contextlib.contextmanager
def started_on(run: RunContext, owner: tuple[int, int]) -> Iterator[Server]:
    """Let the server's lock go, yield a server on the database, stop it, and win the lock again.

    Raises StepError, ServerError or LockedError where one of these cannot be done.
    """
    if run.server_lock is None:
        raise StepError("a start of our own needs the lock of the database; plan again")
    binary, _ = server_binary(run.settings, run.database, run.state)
    place = _made(run, owner)
    server = PrivateServer(place, binary, settings=_SETTINGS, owner=owner, whole_log=True)
    run.release_server_lock()
    try:
        server.start(_START)
        asked = Server(QuestDBSettings(host="127.0.0.1", pg_port=server.pg_port))
        asked.prove_ours(run.database.db)
        yield asked
    finally:
        server.stop()
        _win(run)
        _keep_log(run, server.log)
        _removed(place)


def remove_leftover(run: RunContext) -> None:
    """Remove the directory of a start that was killed; its server died with it."""
    before = run.recall(_PLACE)
    if isinstance(before, str):
        _removed(Path(before))


def _made(run: RunContext, owner: tuple[int, int]) -> Path:
    remove_leftover(run)
    place = Path(tempfile.mkdtemp(prefix="walmedic-start-"))
    run.remember(_PLACE, str(place))
    (place / "db").symlink_to(run.database.db)
    (place / "conf").mkdir(mode=0o700)
    if os.geteuid() == 0:
        for path in (place, place / "conf"):
            os.chown(path, *owner)
    return place


def _removed(place: Path) -> None:
    if place.name.startswith("walmedic-start-") and place.is_dir() and not place.is_symlink():
        (place / "db").unlink(missing_ok=True)  # the link goes first: nothing below it is ever reached
        shutil.rmtree(place, ignore_errors=True)


def _keep_log(run: RunContext, log: Path) -> None:
    with contextlib.suppress(OSError), log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _LOG_TAIL))
        write_private(run.folder / LOG, stream.read())


def _win(run: RunContext) -> None:
    if run.server_lock is not None:
        acquire_within(run.server_lock, _GONE)

"""The console on a real station in the incident: quiet at rest, no port of its own, and no key starts anything."""

import hashlib
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.terminal import Terminal
from console.app import ConsoleApp
from console.recovery.store.journal import Journal
from console.recovery.store.state import StateDir
from console.station.build import Station
from screens.browser import Browser
from screens.journal import JournalScreen
from screens.palette import Palette
from tests.ui.showing import settled, shown
from tests.ui.test_storms import press_at_random

_KEYS = int(os.environ.get("WALMEDIC_KEYS_AT_RANDOM", "100"))
"""Keys at random; `make faults` presses 2,000."""
_OPENED = (Browser, Palette, JournalScreen)
_QUIET = 1000  # bytes per second


def console_of(station: Station) -> list[str]:
    return [sys.executable, "-m", "console", "console", "--config", str(station.layout.settings_file)]


def listening(pid: int) -> list[str]:
    """Return the sockets of a process that wait for connections, and all that are bound for datagrams."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(str(link.readlink()))
        except OSError:
            continue
    found = []
    for name, waits in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for row in Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
            fields = row.split()
            if fields[3] == waits and f"socket:[{fields[9]}]" in sockets:
                found.append(f"{name} {fields[1]}")
    return found


def test_a_listening_socket_would_be_found() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert any(f":{server.getsockname()[1]:04X}" in each for each in listening(os.getpid()))


@pytest.fixture(scope="module")
def at_rest(incident_station: Station, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """The console on the station, after all sources have answered."""
    folder = str(tmp_path_factory.mktemp("operator"))
    with Terminal(console_of(incident_station), XDG_STATE_HOME=folder, XDG_CONFIG_HOME=folder) as terminal:
        terminal.read_until(b"BROKEN", 300.0)
        terminal.read_for(8.0)
        yield terminal


def test_it_is_quiet_on_the_wire_while_the_station_lives(at_rest: Terminal) -> None:
    seconds = 8.0
    sent = len(at_rest.read_for(seconds)) / seconds
    sys.stderr.write(f"{sent:.0f} bytes per second at rest\n")
    assert 0 < sent <= _QUIET


def test_it_opens_no_port(at_rest: Terminal) -> None:
    for keys in ("a", "\x1b", "b", "\x1b", "j", "\x1b"):
        at_rest.send(keys)
        at_rest.read_for(0.7)
        assert listening(at_rest.pid) == []


def fingerprint(station: Station) -> str:
    """Return a digest of every name and byte of the broken tables' sequencers, copies and WALs, and of their _txn."""
    digest = hashlib.sha256()
    db = Path(station.settings().questdb.db_root) / "db"
    for path in sorted(db.glob("market_*/**/*")):
        digest.update(str(path).encode())
        if path.is_file() and (path.name.startswith("_txn") or "/wal" in str(path) or "txn_seq" in str(path)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.mark.timeout(1200)
async def test_keys_at_random_start_nothing(incident_station: Station) -> None:
    settings = incident_station.settings()
    before = fingerprint(incident_station)
    seed = int(os.environ.get("WALMEDIC_SEED", "0")) or random.randrange(1 << 30)
    sys.stderr.write(f"seed {seed}\n")
    app = ConsoleApp(settings)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        app.arm()  # so that nothing but the typed phrase stands between a key and an action
        source = random.Random(seed)
        await press_at_random(pilot, source, _KEYS // 4)
        for screen in _OPENED:
            await app.push_screen(screen())
            await settled(pilot)
            assert isinstance(app.screen, screen)
            await press_at_random(pilot, source, _KEYS // 4)
        assert app.is_running
        assert shown(app)
    assert Journal(StateDir(settings.state_path)).entries() == ()
    assert fingerprint(incident_station) == before

"""What the guard costs beside a real server that commits as fast as it can: share of a core, bytes written, age.

Limits: 2 % of a core, 1 MB/s, copies under 5 s old.
"""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from console.recovery.guard.state import read_state
from console.recovery.server.private_server import PrivateServer
from console.station.downloads import questdb_binary

_WRITERS, _SECONDS, _BATCH = 3, 30.0, 50


def _commit(server: PrivateServer, name: str, ended: threading.Event) -> None:
    with server.connect() as connection:
        number = 0
        while not ended.is_set():
            with connection.pipeline():
                for _ in range(_BATCH):
                    number += 1
                    connection.execute(f"INSERT INTO {name} VALUES (now(), 'S{number % 500}', {number})".encode())


def main() -> int:
    """Measure and print; return 1 where a limit is missed."""
    with tempfile.TemporaryDirectory() as work:
        root, copies = Path(work) / "root", Path(work) / "copies"
        root.mkdir()
        with PrivateServer(root, questdb_binary()) as server:
            names = [f"t{number}" for number in range(_WRITERS)]
            for name in names:
                server.query(f"CREATE TABLE {name} (ts TIMESTAMP, s SYMBOL, v LONG) TIMESTAMP(ts) PARTITION BY DAY WAL")
            ended = threading.Event()
            writers = [threading.Thread(target=_commit, args=(server, name, ended)) for name in names]
            for writer in writers:
                writer.start()
            command = [sys.executable, "-m", "console", "guard", "--db-root", str(root), "--state-dir", f"{work}/state"]
            environment = {"WALMEDIC_GUARD_TO": str(copies), "PATH": "/usr/bin:/bin", "HOME": work}
            guard = subprocess.Popen(command, env=environment)
            time.sleep(3 * 5)
            process = psutil.Process(guard.pid)
            cpu, written, commits = process.cpu_times(), process.io_counters().write_bytes, _commits(server)
            ages = []
            began = time.monotonic()
            while time.monotonic() - began < _SECONDS:
                time.sleep(0.5)
                state = read_state(copies)
                ages.append(time.time() - state.at if state is not None else float("inf"))
            seconds = time.monotonic() - began
            after = process.cpu_times()
            core = (after.user + after.system - cpu.user - cpu.system) / seconds
            rate = (process.io_counters().write_bytes - written) / seconds
            done = (_commits(server) - commits) / seconds
            guard.terminate()
            guard.wait(20)
            ended.set()
            for writer in writers:
                writer.join()
    print(
        f"{done:,.0f} commits/s: {core:.2%} of a core, {rate / 1000:,.0f} kB/s written, at most {max(ages):.1f} s old"
    )
    return int(core > 0.02 or rate > 1e6 or max(ages) > 6)


def _commits(server: PrivateServer) -> int:
    return int(str(server.query("SELECT sum(sequencerTxn) FROM wal_tables()")[0][0]))


if __name__ == "__main__":
    sys.exit(main())

"""A real supervisord for tests, in a folder of its own."""

import socket
import subprocess
import sys
import time
from pathlib import Path

_CONFIGURATION = """
[unix_http_server]
file={folder}/s.sock
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
nodaemon=true
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
{programs}
"""


class Supervisord:
    """One supervisord with `programs` (the text of its [program:…] sections)."""

    def __init__(self, folder: Path, programs: str) -> None:
        self.folder = folder
        self.socket = folder / "s.sock"
        (folder / "s.conf").write_text(_CONFIGURATION.format(folder=folder, programs=programs))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.folder / "s.conf")],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 15
        while not self._listens():
            assert self._process.poll() is None, "supervisord ended"
            assert time.monotonic() < deadline, "supervisord did not start"
            time.sleep(0.05)

    def _listens(self) -> bool:
        """Return whether its socket takes connections; the file is there a moment earlier."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.socket))
            except OSError:
                return False
        return True

    def stop(self) -> None:
        """Stop it with all its programs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)

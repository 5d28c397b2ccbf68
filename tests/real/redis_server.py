"""A real Redis for tests: any binary, a free port, its own directory, killed and started again at will."""

import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from console.recovery.private_server import free_ports


class RedisServer:
    """One Redis process on loopback. `options` are arguments such as `--requirepass x`."""

    def __init__(self, binary: Path, folder: Path, options: Sequence[str] = ()) -> None:
        self.binary = binary
        self.folder = folder
        self.port = free_ports(1)[0]
        self.options = list(options)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, answering: bool = True) -> None:
        """Start it, and wait until it takes connections."""
        argv = [str(self.binary), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        argv += ["--save", "", "--appendonly", "no", *self.options]
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

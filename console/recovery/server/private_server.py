"""A QuestDB of our own, on loopback and free ports, never to be mistaken for the station's.

Used by rehearsals (on a clone), by the demo station's preparation and by the tests. It takes nothing from the
environment that could point elsewhere (`QDB_*`) or is secret, and proves that the sockets it talks to belong to its own
process.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg

from console.errors import WalmedicError
from console.questdb_client.connect import connect, tuples_of
from console.recovery.server.jvm import HEAP, ServerBinary, java_environment, server_command, server_conf
from console.settings import QuestDBSettings
from console.waiting import looks

# Runs a command that dies with its parent: prctl(PR_SET_PDEATHSIG, SIGKILL) is kept over exec, and not over a change of
# user, which therefore comes first (and here, because another user may not be able to reach our Python). A parent that
# is gone before it took effect is seen by the number given.
_TIED = (
    "import ctypes,os,sys\n"
    "parent,user,group=map(int,sys.argv[1:4])\n"
    "user >= 0 and (os.setgroups([]), os.setgid(group), os.setuid(user))\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "os.getppid() == parent and os.execv(sys.argv[4], sys.argv[4:])\n"
)
_PORT_TRIES = 3
_PORT_TAKEN = b"could not bind socket"  # io.questdb.network.NetworkError
_LOG_TAIL = 1 << 20  # bytes
_ERRORS_ALONE = """writers=stdout
w.stdout.class=io.questdb.log.LogConsoleWriter
w.stdout.level=ERROR,CRITICAL,ADVISORY
"""


class ServerError(WalmedicError):
    """The private server did not start, or died; the message is for the operator."""


def free_ports(count: int) -> list[int]:
    """Return `count` distinct free loopback ports. Another may take them before use: ownership is proven later."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class PrivateServer:
    """One QuestDB process on `root` (the directory that holds `db/`). Use as a context manager or start and stop it.

    `settings` go over the loopback defaults in its own server.conf; without `http` it speaks PGWire alone. `heap` is
    the JVM's, in bytes. `owner` (user and group id) is whom it runs as where walmedic runs as root; a server that has
    one dies with this process, however that ends. Its log has errors alone, since after each line the server looks
    thousands of times for the next one; with `whole_log` it has what a station's has.
    """

    def __init__(
        self,
        root: Path,
        binary: ServerBinary,
        *,
        settings: Mapping[str, str] | None = None,
        http: bool = False,
        heap: int = HEAP,
        nice: int = 0,
        jvm_flags: Sequence[str] = (),
        owner: tuple[int, int] | None = None,
        whole_log: bool = False,
    ) -> None:
        self.root = root
        self.binary = binary
        self.http_port, self.pg_port = free_ports(2)
        self.log = root / "questdb.log"
        self._settings = {"http.enabled": str(http).lower(), **(settings or {})}
        self._heap = heap
        self._nice = nice
        self._jvm_flags = tuple(jvm_flags)
        self._whole_log = whole_log
        self._owner = owner if os.geteuid() == 0 else None
        self._dies_with_us = owner is not None
        self._process: subprocess.Popen[bytes] | None = None
        self._kept: dict[int, psycopg.Connection[tuple[Any, ...]]] = {}

    def __enter__(self) -> "PrivateServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_status(self) -> int | None:
        """The exit status once it has ended; negative is a signal."""
        return self._process.poll() if self._process else None

    def start(self, timeout: float = 60.0) -> None:
        """Start and wait until PGWire answers. Raises ServerError where it dies, hangs, or the port is another's.

        A port may be taken by another between choosing and using it: other ports are tried then.
        """
        for _ in range(_PORT_TRIES):
            before = self.log.stat().st_size if self.log.exists() else 0
            try:
                self._start(timeout)
                return
            except ServerError:
                if self.pid is not None or _PORT_TAKEN not in self._output_since(before):
                    raise
                self.http_port, self.pg_port = free_ports(2)
        raise ServerError(f"the server on {self.root} found no free port in {_PORT_TRIES} tries; its log is {self.log}")

    def _output_since(self, offset: int) -> bytes:
        """Return the end of what its log has held since it was `offset` bytes long."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(offset, size - _LOG_TAIL))
            return log.read()

    def _start(self, timeout: float) -> None:
        self._let_go()
        self._write_configuration()
        command = server_command(self.binary, self.root, heap=self._heap, options=self._jvm_flags)
        user, group = self._owner or (-1, -1)
        if self._dies_with_us:
            shim = [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), str(user), str(group)]
            command = [*shim, *command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
                env=java_environment(),
                start_new_session=True,
            )
        if self._nice:
            with contextlib.suppress(psutil.Error):
                psutil.Process(self._process.pid).nice(self._nice)
        for late in looks(timeout, 0.05):
            if self._process.poll() is not None:
                raise ServerError(
                    f"the server on {self.root} ended while starting ({self._ended()}); its log is {self.log}"
                )
            try:
                with self.connect(timeout=2):
                    self._prove_ownership()
                    return
            except psycopg.OperationalError:
                if late:
                    break
        self.kill()
        raise ServerError(f"the server on {self.root} did not answer within {timeout:.0f} s; its log is {self.log}")

    def wait_for_exit(self, timeout: float) -> int | None:
        """Wait for the process to end by itself; return its status, or None where it still runs."""
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return self._process.poll()

    def stop(self, timeout: float = 30.0) -> None:
        """Ask it to end (SIGTERM); kill it after `timeout` seconds. Nothing happens where it does not run."""
        self._let_go()
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill it at once (SIGKILL), as a power loss of the process would."""
        self._let_go()
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def connect(self, timeout: int = 5) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a new PGWire connection; autocommit, because QuestDB has no transactions over several statements."""
        return connect(QuestDBSettings(pg_port=self.pg_port), timeout)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows (none for statements without a result).

        Each thread keeps its connection: a new one costs more than most statements.
        """
        connection = self._kept.get(thread := threading.get_ident())
        if connection is None or connection.closed:
            connection = self._kept[thread] = self.connect()
        return tuples_of(connection, sql)

    def _let_go(self) -> None:
        while self._kept:
            with contextlib.suppress(psycopg.Error):
                self._kept.popitem()[1].close()

    def _ended(self) -> str:
        status = self.exit_status
        return f"signal {-status}" if status is not None and status < 0 else f"exit {status}"

    def _prove_ownership(self) -> None:
        if self._process is None:
            return
        listening = {
            c.laddr.port
            for c in psutil.Process(self._process.pid).net_connections("tcp")
            if c.status == psutil.CONN_LISTEN
        }
        if self.pg_port not in listening:
            self.kill()
            raise ServerError(f"port {self.pg_port} is answered by another process than the server on {self.root}")

    def _write_configuration(self) -> None:
        settings = {
            "http.bind.to": f"127.0.0.1:{self.http_port}",
            "http.net.bind.to": f"127.0.0.1:{self.http_port}",
            "http.min.enabled": "false",
            "pg.net.bind.to": f"127.0.0.1:{self.pg_port}",
            "line.udp.enabled": "false",
            **self._settings,
        }
        conf = self.root / "conf"
        conf.mkdir(parents=True, exist_ok=True)
        files = {"server.conf": server_conf(settings)}
        if self._whole_log:
            (conf / "log.conf").unlink(missing_ok=True)
        else:
            files["log.conf"] = _ERRORS_ALONE
        for name, text in files.items():
            (conf / name).write_text(text)
            if self._owner is not None:
                os.chown(conf / name, *self._owner)

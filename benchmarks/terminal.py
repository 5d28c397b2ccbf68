"""A program in a pseudo terminal, as a benchmark sees it: what it sends, when, and what it costs."""

import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
_ROW = re.compile(rb"\x1b\[(\d+);\d+H")
NOTHING = 1.0  # seconds after which a key is reported to bring nothing
_TICKS = os.sysconf("SC_CLK_TCK")


class Terminal:
    """A program in a pty of `width` by `height`; a context manager that ends the program."""

    def __init__(self, command: Sequence[str], *, width: int = 80, height: int = 24, **environment: str) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            for name in ("NO_COLOR", "TMUX", "STY", *(name for name in os.environ if name.startswith("WALMEDIC_"))):
                os.environ.pop(name, None)
            os.environ.update(TERM="xterm-256color", COLUMNS=str(width), LINES=str(height), **environment)
            os.execv(command[0], list(command))  # noqa: S606 - the commands are the benchmarks' own
        ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)

    def send(self, keys: str) -> None:
        """Type `keys`."""
        os.write(self._terminal, keys.encode())

    def read(self, seconds: float) -> bytes:
        """Return what comes next, nothing where nothing comes within `seconds`. Raises EOFError where it has ended."""
        ready, _, _ = select.select([self._terminal], [], [], seconds)
        if not ready:
            return b""
        try:
            return os.read(self._terminal, 1 << 16)
        except OSError as error:
            raise EOFError("the program has ended") from error

    def read_until(self, text: bytes, patience: float = 60.0) -> bytes:
        """Return all that comes up to and with `text`. Raises TimeoutError where it does not come."""
        got = b""
        deadline = time.perf_counter() + patience
        while text not in got:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{text!r} did not come within {patience:g} s; the last was {got[-500:]!r}")
            got += self.read(0.5)
        return got

    def read_for(self, seconds: float) -> bytes:
        """Return all that comes within `seconds`."""
        got = b""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            got += self.read(left)
        return got

    def painted_after(self, keys: str, quiet: float = 0.05) -> float:
        """Return the seconds from typing `keys` to the last byte of what they bring; 0 where they bring nothing.

        A paint is over when nothing comes for `quiet` seconds. The clock, alone in the first row, ticks by itself and
        is no paint.
        """
        began = last = time.perf_counter()
        self.send(keys)
        while last > began or time.perf_counter() - began < NOTHING:
            got = self.read(quiet if last > began else NOTHING)
            if not got and last > began:
                break
            if got and set(_ROW.findall(got)) != {b"1"}:
                last = time.perf_counter()
        return last - began

    def cpu_seconds(self) -> float:
        """Return the processor time that the program has used so far, without its children."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

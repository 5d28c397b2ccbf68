"""The three standard streams made safe: open, never raising, in whatever encoding the terminal has.

A reader that goes away (`check | head -1`), a full disk behind standard output, or a terminal that knows only ASCII
must not change what a command does, nor the exit code that it computed.
"""

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_WRITE_OUT: Final = "walmedic-ascii"
# What walmedic prints beyond ASCII, for a terminal that cannot show it.
_PLAIN: Final = {
    "✓": "+", "✗": "x", "•": "*", "·": "-", "…": "...", "→": "->", "←": "<-", "×": "x", "−": "-", "≥": ">=", "≤": "<=",
    "–": "-", "—": "-", "│": "|", "─": "-", "\u00a0": " ", "\u202f": " ", "µ": "u", "“": '"', "”": '"', "’": "'",
}  # fmt: skip


def _written_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(each, "?") for each in error.object[error.start : error.end]), error.end


codecs.register_error(_WRITE_OUT, _written_out)


class _Lenient(io.RawIOBase):
    """A descriptor to write to. The first error is kept; everything after it goes nowhere."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: "ReadableBuffer", /) -> int:
        view = memoryview(data)
        while self.failure is None:
            try:
                return os.write(self._descriptor, view)
            except BlockingIOError:  # somebody else made the pipe non-blocking: wait as it would have
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return view.nbytes


class Streams:
    """The standard streams of this process, replaced. `failure` says what was lost of standard output."""

    def __init__(self) -> None:
        closed = _open_all()
        self._raw = _Lenient(1)
        sys.stdout = _text(self._raw, sys.stdout)
        sys.stderr = _text(_Lenient(2), sys.stderr)
        if 0 in closed or sys.stdin is None:
            sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the whole process

    @property
    def failure(self) -> OSError | None:
        """Why standard output could not be written; None where it was, or its reader just went away."""
        with contextlib.suppress(ValueError):
            sys.stdout.flush()
        failure = self._raw.failure
        return None if failure is not None and failure.errno == errno.EPIPE else failure


def _open_all() -> set[int]:
    """Open /dev/null where a standard stream is closed: else the next file opened would become that stream."""
    closed = set()
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
            os.set_inheritable(descriptor, True)
    return closed


def _text(raw: _Lenient, before: TextIO | None) -> TextIO:
    encoding = getattr(before, "encoding", None) or "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=_WRITE_OUT, line_buffering=raw.isatty() or raw.fileno() == 2
    )

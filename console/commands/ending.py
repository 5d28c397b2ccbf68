"""Ending a command that has started something: all of it is stopped, whichever signal asks for it."""

import contextlib
import signal
from collections.abc import Iterator

from console.station.scenario import ENDING_SIGNALS


@contextlib.contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP (a lost terminal) end the command as Ctrl-C does: with all stopped that it started."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Seconds from the start of the process to the first complete screen: the console against a bare Textual app.

    python -m benchmarks.first_paint [--config FILE] [--runs 7]

Both are started in turn in a pseudo terminal of 80x24; the first paint is the moment at which the last row of it
has been sent. The bare app is a screen of labels, nothing else. What stands between the two is mostly imports: nothing
that only annotations name, no numpy and no driver is imported before the first paint, and what the panes show only
with the first sample. Modules are compiled before, as on an installed station. Prints the medians, and the median of
the ratios of each pair: other work on the machine disturbs it least. Exits 1 above 1.2.

While all that is imported, no garbage is looked for (console/commands/console.py).
"""

import argparse
import os
import pty
import select
import signal
import statistics
import struct
import sys
import termios
import time
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path

LIMIT = 1.2
_PATIENCE = 30.0  # seconds
_ROOT = Path(__file__).resolve().parents[1]
_BARE = """
from textual.app import App, ComposeResult
from textual.widgets import Label

class Bare(App[None]):
    def compose(self) -> ComposeResult:
        for number in range(23):
            yield Label(f"label {number}")
        yield Label("the last row")

Bare().run(mouse=False)
"""


def first_paint(command: Sequence[str], last_row: bytes) -> float:
    """Return the seconds until `last_row` has come from `command`. Raises TimeoutError where it never does."""
    began = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(_ROOT)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
        os.execv(command[0], list(command))  # noqa: S606 - the commands are built below
    try:
        ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        seen = b""
        while time.perf_counter() - began < _PATIENCE:
            ready, _, _ = select.select([terminal], [], [], 0.5)
            if ready:
                try:
                    seen += os.read(terminal, 65536)
                except OSError as error:
                    raise TimeoutError(f"{command} ended before it painted: {seen[-500:]!r}") from error
                if last_row in seen:
                    return time.perf_counter() - began
        raise TimeoutError(f"{command} did not paint within {_PATIENCE:g} s")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def compare(config: Path | None, runs: int) -> tuple[float, float, float]:
    """Return the median seconds of the bare app and of the console, started in turn `runs` times, and of the ratios."""
    console = [sys.executable, "-m", "console", *(["--config", str(config)] if config else [])]
    bare = [sys.executable, "-c", _BARE]
    first_paint(bare, b"the last row"), first_paint(console, b"Operate")  # what is compiled is compiled
    times = [(first_paint(bare, b"the last row"), first_paint(console, b"Operate")) for _ in range(runs)]
    middle = statistics.median
    return middle(t for t, _ in times), middle(t for _, t in times), middle(mine / other for other, mine in times)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="settings of a station, e.g. the demo's")
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    bare, console, ratio = compare(arguments.config, arguments.runs)
    print(f"bare Textual app {bare:.3f} s, console {console:.3f} s, ratio {ratio:.2f} (limit {LIMIT})")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())

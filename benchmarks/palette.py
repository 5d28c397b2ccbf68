"""From `a` to the action palette with the next step under the cursor, on a station that lives, in a pty of 80x24.

    python -m benchmarks.palette [--config FILE] [--openings 12]

Without --config the demo station is built, broken as in the incident. The palette is opened and closed again and again;
the first opening also imports its screen and stands on its own. Before each, the palette has the time to ask the engine
all that it asks. Prints the first, the median and the longest; exits 1 if one is 200 ms or more.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.at_rest import settings_of
from benchmarks.terminal import Terminal

LIMIT = 0.200
_READY = b"recommended now"


def measure(config: Path, openings: int) -> list[float]:
    """Return the seconds of each opening, the first one first."""
    times = []
    with tempfile.TemporaryDirectory(prefix="walmedic-benchmark-") as home:
        command = [sys.executable, "-m", "console", "console", "--config", str(config.resolve())]
        with Terminal(command, XDG_STATE_HOME=home, XDG_CONFIG_HOME=home) as terminal:
            terminal.read_until(b"next", 120.0)
            terminal.read_until(b"(a)", 120.0)
            terminal.read_for(5.0)
            for _ in range(openings):
                began = time.perf_counter()
                terminal.send("a")
                terminal.read_until(_READY)
                times.append(time.perf_counter() - began)
                terminal.read_for(4.0)
                terminal.send("\x1b")
                terminal.read_for(2.0)
    return times


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="settings of a broken station that runs")
    parser.add_argument("--openings", type=int, default=12)
    arguments = parser.parse_args()
    with settings_of(arguments.config) as config:
        times = measure(config, arguments.openings)
    print(
        f"palette: first {times[0] * 1e3:.0f} ms, median {statistics.median(times) * 1e3:.0f} ms, "
        f"longest {max(times) * 1e3:.0f} ms, {len(times)} openings (limit {LIMIT * 1e3:.0f} ms)"
    )
    return 0 if max(times) < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())

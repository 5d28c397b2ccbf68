"""What the console costs at rest at 80x24 while a station lives: bytes per second on the wire, share of a core.

    python -m benchmarks.at_rest [--config FILE] [--seconds 60]

Without --config the demo station is built, broken as in the incident, with its feeds and its writer at work. The
console is started in a pty and left alone until all sources have answered. Prints both figures; exits 1 above 1,000
bytes per second or 3 % of a core.

Measured on 2 quiet cores: 141 bytes per second, 2.3 % of a core. While every sample was drawn as it came, and all was
asked anew whenever the crash loop started the server, 179 bytes and 3.7 %. Before paints were sent leanly
(console/widgets/wire.py) it was 1,043 bytes per second.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.terminal import Terminal
from console.station.build import station
from console.station.scenario import Scenario

MOST_BYTES = 1000.0
MOST_CPU = 0.03
_SETTLED = 15.0  # seconds after which all sources have answered twice


@contextlib.contextmanager
def settings_of(config: Path | None) -> Iterator[Path]:
    """Yield a settings file: the one that is given, or that of a station built for this."""
    if config is not None:
        yield config
        return
    with station(Scenario.INCIDENT) as built:
        yield built.layout.settings_file


def measure(config: Path, seconds: float) -> tuple[float, float]:
    """Return bytes per second and the share of a core, over `seconds` at rest."""
    with tempfile.TemporaryDirectory(prefix="walmedic-benchmark-") as home:
        command = [sys.executable, "-m", "console", "console", "--config", str(config.resolve())]
        with Terminal(command, XDG_STATE_HOME=home, XDG_CONFIG_HOME=home) as terminal:
            terminal.read_until(b"BROKEN", 300.0)
            terminal.read_for(_SETTLED)
            before = terminal.cpu_seconds()
            sent = len(terminal.read_for(seconds))
            return sent / seconds, (terminal.cpu_seconds() - before) / seconds


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="settings of a station that runs")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    with settings_of(arguments.config) as config:
        sent, cpu = measure(config, arguments.seconds)
    print(
        f"at rest, 80x24, {arguments.seconds:g} s: {sent:.0f} bytes per second (limit {MOST_BYTES:.0f}), "
        f"{cpu:.1%} of a core (limit {MOST_CPU:.0%})"
    )
    return 0 if sent <= MOST_BYTES and cpu < MOST_CPU else 1


if __name__ == "__main__":
    sys.exit(main())

"""The console in a real terminal (a pty): colours, quiet at rest, an end that leaves the terminal as it was."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from tests.ui.database import damaged

_ROOT = Path(__file__).resolve().parents[2]
_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_PATIENCE = 60.0


class Terminal:
    """A console in a pty of 80x24, without a station: nothing is asked of any network."""

    def __init__(
        self, tmp_path: Path, *arguments: str, hangup_ignored: bool = False, module: str = "console", **environment: str
    ) -> None:
        self.output = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            if hangup_ignored:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.chdir(_ROOT)
            os.environ.pop("NO_COLOR", None)
            os.environ.update(TERM="xterm-256color", XDG_CONFIG_HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path))
            os.environ.update(environment)
            os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606
        ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def read_for(self, seconds: float) -> str:
        """Return what it sends within `seconds`."""
        return self.read_until(lambda text: False, seconds)

    def read_until(self, condition: Callable[[str], bool], seconds: float = _PATIENCE) -> str:
        """Return what it sends until `condition` holds of that, or it ends, or `seconds` are over."""
        got = b""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not condition(got.decode(errors="replace")):
            ready, _, _ = select.select([self._terminal], [], [], 0.1)
            if ready:
                try:
                    got += os.read(self._terminal, 65536)
                except OSError:  # it has ended
                    break
        text = got.decode(errors="replace")
        self.output += text
        return text

    def send(self, keys: str) -> None:
        """Type `keys`."""
        os.write(self._terminal, keys.encode())

    def end(self) -> int:
        """Type q and return the exit code."""
        self.send("q")
        self.read_until(lambda text: "\x1b[?1049l" in text)
        return self.exit_code()

    def hang_up(self) -> None:
        """Close the terminal under the console."""
        os.close(self._terminal)
        self._terminal = -1

    def exit_code(self) -> int:
        """Wait until the console ends, and return its exit code."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if self._terminal >= 0:
                self.read_for(0.1)
            else:
                time.sleep(0.1)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it goes on:\n{self.output[-2000:]}")

    def close(self) -> None:
        """End what has not ended by itself."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self._terminal >= 0:
            self.hang_up()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Open terminals that end with the test, however it ends."""
    opened: list[Terminal] = []

    def opening(*arguments: str, **options: Any) -> Terminal:
        opened.append(Terminal(tmp_path, *arguments, **options))
        return opened[-1]

    yield opening
    for terminal in opened:
        terminal.close()


def painted(text: str) -> bool:
    return "Operate" in text


def colours(text: str) -> set[str]:
    """Return the parts of SGR sequences that choose a colour, the defaults (39, 49) too."""
    parts = {part for codes in _SGR.findall(text) for part in codes.split(";")}
    return {part for part in parts if re.fullmatch(r"[349]\d|10\d", part)}


@pytest.mark.parametrize(
    ("arguments", "environment", "coloured"),
    [
        ((), {"NO_COLOR": "1"}, False),
        (("--colors", "none"), {}, False),
        ((), {"NO_COLOR": ""}, True),
        (("--colors", "16"), {}, True),
    ],
    ids=["NO_COLOR", "none", "empty NO_COLOR", "16"],
)
def test_colour_codes_are_sent_only_where_they_are_wanted(
    start: Callable[..., Terminal], arguments: tuple[str, ...], environment: dict[str, str], coloured: bool
) -> None:
    terminal = start(*arguments, **environment)
    terminal.read_until(painted)
    terminal.send("?")
    assert "help" in terminal.read_until(lambda text: "help" in text)
    terminal.send("\x1b")
    assert painted(terminal.read_until(painted))
    assert terminal.end() == 0
    assert painted(terminal.output)
    assert bool(colours(terminal.output)) is coloured
    if "16" in arguments:
        assert "38" not in colours(terminal.output)
        assert "48" not in colours(terminal.output)
        assert "✓" not in terminal.output


def test_it_is_quiet_at_rest_and_leaves_the_terminal_as_it_was(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.read_until(painted)
    # At rest it sends a few cells a second; what its start sends late on a busy machine is not counted.
    quiet = (len(terminal.read_for(4.0).encode()) for _ in range(10))
    assert any(sent < 4000 for sent in quiet)
    assert terminal.end() == 0
    assert "\x1b[?1049h" in terminal.output
    assert "\x1b[?1049l" in terminal.output
    assert "\x1b[?1000h" not in terminal.output  # the mouse is the terminal's own
    assert "Traceback" not in terminal.output


def test_keys_that_come_in_one_write_reach_what_they_are_for(start: Callable[..., Terminal], tmp_path: Path) -> None:
    """As tmux send-keys writes them: into the browser, through its filter, into a file, to an offset, to an export."""
    database, _ = damaged(tmp_path / "station")
    terminal = start("console", "--db-root", str(database.root))
    terminal.read_until(painted)
    terminal.send("b/txn_seq txnlog\r\rg0x20\re")
    terminal.read_until(lambda text: "samples.json" in text)
    (screen,) = tmp_path.glob("walmedic/exports/*/screen.txt")
    rows = screen.read_text(encoding="utf-8").splitlines()
    assert "txn_seq/_txnlog" in rows[2]
    assert "bytes a record" in rows[4]
    assert "0x20 = 32" in rows[4]
    terminal.send("q")
    terminal.read_until(painted)
    assert terminal.end() == 0


def test_escape_and_a_letter_typed_right_behind_it_are_two_keys(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.read_until(painted)
    terminal.send("?")
    terminal.read_until(lambda text: "help" in text)
    terminal.send("\x1bj")
    assert "journal" in terminal.read_until(lambda text: "entry" in text or "No actions" in text, 20)
    terminal.send("\x1bq")
    assert terminal.exit_code() == 0


def test_nothing_heavy_is_imported_before_the_first_paint() -> None:
    heavy = (
        "numpy", "psycopg", "redis", "screens.browser", "screens.panes.tables", "console.recovery.engine",
        "console.questdb", "console.diagnosis.model", "console.probes.contents",
    )  # fmt: skip
    code = f"import sys, console.app; sys.exit(', '.join(name for name in {heavy} if name in sys.modules) or 0)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == ""
    assert ended.returncode == 0


def test_it_ends_when_its_terminal_goes_even_where_no_signal_says_so(start: Callable[..., Terminal]) -> None:
    """Under nohup, sudo or a tracer the signal of a lost line never comes; a console that nobody sees must not stay."""
    terminal = start(hangup_ignored=True)
    terminal.read_until(painted)
    terminal.hang_up()
    assert terminal.exit_code() == 0


@pytest.mark.parametrize("module", ["console", "tests.ui.started_console"])
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "continued"])
def test_a_hangup_ends_it_and_what_has_started_it(start: Callable[..., Terminal], module: str, stopped: bool) -> None:
    """Its reader would else read a dead terminal for ever, with a whole core; a SIGCONT must not make it two."""
    terminal = start(module=module)
    terminal.read_until(painted)
    if stopped:
        os.kill(terminal.pid, signal.SIGSTOP)
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.read_until(lambda text: "\x1b[?1049h" in text)
    os.kill(terminal.pid, signal.SIGHUP)
    os.kill(terminal.pid, signal.SIGCONT)
    terminal.hang_up()
    assert terminal.exit_code() == 0


def test_a_fault_of_its_own_is_one_sentence_and_the_log_has_the_rest(
    start: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = start(module="tests.ui.broken_console")
    terminal.read_until(painted)
    terminal.send("l")
    assert terminal.exit_code() == 1
    left = terminal.output.split("\x1b[?1049l")[-1]
    said = " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", left).split())
    assert "ended by a fault of its own (ZeroDivisionError)" in said
    assert "Traceback" not in terminal.output
    (log,) = tmp_path.rglob("walmedic.log")
    assert "ZeroDivisionError: planted" in log.read_text()

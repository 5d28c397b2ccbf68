"""Running a foreign program: an argv list, plain English answers, a deadline, and nothing left behind."""

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from console.services.model import ServiceError
from console.text import clean


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended: its exit status and its output without control characters."""

    status: int
    output: str
    error: str


def plain_environment() -> dict[str, str]:
    """Return this process's environment with English messages, no pager, no colours, and none of our secrets."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("WALMEDIC_")}
    return {**ours, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "SYSTEMD_URLIFY": "0"}


def run(argv: Sequence[str], timeout: float) -> Finished:
    """Run `argv` to its end. After `timeout` seconds its whole process group is killed.

    Raises ServiceError where it is not installed, may not be run, or did not end in time.
    """
    shown = shlex.join(argv)
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=plain_environment(),
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ServiceError(f"{argv[0]} is not installed here, so `{shown}` cannot be run") from None
    except OSError as error:
        raise ServiceError(f"`{shown}` cannot be run: {error.strerror}") from error
    try:
        output, error_output = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise ServiceError(f"`{shown}` did not end within {timeout:.0f} s and was given up") from None
    finally:
        _end(process)
    return Finished(
        process.returncode, clean(output.decode(errors="replace")), clean(error_output.decode("utf-8", "replace"))
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the group of `process` where it still lives, and reap it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

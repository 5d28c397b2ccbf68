"""The way in: `walmedic`, and `python -m console`. Nothing is imported before Ctrl-C can be answered in a sentence."""

import os
import signal
import sys
from types import FrameType


def _stopped(signum: int, frame: FrameType | None) -> None:
    """Answer Ctrl-C while the program is still being loaded."""
    os.write(2, b"stopped; nothing was done\n")
    os._exit(8 if "--detailed-exitcode" in sys.argv else 1)  # as console.exit_codes has it


def main() -> None:
    """Run the command line and leave with its exit code."""
    answers = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is to be ignored
    if answers:
        signal.signal(signal.SIGINT, _stopped)
    from console.cli import main as command_line

    code = command_line(sys.argv[1:], answers_interrupt=answers)
    if answers:  # all is done: an exception in the middle of the interpreter's end would only be noise
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


if __name__ == "__main__":
    main()

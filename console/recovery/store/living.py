"""Whether a process of walmedic still lives. The kernel gives ids again, so a process is noted by its start too:

pid 4711, stamp "5f0c…-… 912345"    boot, and ticks since boot at which it started (/proc/PID/stat, field 22)
"""

import itertools
import os
from pathlib import Path

from console.durable import boot_id


def process_stamp(pid: int) -> str:
    """Return what no later process of that id has, empty where there is no such process."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return f"{boot_id()} {int(after_name[19])}"
    except (OSError, IndexError, ValueError):
        return ""


def own_stamp() -> str:
    return process_stamp(os.getpid())


def runs_walmedic(pid: int, stamp: str = "") -> bool:
    """Return whether `pid` is a process of walmedic that lives: by the stamp that was noted, else by its command line.

    One that ended and was not yet reaped does not live: it has no command line.
    """
    words = command_line(pid)
    if stamp:
        return bool(words) and process_stamp(pid) == stamp
    modules = [module for option, module in itertools.pairwise(words) if option == b"-m"]
    named = any(word.rpartition(b"/")[2] == b"walmedic" for word in words[:3])
    return named or any(module == b"console" or module.startswith(b"console.") for module in modules)


def command_line(pid: int) -> list[bytes]:
    """Return the words of a process' command line, none where it has ended or may not be seen."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []

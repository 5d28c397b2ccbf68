"""The system programs that the tests drive and that no wheel brings: installed where root may, named where not.

`python -m tests.programs` runs before `make test` and the long runs. It needs nothing but Python.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

# program -> (where it may be besides PATH, package of apt-get and zypper, package of dnf, apk, pacman)
PROGRAMS: Final[Mapping[str, tuple[str, str, str]]] = {
    "tmux": ("", "tmux", "tmux"),
    "strace": ("", "strace", "strace"),
    "systemd": ("/lib/systemd/systemd", "systemd", "systemd"),
    "dbus-daemon": ("", "dbus", "dbus-daemon"),
    "unshare": ("", "util-linux", "util-linux"),
    "setpriv": ("", "util-linux", "util-linux"),
    "openssl": ("", "openssl", "openssl"),
    "redis-server": ("", "redis-server", "redis"),  # with TLS, which those of the wheels are built without
    "podman": ("", "podman", "podman"),
    "crun": ("", "crun", "crun"),
}
# package manager -> (what comes before the packages, what refreshes its lists)
MANAGERS: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "apt-get": (("apt-get", "install", "-y", "-qq", "--no-install-recommends"), ("apt-get", "update", "-qq")),
    "dnf": (("dnf", "install", "-y", "-q"), ()),
    "zypper": (("zypper", "--non-interactive", "install"), ()),
    "apk": (("apk", "add"), ("apk", "update")),
    "pacman": (("pacman", "-S", "--noconfirm", "--needed"), ("pacman", "-Sy")),
}
_APT_NAMES: Final = ("apt-get", "zypper")


def missing(which: Callable[[str], str | None] = shutil.which) -> list[str]:
    """Return the programs that this machine does not have."""
    return [
        name
        for name, (place, _, _) in PROGRAMS.items()
        if which(name) is None and not (place and os.access(place, os.X_OK))
    ]


def packages(programs: Sequence[str], manager: str) -> list[str]:
    """Return the packages that bring `programs`, each once, by the names of `manager`."""
    column = 1 if manager in _APT_NAMES else 2
    return list(dict.fromkeys(PROGRAMS[name][column] for name in programs))


def sentence(programs: Sequence[str], manager: str) -> str:
    """Return the one sentence that says what to install, and how where the package manager is known."""
    needed = ", ".join(programs)
    if not manager:
        return f"the tests drive programs that this machine does not have: install {needed}, then run make test again"
    command = " ".join([*MANAGERS[manager][0], *packages(programs, manager)])
    return f"the tests drive programs that this machine does not have ({needed}): run `{command}` as root"


def install(programs: Sequence[str], manager: str) -> bool:
    """Install what brings `programs`; return whether all of them are there now. What goes wrong stays readable."""
    command, refresh = MANAGERS[manager]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (refresh, (*command, *packages(programs, manager))):
        if argv and subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
            return False
    return not set(programs) & set(missing())


def main() -> int:
    """Return 0 where all programs are there (now), else 1 after the one sentence."""
    if not Path("/proc/self/ns").is_dir():
        print("the tests need Linux: they run servers in namespaces of their own", file=sys.stderr)  # noqa: T201
        return 1
    programs = missing()
    if not programs:
        return 0
    manager = next((name for name in MANAGERS if shutil.which(name)), "")
    if os.geteuid() == 0 and manager:
        print(f"installing {', '.join(packages(programs, manager))} with {manager}", flush=True)  # noqa: T201
        if install(programs, manager):
            return 0
    print(sentence(missing() or programs, manager), file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())

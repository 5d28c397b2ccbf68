"""Which user may do what here, and the exact command of one that may do more."""

import os
import pwd
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from console import paths
from console.probes.checks import Check, Level
from console.questdb.layout import REGISTRY_LOCK
from console.settings import COMMAND_LINE, Settings

_SUBJECT: Final = "user"
_ROOT: Final = 0
# Of these only root, or whom root has let, may start and stop units.
_ROOTS: Final = ("systemd", "docker", "podman")


def check_user(settings: Settings, place: Path) -> list[Check]:
    """Return what this user may do with the data below `place`, the db directory or the data root."""
    owner = _owner(place)
    mine = os.geteuid()
    if paths.mounted_read_only(place):
        message = (
            "the file system of the data is mounted read-only, as the kernel does after disk errors: look at dmesg"
        )
        return [Check(_SUBJECT, Level.PROBLEM, message)]
    if mine == _ROOT:
        keeps = f"; repaired files keep their owner, {_named(owner)}" if owner else ""
        return [Check(_SUBJECT, Level.OK, f"root may read and repair the data{keeps}"), *_sudo(settings)]
    if owner == mine:
        return [Check(_SUBJECT, Level.OK, f"{_named(mine)} owns the data, and may read and repair it")]
    reads, writes = os.access(place, os.R_OK | os.X_OK), os.access(place, os.R_OK | os.W_OK | os.X_OK)
    if writes:
        message = f"{_named(mine)} may write in it, but new files would not be of its owner, {_named(owner)}"
    else:
        message = f"{_named(mine)} {'may look but not repair' if reads else 'may not read the data'}"
        message += f"; the data belongs to {_named(owner)}" if owner is not None else ""
    level = Level.NOTE if reads else Level.PROBLEM
    return [Check(_SUBJECT, level, f"{message}; to repair: {command_for(settings, owner)}")]


def command_for(settings: Settings, owner: int | None) -> str:
    """Return the command that runs `doctor` as a user who may repair: root, or the owner where root is not needed."""
    words = [_program(), "doctor"]
    if settings.file and Path(settings.file) != paths.default_settings_file():
        words += ["--config", settings.file]
    if settings.sources.get("questdb.db_root") == COMMAND_LINE:
        words += ["--db-root", settings.questdb.db_root]
    named = settings.sources.get("state_dir") == COMMAND_LINE
    if owner in (None, _ROOT) or settings.services.backend in _ROOTS or not _has_name(owner):
        # -E keeps the home directory, and with it the settings file and the state directory.
        words += ["--state-dir", settings.state_dir] if named else []
        return shlex.join(["sudo", "-E", *words])
    state = settings.state_dir or "DIR"  # one that the owner may write: the default one is this user's
    return shlex.join(["sudo", "-u", f"#{owner}", *words, "--state-dir", state])


def _sudo(settings: Settings) -> Iterator[Check]:
    """Yield a note if sudo took root's home directory, so that the caller's settings and journal are not seen."""
    caller = os.environ.get("SUDO_USER", "")
    if not caller or caller == "root" or settings.state_dir or settings.file:
        return
    try:
        home = Path(pwd.getpwnam(caller).pw_dir)
    except KeyError:
        return
    if Path.home() != home:
        words = ["sudo", "-E", _program(), "doctor"]
        yield Check(
            _SUBJECT,
            Level.NOTE,
            f"settings, journal and evidence of {caller} are not looked at: sudo took another home directory; "
            f"to keep them: {shlex.join(words)}",
        )


def _owner(place: Path) -> int | None:
    """Return whom the server's files belong to, None if that cannot be seen."""
    for each in (place / REGISTRY_LOCK, place):
        try:
            return each.lstat().st_uid
        except OSError:
            continue
    return None


def _program() -> str:
    """Return the path of walmedic: sudo has a PATH of its own."""
    found = shutil.which(sys.argv[0]) if not sys.argv[0].endswith(".py") else None
    return found or "walmedic"


def _has_name(uid: int | None) -> bool:
    try:
        return uid is not None and bool(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return False


def _named(uid: int | None) -> str:
    if uid is None:
        return "somebody else"
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"

"""Where walmedic keeps its own files, and where its style sheets are."""

import errno
import os
import stat
from pathlib import Path

import platformdirs

from console.durable import make_directories

_PACKAGE = Path(__file__).resolve().parent


def styles_dir() -> Path:
    """Return the folder of style sheets: inside the package in a wheel, beside it in a checkout."""
    beside = _PACKAGE.parent / "styles"
    return beside if (beside / "tokens.tcss").is_file() else _PACKAGE / "styles"


def glossary_file() -> Path:
    """Return the glossary: inside the package in a wheel, among the documents in a checkout."""
    beside = _PACKAGE.parent / "docs" / "glossary.md"
    return beside if beside.is_file() else _PACKAGE / "glossary.md"


def default_state_dir() -> Path:
    """Return the folder for journal, evidence and locks where `--state-dir` names none."""
    return Path(platformdirs.user_state_dir("walmedic"))


def default_settings_file() -> Path:
    """Return the settings file that is read where neither flag nor environment names one."""
    return Path(platformdirs.user_config_dir("walmedic")) / "walmedic.toml"


def cache_dir() -> Path:
    """Return the folder for downloads (the demo's server)."""
    return Path(platformdirs.user_cache_dir("walmedic"))


def make_private(folder: Path) -> Path:
    """Create `folder` with mode 0700, durably, if it is missing, and return it.

    Raises OSError where it cannot be made, PermissionError where others may write to it.
    """
    make_directories(folder)
    status = folder.stat()
    if status.st_mode & 0o022 and status.st_uid == os.geteuid():
        folder.chmod(0o700)
    elif status.st_mode & 0o022:
        raise PermissionError(f"{folder} can be written by others; make it yours alone (chmod 700)")
    return folder


def read_file(path: Path, most: int) -> bytes:
    """Return the content of the file at `path`, links followed.

    Raises OSError for a pipe, which would be waited for, for a directory, a device, and what is longer than `most`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):  # a directory is refused by fdopen
            kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
            raise OSError(errno.EINVAL, f"it is {kind} and not a file", str(path))
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is longer than {most:,} bytes", str(path))
    return content


_KINDS = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))


def mounted_read_only(place: Path) -> bool:
    """Return whether the file system of `place` is mounted read-only, as the kernel does after errors of a disk."""
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False

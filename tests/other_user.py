"""What another user is to run must lie where that user may enter: a checkout below /root does not."""

import atexit
import functools
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
USER = 65534


def for_others(path: Path) -> Path:
    """Return where any user finds `path`, a file or folder of this checkout or its Python: as is, or in a copy."""
    places = _places()
    for place, copy in places.items():
        if path.is_relative_to(place):
            return copy / path.relative_to(place)
    assert not places, f"{path} lies in none of {list(places)}"
    return path


@functools.cache
def _places() -> dict[Path, Path]:
    """Return folder → readable copy, the deeper one first; nothing where the other user can enter the checkout."""
    argv = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"]
    tried = subprocess.run([*argv, sys.executable, "-c", f"open({str(__file__)!r})"], capture_output=True, check=False)
    if tried.returncode == 0:
        return {}
    top = Path(tempfile.mkdtemp(prefix="walmedic-readable-"))
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    top.chmod(0o755)
    copies = {Path(sys.prefix): top / "python", CHECKOUT: top / "checkout"}
    for place, copy in copies.items():
        ignored = shutil.ignore_patterns(".*", "snapshots") if place == CHECKOUT else None
        shutil.copytree(place, copy, symlinks=True, ignore=ignored, copy_function=_linked)
    return copies


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system
        shutil.copy2(source, target)


@functools.cache
def _closed() -> dict[Path, list[Path]]:
    """Return folder that others may not enter → what lies in it of Python and the checkout."""
    found: dict[Path, list[Path]] = {}
    for place in dict.fromkeys((Path(sys.base_prefix), Path(sys.prefix), CHECKOUT)):
        closed = next((each for each in reversed(place.parents) if not each.stat().st_mode & 0o001), None)
        if closed is not None:
            found.setdefault(closed, []).append(place)
    return found


def as_user(uid: int, folder: Path) -> list[str]:
    """Return what comes before an argv so that it runs as `uid`; `folder` is one to mount in, of this test alone.

    If Python or the checkout lies in a folder that others may not enter, it gets another one in a mount namespace.
    """
    script = ["set -e"]
    for number, (closed, places) in enumerate(_closed().items()):
        kept = []
        for index, place in enumerate(places):
            beside = folder / f"kept-{number}-{index}"
            beside.mkdir(exist_ok=True)
            script.append(f"mount --bind {shlex.quote(str(place))} {shlex.quote(str(beside))}")
            kept.append((beside, place))
        script.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(str(closed))}")
        for beside, place in kept:
            script.append(f"mkdir -p {shlex.quote(str(place))}")
            script.append(f"mount --bind {shlex.quote(str(beside))} {shlex.quote(str(place))}")
    script.append('exec "$@"')
    user = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    if len(script) == 2:
        return user
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(script), "sh", *user]

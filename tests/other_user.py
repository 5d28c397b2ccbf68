"""What another user is to run must lie where that user may enter: a checkout below /root does not."""

import atexit
import functools
import os
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

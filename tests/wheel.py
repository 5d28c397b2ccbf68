"""The wheel as it would be published, built by the project's own back end."""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BUILD = (
    "import os, sys; os.chdir(sys.argv[1]); from hatchling.build import build_wheel; print(build_wheel(sys.argv[2]))"
)


def build(folder: Path) -> Path:
    """Build the wheel into `folder` and return its path."""
    finished = subprocess.run(
        [sys.executable, "-c", _BUILD, str(ROOT), str(folder)], capture_output=True, text=True, check=False, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    return next(folder.glob("*.whl"))


def install(wheel: Path, folder: Path) -> Path:
    """Make a virtual environment that has the wheel, and the packages it needs from this one; return its command."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, timeout=120)
    # A folder named in a .pth is searched last, and the .pth files in it are not read: not the checkout's own.
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "walmedic"

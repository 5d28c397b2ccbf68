#!/bin/sh
# Wheel, sdist and one self-contained executable, in dist/. The executable holds the interpreter it is built with, so that
# it runs where the C library is at least as new as what that interpreter and its modules ask for: said at the end.
set -eu
cd "$(dirname "$0")/../.."
work=build/dist
rm -rf "$work" dist
mkdir -p "$work" dist
.venv/bin/python -c 'from hatchling.build import build_sdist, build_wheel; build_wheel("dist"); build_sdist("dist")'
uv=$(command -v uv || echo .venv/bin/uv)
"$uv" venv --quiet --python "$(readlink -f .venv/bin/python)" "$work/venv"
"$uv" pip install --quiet --python "$work/venv/bin/python" --require-hashes -r requirements/dist.txt
"$uv" pip install --quiet --python "$work/venv/bin/python" --no-deps dist/*.whl
"$work/venv/bin/pyinstaller" --log-level ERROR --onefile --name walmedic \
  --distpath dist --workpath "$work" --specpath "$work" \
  --collect-submodules console --collect-submodules screens --collect-submodules rich._unicode_data \
  --collect-data console --collect-data textual --collect-submodules textual.widgets \
  --collect-all psycopg_binary --collect-submodules psycopg --collect-submodules redis \
  --exclude-module tkinter --exclude-module pyarrow --exclude-module numpy.f2py \
  contrib/packaging/executable.py
.venv/bin/python contrib/packaging/man.py >dist/walmedic.1
mv dist/walmedic "dist/walmedic-$(uname -m)"
needs=$("$work/venv/bin/python" - <<'P'
import platform, re
from PyInstaller.archive.readers import CArchiveReader
archive = CArchiveReader(f"dist/walmedic-{platform.machine()}")
versions = set()
for name, entry in archive.toc.items():
    if entry[-1] == "b":
        versions |= {tuple(map(int, v.split(b"."))) for v in re.findall(rb"GLIBC_(2\.\d+)", archive.extract(name))}
print(".".join(map(str, max(versions))))
P
)
ls -l dist
echo "the executable needs glibc $needs or later"

#!/bin/sh
# Wheel, sdist, man page, one self-contained executable and a Debian package, in dist/. Both hold the interpreter they
# are built with, so that they run where the C library is at least as new as what it and its modules ask for.
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
"$work/venv/bin/pyinstaller" --log-level ERROR --onedir --name walmedic \
  --distpath "$work" --workpath "$work/made" --specpath "$work" \
  --collect-submodules console --collect-submodules screens --collect-submodules rich._unicode_data \
  --collect-data console --collect-data textual --collect-submodules textual.widgets \
  --collect-all psycopg_binary --collect-submodules psycopg --collect-submodules redis \
  --exclude-module tkinter --exclude-module pyarrow --exclude-module numpy.f2py \
  contrib/packaging/executable.py
.venv/bin/python contrib/packaging/man.py >dist/walmedic.1
needs=$(grep -rhaoE 'GLIBC_2\.[0-9]+' "$work/walmedic" | sort -uV | tail -n 1 | cut -d_ -f2)

tar --owner=0 --group=0 --numeric-owner -czf "$work/walmedic.tar.gz" -C "$work/walmedic" .
stub=contrib/packaging/one_file.sh
digest=$(sha256sum "$work/walmedic.tar.gz" | cut -c1-16)
line=$(($(wc -l <"$stub") + 1))
one="dist/walmedic-$(uname -m)"
files=$(find "$work/walmedic" -type f | wc -l)
sed "s/@DIGEST@/$digest/g; s/@LINE@/$line/; s/@FILES@/$files/" "$stub" | cat - "$work/walmedic.tar.gz" >"$one"
chmod 755 "$one"

if command -v dpkg-deb >/dev/null; then
  contrib/packaging/debian.sh "$work" "$needs"
else
  echo "no Debian package: dpkg-deb is not installed"
fi
ls -l dist
echo "executable and Debian package need glibc $needs or later"

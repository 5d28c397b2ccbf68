#!/bin/sh
# debian.sh DIRECTORY GLIBC: a Debian package of DIRECTORY/walmedic, man page, completion and systemd units, in dist/.
set -eu
tree=$1/debian
version=$(.venv/bin/python -c 'from importlib.metadata import version; print(version("walmedic"))')
architecture=$(dpkg --print-architecture)
rm -rf "$tree"
mkdir -p "$tree/DEBIAN" "$tree/usr/bin" "$tree/usr/lib/systemd/system" "$tree/usr/share/man/man1" \
  "$tree/usr/share/bash-completion/completions" "$tree/usr/share/doc/walmedic"
cp -a "$1/walmedic" "$tree/usr/lib/walmedic"
ln -s ../lib/walmedic/walmedic "$tree/usr/bin/walmedic"
gzip -9nc dist/walmedic.1 >"$tree/usr/share/man/man1/walmedic.1.gz"
_WALMEDIC_COMPLETE=bash_source .venv/bin/walmedic >"$tree/usr/share/bash-completion/completions/walmedic"
for unit in contrib/systemd/*; do
  sed 's|/usr/local/bin/walmedic|/usr/bin/walmedic|' "$unit" >"$tree/usr/lib/systemd/system/${unit##*/}"
done
cp LICENSE "$tree/usr/share/doc/walmedic/copyright"
cat >"$tree/DEBIAN/control" <<C
Package: walmedic
Version: $version
Architecture: $architecture
Maintainer: The walmedic maintainers
Installed-Size: $(du -sk "$tree/usr" | cut -f1)
Depends: libc6 (>= $2)
Section: database
Priority: optional
Description: recovery console for QuestDB after a crash or power loss
 A check of every file of a table, and a full-screen console that brings a
 damaged station back: each step with its cost, a rehearsal, a proof and an
 undo. It holds its own Python; no network is needed.
C
chmod -R u=rwX,go=rX "$tree"
dpkg-deb -z2 --root-owner-group --build "$tree" "dist/walmedic_${version}_${architecture}.deb" >/dev/null

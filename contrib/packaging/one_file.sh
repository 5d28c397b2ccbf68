#!/bin/sh
# walmedic and its Python, as an archive behind this script: unpacked at the first start, then started from there.
# Where: /var/cache/walmedic for root, else ~/.cache/walmedic; where that cannot be, a directory of the user in /tmp.
set -eu
umask 077
uid=$(id -u)
if [ "$uid" = 0 ]; then cache=/var/cache/walmedic; else cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/walmedic; fi
for place in "$cache/@DIGEST@" "${TMPDIR:-/tmp}/walmedic-$uid-@DIGEST@"; do
  # Only what this user unpacked, to its end and on the disk, with all of its files; what is not is unpacked anew.
  if [ -d "$place" ] && [ ! -L "$place" ] && [ -O "$place" ] && [ "$(find "$place" -type f | wc -l)" != @FILES@ ]; then
    rm -rf "$place"
  fi
  if [ ! -e "$place" ]; then
    new=$place.$$
    { mkdir -p "${place%/*}" && mkdir "$new"; } 2>/dev/null || continue
    if ! tail -n +@LINE@ "$0" | tar -xzof - -C "$new" 2>/dev/null; then
      rm -rf "$new"
      continue
    fi
    sync -f "$new" 2>/dev/null || sync # a power loss must not leave empty files
    mv -T "$new" "$place" 2>/dev/null || rm -rf "$new" # another start was faster
  fi
  if [ ! -L "$place" ] && [ -O "$place" ] && [ -x "$place/walmedic" ]; then exec "$place/walmedic" "$@"; fi
done
echo "walmedic: cannot unpack itself (120 MB) in $cache or ${TMPDIR:-/tmp}; set TMPDIR to a directory with room, where programs may run" >&2
exit 1

"""The support bundle: one archive for those who can help, previewed before it is written, nothing in it that is secret.

A gzipped tar with report.md first, a manifest with the SHA-256 of every file, and owner-less members of mode 0600.
"""

import datetime
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from console import __version__
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.store.state import StateDir
from console.reporting.incident import read_incident
from console.reporting.output import DiskFullError, checked_place, write_new
from console.reporting.parts import Collector, Missing, Part
from console.reporting.posting import DESTINATIONS
from console.reporting.private import redactor_for
from console.settings import Settings

_NEVER_DROPPED = ("report.md", "findings.json", "crashes.json")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as it would be written: its parts in memory, and what is not in it."""

    name: str
    made_at: float
    database: DatabaseRoot
    parts: tuple[Part, ...]
    missing: tuple[Missing, ...]
    removed: Mapping[str, int]

    @property
    def size(self) -> int:
        """Return the bytes of all parts before they are packed."""
        return sum(len(part.content) for part in self.parts)

    @property
    def report(self) -> str:
        return next((part.content.decode() for part in self.parts if part.name == "report.md"), "")

    def to_json(self) -> dict[str, Any]:
        """Return the manifest: every file with its hash, what was taken out, what is missing, where to take it."""
        return {
            "schema": 1,
            "made_at": _iso(self.made_at),
            "walmedic": __version__,
            "files": [
                {
                    "name": part.name,
                    "size": len(part.content),
                    "sha256": hashlib.sha256(part.content).hexdigest(),
                    "source": part.source,
                    "removed": dict(part.removed),
                    "cut": part.cut,
                }
                for part in self.parts
            ],
            "removed": dict(self.removed),
            "missing": [{"what": each.what, "why": each.why} for each in self.missing],
            "take_it_to": [{"name": d.name, "address": d.address, "what": d.what} for d in DESTINATIONS],
        }


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle on disk. `bundle` is what is in it: less than was asked for where the disk had no room."""

    path: Path
    size: int
    sha256: str
    bundle: Bundle


def prepare(settings: Settings, *, journal_directory: Path | None = None) -> Bundle:
    """Read everything and return the bundle; nothing is written. Raises WalmedicError where there is no database."""
    incident = read_incident(settings, journal_directory=journal_directory)
    redactor = redactor_for(incident, private=True)
    collector = Collector(incident, redactor)
    collector.collect()
    stamp = datetime.datetime.fromtimestamp(incident.made_at, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    station = "".join(c if c.isalnum() or c in "-_" else "-" for c in redactor.text(incident.station))[:60]
    name = f"walmedic-bundle-{station.strip('-') or 'station'}-{stamp}"
    return Bundle(
        name=name,
        made_at=incident.made_at,
        database=incident.database,
        parts=tuple(collector.parts),
        missing=tuple(collector.missing),
        removed=collector.removed,
    )


def place_for(bundle: Bundle, settings: Settings, to: Path | None) -> Path:
    """Return where the bundle goes: `to`, in `to` where that is a directory, else in the state directory.

    Raises OutputError where it lies in the database or exists, StateError where the state directory cannot be made.
    """
    if to is None:
        state = StateDir(settings.state_path)
        folder = state.root / "bundles"
        checked_place(_existing(folder) / bundle.name, bundle.database)  # before anything is made there
        to = state.made(folder)
    path = to / f"{bundle.name}.tar.gz" if to.is_dir() else to
    return checked_place(path, bundle.database)


def write(bundle: Bundle, place: Path) -> Written:
    """Write the bundle to the new file `place`. On a full disk the largest parts are left out until it fits.

    Raises OutputError where it cannot be written at all.
    """
    while True:
        content = archive(bundle)
        try:
            path = write_new(place, content, bundle.database)
        except DiskFullError:
            smaller = _smaller(bundle)
            if smaller is None:
                raise
            bundle = smaller
            continue
        return Written(path, len(content), hashlib.sha256(content).hexdigest(), bundle)


def archive(bundle: Bundle) -> bytes:
    """Return the bytes of the archive; the same bundle gives the same bytes."""
    manifest = json.dumps(bundle.to_json(), ensure_ascii=False, indent=1).encode()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in (*((part.name, part.content) for part in bundle.parts), ("manifest.json", manifest)):
            member = tarfile.TarInfo(f"{bundle.name}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, int(bundle.made_at)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), mtime=int(bundle.made_at))


def _smaller(bundle: Bundle) -> Bundle | None:
    """Return the bundle without its largest part that is not needed to understand the rest; None where none is left."""
    droppable: Sequence[Part] = [part for part in bundle.parts if part.name not in _NEVER_DROPPED]
    if not droppable:
        return None
    largest = max(droppable, key=lambda part: len(part.content))
    why = f"skipped, {len(largest.content):,} bytes: the disk is full"
    parts = tuple(part for part in bundle.parts if part is not largest)
    return replace(bundle, parts=parts, missing=(*bundle.missing, Missing(largest.name, why)))


def _existing(folder: Path) -> Path:
    for each in (folder, *folder.parents):
        if each.is_dir():
            return each
    raise WalmedicError(f"there is no directory above {folder}; name another place with --to")


def _iso(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="seconds")

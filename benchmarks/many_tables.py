"""A database of many healthy tables: copies of what a real QuestDB 9.1.0 wrote; names, ids and registry fit."""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.data.samples import sample_files

_ARCHETYPES = ("altered~5", "kinds~6")
_FIRST_ID = 100


def write_tables(root: Path, count: int) -> None:
    """Write `root`/db with `count` tables: half of them altered, half with all sorts of columns."""
    files = sample_files("v1")
    db = root / "db"
    db.mkdir(parents=True)
    entries = []
    for number in range(count):
        archetype = _ARCHETYPES[number % len(_ARCHETYPES)]
        name, table_id = f"copy_{number}", _FIRST_ID + number
        for path, data in _copied(files, archetype, name, table_id):
            place = db / f"{name}~{table_id}" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        entries.append(_registry_entry(name, table_id))
    registry = b"".join(entries)
    (db / "tables.d.0").write_bytes(struct.pack("<q", 8 + len(registry)) + registry)
    (db / "_tab_index.d").write_bytes(struct.pack("<q", _FIRST_ID + count).ljust(4096, b"\0"))


def _copied(files: Mapping[str, bytes], archetype: str, name: str, table_id: int) -> Iterator[tuple[str, bytes]]:
    for path, data in files.items():
        if not path.startswith(f"{archetype}/"):
            continue
        inner = path.removeprefix(f"{archetype}/")
        parts = inner.split("/")
        if inner == "_name":
            yield inner, _string(name) + b"\0"
        elif inner in ("_meta", "txn_seq/_meta.0"):
            yield inner, _with_id(data, 16, table_id)
        elif parts[-1] == "_meta" and (parts[0] == "txn_seq" or parts[0].startswith("wal")):
            yield inner, _with_id(data, 24, table_id)
        else:
            yield inner, data


def _with_id(data: bytes, offset: int, table_id: int) -> bytes:
    return data[:offset] + struct.pack("<i", table_id) + data[offset + 4 :]


def _string(text: str) -> bytes:
    return struct.pack("<i", len(text)) + text.encode("utf-16-le")


def _registry_entry(name: str, table_id: int) -> bytes:
    """Return an addition of a WAL table, with its reserved bytes (TableNameRegistryStore)."""
    head = struct.pack("<i", 0) + _string(name) + _string(f"{name}~{table_id}")
    return head + struct.pack("<ii", table_id, 1) + bytes(64)

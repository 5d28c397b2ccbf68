"""Files of a real QuestDB 9.1.0, from the archive that `tests.data.capture_samples` makes."""

import functools
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from console.questdb.layout import DatabaseRoot
from console.questdb.log_encoding import encode_wal_index
from console.questdb.table_ids import TABLE_INDEX

Kind = Literal["v1", "v2"]
KINDS: Final[tuple[Kind, ...]] = ("v1", "v2")
_ARCHIVE: Final = Path(__file__).with_name("questdb-9.1.0.tar.xz")
_PARQUET: Final = Path(__file__).with_name("questdb-9.1.0-parquet.tar.xz")


@functools.cache
def sample_files(kind: Kind) -> Mapping[str, bytes]:
    """Return the files of the db directory whose logs have the format `kind`, by path under db/."""
    return _files(_ARCHIVE, kind)


@functools.cache
def parquet_files() -> Mapping[str, bytes]:
    """Return the files of a db directory with one table, two of whose three partitions are in Parquet."""
    return _files(_PARQUET, "parquet")


def _files(path: Path, kind: str) -> Mapping[str, bytes]:
    with tarfile.open(path) as archive:
        found = {
            member.name.removeprefix(f"{kind}/"): reader.read()
            for member in archive.getmembers()
            if member.name.startswith(f"{kind}/") and (reader := archive.extractfile(member)) is not None
        }
    found.setdefault(TABLE_INDEX, encode_wal_index(1000))  # older archives lack it
    return MappingProxyType(found)


def sample_database(kind: Kind, into: Path) -> DatabaseRoot:
    """Write the sample under `into`/db and return its root."""
    for name, data in sample_files(kind).items():
        path = into / "db" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return DatabaseRoot.locate(into)

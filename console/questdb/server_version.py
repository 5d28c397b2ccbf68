"""Which QuestDB versions a data root has seen, as its own files tell (TelemetryConfigLogger, EngineMigration).

`telemetry_config` is a table of the server's own, written at every start, also with telemetry switched off. Its symbol
column `version` names each version that started here, in the order of first use; its last row is the latest start.
`_upgrade.d` holds the migration numbers only, so that it tells no more than a lower bound.
"""

import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields
from console.questdb.formats.database import UPGRADE
from console.questdb.reading import DamageError, DbFile, read_small
from console.questdb.symbol_values import Dictionary, read_dictionary
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import read_table_txn
from console.text import clean_line

TELEMETRY: Final = "telemetry_config"
_COLUMN: Final = "version"
_NUMBER: Final = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
_IN_NAME: Final = re.compile(r"questdb-(\d[\w.-]*?)(?:-(?:no-jre-bin|rt-.*))?\.jar")
_PROPERTIES: Final = "META-INF/maven/org.questdb/questdb/pom.properties"
_MOST: Final = 64 << 10
_VERSIONS: Final = 1000


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version by its numbers; `text` is what the server calls itself (`9.3.4`, `9.4.0-SNAPSHOT`)."""

    numbers: tuple[int, int, int]
    text: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str) -> "Version | None":
        found = _NUMBER.match(text.strip())
        if found is None:
            return None
        return cls((int(found[1]), int(found[2]), int(found[3] or 0)), clean_line(text.strip())[:40])

    def __str__(self) -> str:
        return self.text or ".".join(map(str, self.numbers))


@dataclass(frozen=True, slots=True)
class VersionsOnDisk:
    """What the data root says. `last` started most recently (None: unknown), `seen` are all that ever started here."""

    last: Version | None
    seen: tuple[str, ...]
    migration: tuple[int, int] | None


def read_versions(db: Path) -> VersionsOnDisk:
    """Return which versions have run on the db directory. What cannot be read is unknown, never an error."""
    seen, last = _telemetry(db / TELEMETRY)
    return VersionsOnDisk(last, seen, _migration(db))


def version_of_jar(jar: Path) -> Version | None:
    """Return the version of QuestDB in a jar, by its Maven properties, else by its name; None where neither tells."""
    try:
        with zipfile.ZipFile(jar) as archive, archive.open(_PROPERTIES) as stream:
            contents = stream.read(_MOST).decode(errors="replace")
    except (OSError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        contents = ""
    found = re.search(r"(?m)^version=(.+)$", contents) or _IN_NAME.fullmatch(jar.name)
    return Version.parse(found[1]) if found else None


def version_of_build(build: str) -> Version | None:
    """Return the version in the answer of `build()`: `Build Information: QuestDB 9.1.0, JDK 17.0.1, …`."""
    found = re.search(r"QuestDB[^\d\n]{0,20}(\d[\w.-]*)", build)
    return Version.parse(found[1]) if found else None


def _telemetry(table: Path) -> tuple[tuple[str, ...], Version | None]:
    """Return the versions in the order of their first use, and the one of the last row."""
    area = read_table_txn(table).current
    metadata = read_table_metadata(table) if area is not None else None  # what is not there is waited for
    if area is None or not isinstance(metadata, TableMetadata):
        return (), None
    names = [column.raw_name for column in metadata.symbols]
    if _COLUMN not in names or len(area.symbols) != len(names):
        return (), None
    count = min(int(area.symbols["count"][names.index(_COLUMN)]), _VERSIONS)
    try:
        dictionary = read_dictionary(table, _COLUMN, count)
        seen = tuple(_word(dictionary, key) for key in range(len(dictionary)))
        with DbFile(table / "default" / f"{_COLUMN}.d") as file:
            last = file.array(4 * (area.rows - 1), "<i4", 1)
    except (DamageError, OSError):
        return (), None
    key = int(last[0]) if len(last) else -1
    return seen, Version.parse(seen[key]) if 0 <= key < len(seen) else None


def _word(dictionary: Dictionary, key: int) -> str:
    text = dictionary.data[int(dictionary.offsets[key]) : int(dictionary.offsets[key + 1])]
    return clean_line(text.tobytes().decode(errors="replace"))[:40]


def _migration(db: Path) -> tuple[int, int] | None:
    file = read_small(db / "_upgrade.d")
    if len(file.data) < UPGRADE.size:
        return None
    values = UPGRADE.read(Fields(file.data))
    return values["table_version"], values["migration_version"]

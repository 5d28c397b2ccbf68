"""Where full checks found values that do not fit: partitions and columns by table, for the repairs that come after.

A repair reads those columns again. So an entry that is out of date costs time and no more.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from console.diagnosis.model import Finding, Severity
from console.recovery.store.places import root_key
from console.recovery.store.state import StateDir, StateError, write_private

_FORM: Final = 1
_LONGEST: Final = 64 << 20
Places = frozenset[tuple[str, str]]
"""Name of a partition (empty: the table), and of a column in it; an empty one stands for the whole partition."""


def places_of(findings: Iterable[Finding]) -> Places:
    damage = (each for each in findings if each.severity is Severity.DAMAGE)
    return frozenset((each.partition, each.column) for each in damage)


def note_damage(state: StateDir, db: Path, looked: Mapping[str, Places], *, whole: bool) -> None:
    """Keep what a full check found, by table directory; not `whole`: it looked at a part of those tables.

    Raises StateError if the state directory cannot be written.
    """
    known = _read(_place(state, db))
    for directory, places in looked.items():
        known[directory] = places if whole else known.get(directory, frozenset()) | places
    tables = {directory: sorted(places) for directory, places in sorted(known.items()) if places}
    path = _place(state, db)
    state.made(path.parent)
    try:
        write_private(path, json.dumps({"form": _FORM, "tables": tables}).encode())
    except OSError as error:
        raise StateError(f"{path} cannot be written ({error.strerror or error})") from error


def known_damage(state: StateDir, db: Path, directory: str) -> Places:
    """Return where the last full check of a table found damage; nothing if there was none."""
    return _read(_place(state, db)).get(directory, frozenset())


def damaged_tables(state: StateDir, db: Path) -> frozenset[str]:
    """Return the directories of the tables in which their last full check found damage."""
    return frozenset(directory for directory, places in _read(_place(state, db)).items() if places)


def _place(state: StateDir, db: Path) -> Path:
    return state.root / "deep" / f"{root_key(db)}-damage.json"


def _read(path: Path) -> dict[str, Places]:
    try:
        if path.stat().st_size > _LONGEST:
            return {}
        document = json.loads(path.read_bytes())
        tables = document["tables"] if document["form"] == _FORM else {}
        return {str(name): frozenset((str(a), str(b)) for a, b in places) for name, places in tables.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}

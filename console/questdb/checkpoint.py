"""A checkpoint beside the db directory, and the order to go back to it (DatabaseCheckpointAgent.recover).

`_restore` in the data root makes the next start copy `_meta`, `_txn`, `_cv` and the registry from the checkpoint over
those of the database. A checkpoint that names an instance makes it do so too, where the server has another instance id.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.fields import Fields
from console.questdb.reading import DamageError, read_small
from console.text import clean_line

TRIGGER: Final = "_restore"
_INSTANCE: Final = "cairo.snapshot.instance.id"
_PLACES: Final = (".checkpoint", "snapshot")
_FILES: Final = ("_snapshot", "_checkpoint_meta.d")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`trigger`: the next start goes back. `left` is a checkpoint that is there, `instance` the one that it names.

    `configured` is the instance that server.conf names; empty where it names none.
    """

    trigger: Path | None
    left: Path | None
    instance: str
    configured: str


def read_checkpoint(root: Path, db: Path) -> Checkpoint:
    """Return what lies beside the db directory `db` of the data root `root`."""
    trigger = root / TRIGGER
    found = next((root / place for place in _PLACES if (root / place / db.name).is_dir()), None)
    instance = ""
    if found is None:
        return Checkpoint(trigger if trigger.is_file() or trigger.is_symlink() else None, None, "", "")
    for name in _FILES:
        file = read_small(found / db.name / name)
        if file.present:
            try:
                instance = clean_line(Fields(file.data).string(0, limit=4096)[0] or "")
            except DamageError:
                instance = "?"
            break
    return Checkpoint(
        trigger if trigger.is_file() or trigger.is_symlink() else None, found, instance, _configured(root)
    )


def _configured(root: Path) -> str:
    text = read_small(root / "conf" / "server.conf").data.decode(errors="replace")
    found = re.findall(rf"(?m)^[ \t]*{re.escape(_INSTANCE)}[ \t]*[=:][ \t]*(.*?)[ \t\r]*$", text)
    return clean_line(found[-1]) if found else ""

"""Structure changes that are damaged: none ends in an error of its own."""

from pathlib import Path

import pytest

from console.questdb.reading import DamageError
from console.questdb.structure_log import Command, StructureChange
from console.questdb.table_metadata_changes import MetadataImage
from tests.data.samples import sample_database


@pytest.mark.parametrize(
    ("command", "numbers", "strings"),
    [
        (Command.ADD_COLUMN, (1 << 56, 128, 1, 0, 256, 0), ("new",)),
        (Command.RENAME_COLUMN, (), ("id",)),
        (Command.DROP_COLUMN, (), ("nowhere",)),
    ],
)
def test_a_change_that_does_not_fit_is_damage(
    command: Command, numbers: tuple[int, ...], strings: tuple[str, ...], tmp_path: Path
) -> None:
    table = sample_database("v1", tmp_path / "root").table("altered").path
    image = MetadataImage.of((table / "_meta").read_bytes())
    with pytest.raises(DamageError):
        image.apply(StructureChange(1, 0, 0, command, numbers, strings))

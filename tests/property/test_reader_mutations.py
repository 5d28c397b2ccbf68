"""Damaged and hostile input: no reader raises, reads outside its files, or takes memory or time without bound."""

import random
import time
from pathlib import Path

import pytest

from tests.data.samples import KINDS, Kind, sample_files
from tests.property.mutation import Folder, peak_mib, watched
from tests.property.readers import CRASHES, READERS, Reader

SLOWEST = 2.0
"""CPU seconds for one input, the largest being 96 MiB."""
MOST_MEMORY = 200.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_no_damage_breaks_a_reader(reader: Reader, kind: Kind, tmp_path: Path) -> None:
    """Mutations of the files that it reads; a failure names seed and number, which repeat it."""
    run_mutations(reader, kind, tmp_path, reader.inputs, seed=random.randrange(1 << 32))


def run_mutations(reader: Reader, kind: Kind, folder: Path, count: int, seed: int) -> None:
    """Let `reader` read `count` mutations and assert that each is taken well."""
    root = folder.resolve()
    files = {**sample_files(kind), **CRASHES, **reader.more}
    targets = reader.files(sorted(files))
    assert targets, reader
    database = Folder(root / "db", files)
    reader.read(root / "db")
    before = peak_mib()
    with watched(root) as watch:
        for number in range(count):
            dice = random.Random(f"{seed}-{number}")
            done = database.damage(dice, targets)
            start = time.process_time()
            try:
                reader.read(root / "db")
            except BaseException as error:
                error.add_note(f"{reader.name} {kind}, seed {seed}, number {number}: {done}")
                raise
            assert time.process_time() - start < SLOWEST, (seed, number, done)
            assert not watch.wrong, (seed, number, done, watch.wrong)
    assert watch.opened >= count
    assert peak_mib() - before < MOST_MEMORY

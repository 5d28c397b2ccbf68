"""A partition that is proven whole is one in which no fault is found, whatever is damaged."""

import random
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from console.questdb.partition_columns import PartitionFault
from console.questdb.partition_files import PartitionFiles
from console.questdb.partition_proof import PartitionProof
from tests.data.samples import sample_files
from tests.property.mutation import Folder, watched

INPUTS = 150


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_no_fault_is_found_in_what_is_proven_whole(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(1 << 32)
    root = tmp_path.resolve()
    files = sample_files(kind)
    folder = Folder(root / "db", files)
    names = sorted(name for name in files if "/wal" not in name and "/txn_seq" not in name and "/" in name)
    proven = faulty = 0
    real = PartitionProof.whole
    with watched(root):
        for number in range(INPUTS):
            done = folder.damage(random.Random(f"{seed}-{number}"), names)
            for table in DatabaseRoot.locate(root).tables():
                partitions = PartitionFiles.of(table.path)
                if partitions is None:
                    continue
                for span in partitions.spans:
                    monkeypatch.setattr(PartitionProof, "whole", real)
                    found = list(partitions.faults((span,)))
                    monkeypatch.setattr(PartitionProof, "whole", lambda *_: False)
                    searched: list[PartitionFault] = list(partitions.faults((span,)))
                    assert found == searched, (seed, number, done, span)
                    faulty += bool(searched)
                    monkeypatch.setattr(PartitionProof, "whole", real)
                    proven += partitions._proof.whole(span)
    assert proven > INPUTS, "what is whole is proven by the cheap way"
    assert faulty > INPUTS // 20, "damage was found"

"""`_txn` says another seqTxn, and its checksum fits: a field that was changed with care, or another table's or time's.

Nothing in the file contradicts it then. Log, WAL and the rows of the columns do, or the loss is not known.
"""

import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from console.diagnosis.model import Code, Harm, Verdict
from console.questdb.formats.table import TXN_RECORD
from console.questdb.partition_files import PartitionFiles
from console.questdb.table_txn import read_table_txn
from console.recovery.server.jvm import ServerBinary
from tests.real.adversary_strikes import DEDUP, PLAIN, Strike, all_of, gone, rows, together
from tests.real.adversary_world import Case, Played, hold, play
from tests.real.ledger_cases import write

pytestmark = pytest.mark.timeout(900)  # one fixture plays all cases

_APPLIED = (rows(0), rows(24), rows(48))
_PENDING = (rows(72), rows(96))
_REWRITTEN = (rows(0), rows(24), "KEEP old", rows(0.01), rows(48))
"""The fourth writes a partition anew."""
_LOG, _NO_LOG = "logged", "alone"


def _sealed(seq_txn: int) -> Strike:
    """Let `_txn` say `seq_txn`, with the checksum that fits."""

    def strike(table: Path, _: Path) -> None:
        area = read_table_txn(table).current
        assert area is not None
        changed = replace(area, seq_txn=seq_txn)
        write(table / "_txn", area.base + TXN_RECORD.at("seq_txn"), struct.pack("<q", seq_txn))
        checksum = struct.pack("<i", changed.lag_checksum_expected())
        write(table / "_txn", area.base + TXN_RECORD.at("lag_checksum"), checksum)

    return strike


def _older(table: Path, kept: Path) -> None:
    """`_txn` is the one that was kept aside."""
    shutil.copy(kept / "old" / "_txn", table / "_txn")


def _older_rewritten(table: Path, kept: Path) -> None:
    """`_txn` was not written, and what its newer state does not name was deleted: the partitions that it names."""
    files = PartitionFiles.of(table)
    assert files is not None
    named = {span.directory for span in files.spans}
    for path in table.glob("20*"):
        if path.name not in named:
            shutil.rmtree(path)
    _older(table, kept)


def _laid_over(table: Path, kept: Path) -> None:
    """An older copy of the table's directory was laid over it, as `cp -r` does."""
    shutil.copytree(kept / "old", table, dirs_exist_ok=True, copy_function=shutil.copyfile)


def _donors(table: Path, _: Path) -> None:
    """`_txn` is that of a neighbour."""
    shutil.copy(next(table.parent.glob("donor~*/_txn")), table / "_txn")


def _both(name: str, strike: Strike, *, suffix: str = "PARTITION BY DAY WAL", old: bool = False) -> list[Case]:
    """Return a case with the log, and one without."""
    applied = (rows(0), rows(24), "KEEP old", rows(48)) if old else _APPLIED
    return [
        Case(f"{name}_{kind}", PLAIN, applied, _PENDING, each, suffix=suffix)
        for kind, each in ((_LOG, strike), (_NO_LOG, all_of(strike, gone)))
    ]


CASES = (
    Case("donor", PLAIN, (rows(0), rows(24), rows(30), rows(48)), (), lambda table, kept: None),
    *_both("low", _sealed(2)),
    *_both("lower", _sealed(1)),
    *_both("none", _sealed(0)),
    *_both("high", _sealed(4)),
    *_both("higher", _sealed(5)),
    *_both("beyond", _sealed(6)),
    *_both("low_keyed", _sealed(2), suffix=DEDUP),
    *_both("high_keyed", _sealed(4), suffix=DEDUP),
    *_both("older", _older, old=True),
    *_both("donors", _donors),
    Case("rewritten", PLAIN, _REWRITTEN, _PENDING, _older_rewritten, repaired=True),
    Case("laid_over", PLAIN, _REWRITTEN, _PENDING, _laid_over, repaired=False),
    Case("laid_over_all_applied", PLAIN, _REWRITTEN, (), _laid_over, repaired=False),
    *(
        Case(f"of_two_{name}_{kind}", PLAIN, (together(0, 24), together(30, 48)), (together(72, 96),), each)
        for name, strike in (("low", _sealed(3)), ("high", _sealed(5)))
        for kind, each in ((_LOG, strike), (_NO_LOG, all_of(strike, gone)))
    ),
)


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, workshop: Path) -> dict[str, Played]:
    """All cases, played together."""
    return play(workshop / "work", CASES, questdb)


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_what_is_lost_was_announced_or_the_plan_is_refused(name: str, ended: dict[str, Played]) -> None:
    hold(ended[name])


@pytest.mark.parametrize("name", ["high", "higher", "beyond", "high_keyed", "of_two_high"])
def test_a_table_whose_txn_counts_too_many_is_not_healthy(name: str, ended: dict[str, Played]) -> None:
    each = ended[f"{name}_{_LOG}"]
    assert each.report.verdict is not Verdict.HEALTHY, each
    assert Harm.NONE not in {f.start for f in each.report.findings if f.code is Code.TABLE_TXN_MISCOUNTED}, each

"""What the server reads at the very moment it opens a V1 log, and whether that lies within what it has mapped.

TableTransactionLogV1.open reads the structure version of the last record that the header counts before it makes the
file longer; TableTransactionLog.open then reads the entry of that version in `_txnlog.meta.i`. Files are mapped in
whole pages: what is missing up to the end of the last one reads as zeros, beyond it the machine may fault.
"""

from typing import Final

from console.diagnosis.table_facts import Sequencer, TableFacts
from console.questdb.structure_log import StructureLog
from console.questdb.txn_log import HEADER_SIZE, PAGE, RECORD_SIZE

_LONG: Final = 8


def first_read(max_txn: int) -> int:
    """Return the offset of what is read first: the last record's structure version, an i64."""
    return HEADER_SIZE + RECORD_SIZE * (max_txn - 1)


def past_mapping(max_txn: int, size: int) -> bool:
    """Return whether a log of `size` bytes is read outside its mapping for a header that says `max_txn`."""
    at = first_read(max_txn)
    return at < 0 or at + _LONG > max(PAGE, -(-size // PAGE) * PAGE)


def without_room(version: int, structure: StructureLog) -> bool:
    """Return whether the entry of a structure version lies outside the mapping of `_txnlog.meta.i`."""
    known = max(0, len(structure.ends) - 1)  # the highest version that the index has an entry for
    return version < 0 or (version > known and _LONG * (version + 1) > max(PAGE, known * _LONG))


def can_crash(facts: TableFacts) -> bool:
    """Return whether opening the log can crash the server: its header or its last record sends it out of a mapping."""
    sequencer, header = facts.sequencer, facts.sequencer.log.header
    if header is None or not header.known or sequencer.log.v2:
        return False
    return past_mapping(header.max_txn, sequencer.log.file_size) or _version_crashes(sequencer)


def _version_crashes(sequencer: Sequencer) -> bool:
    version = sequencer.scan.last_version if sequencer.scan else None
    return version is not None and without_room(version, sequencer.structure)

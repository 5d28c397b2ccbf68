"""Whose name is free: whether the server could rename a table, which names are taken, which views would be cut off."""

from console.questdb.layout import TableDirectory
from console.questdb.reading import Problem
from console.questdb.sequencer_metadata import read_sequencer_metadata
from console.questdb.txn_log import read_log


def sequencer_blocks(directory: TableDirectory) -> str:
    """Return why the server could not rename the table: it writes that into the sequencer."""
    log = read_log(directory.sequencer)
    if not log.readable:
        return "there is no log that opens" if directory.sequencer.is_dir() else "there is no txn_seq"
    metadata = read_sequencer_metadata(directory.sequencer)
    if isinstance(metadata, Problem):
        return f"txn_seq/_meta: {metadata.what}"
    last = log.records(max(1, log.max_txn or 0), log.max_txn or 0)
    version = int(last["structure_version"][0]) if len(last) else 0
    # the server takes a change only where both agree, else it speaks of corruption
    same = version == metadata.structure_version
    return "" if same else f"_meta has structure version {metadata.structure_version}, the last record {version}"


def free_name(name: str, taken: set[str]) -> str:
    """Return `name`, or with a number behind it where it is taken."""
    lower = {each.lower() for each in taken}
    found, number = name, 1
    while found.lower() in lower:
        number += 1
        found = f"{name}{number}"
    return found

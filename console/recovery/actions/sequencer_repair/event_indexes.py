"""A segment's `_event.i` made again from its `_event`: where each transaction begins, which is all that it says."""

from console.questdb.log_encoding import encode_event_index
from console.recovery.model import Change, Stage
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.target import SequencerTarget
from console.recovery.steps.table_files import replace_files
from console.recovery.table_repair.new_files import NewFile, Part, specs_of
from console.text import plural


def event_indexes(table: TableOnDisk, target: SequencerTarget, mark: str) -> tuple[tuple[Stage, ...], dict[str, bytes]]:
    """Return the stage that writes the indexes that `target` needs, and its attachments; none where it needs none."""
    files: list[NewFile] = []
    for wal, segment in target.unindexed:
        events = table.segments[wal, segment].events
        content, path = encode_event_index(events), f"wal{wal}/{segment}/_event.i"
        told = f"where {plural(len(events), 'transaction')} begin"
        old = NewFile(path, 0, (), "").old_size(table.directory) or 0
        files.append(NewFile(path, max(old, len(content)), (Part(0, content),), told))
    if not files:
        return (), {}
    specs, attachments = specs_of(files, table.directory, "events")
    changes = tuple(
        Change("overwrite", f"{table.directory.directory}/{each.path}", after=each.told, size=each.size)
        for each in files
    )
    title = f"write the event index of {plural(len(files), 'segment')} anew"
    return (replace_files(0, table.directory.directory, mark, specs, title, changes),), attachments

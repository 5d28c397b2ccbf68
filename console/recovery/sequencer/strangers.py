"""What logs and WALs that are not the table's own mean for a plan: named, and refused if they leave a doubt."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.recovery.sequencer.disk import TableOnDisk
from console.table.belonging import Kinship
from console.table.inventory import Inventory, Mask
from console.table.log_scan import LogScan
from console.table.names import Names
from console.table.recorded_rows import contradicted
from console.table.twins import twins
from console.table.unapplied import by_segment
from console.table.wal_origin import Origins, never_own
from console.text import clean_line, plural


def origin_notes(origins: Origins) -> Iterator[str]:
    """Yield a sentence about each log and each WAL that is not used."""
    for name, verdict in sorted(origins.logs.items()):
        if not verdict.own:
            yield f"{clean_line(name)} is not used: it {verdict.why}"
    for wal, verdict in sorted(origins.wals.items()):
        if verdict.kinship is not Kinship.UNPROVEN:
            yield f"wal{wal} is not used: it {verdict.why}"


def origin_refusals(origins: Origins, own: int, handed_out: int | None, *, covered: bool) -> Iterator[Refusal]:
    """Yield why nothing is planned; `covered`: a log of the table names all that is unapplied.

    Without such a log nobody knows whether a WAL of the table was there before, with rows that would be lost; but where
    its id was never `handed_out` (see `never_own`).
    """
    free = never_own(origins, own, handed_out)
    for wal, verdict in sorted(origins.wals.items()):
        if verdict.kinship is Kinship.UNPROVEN or not (covered or wal in free):
            yield Refusal(
                RefusalCode.WAL_NOT_PROVEN,
                f"wal{wal} {verdict.why}",
                f"if wal{wal} was put there by hand, move it and wal{wal}.lock out of the table's directory, put back "
                f"what was there before, and plan again; if it is the table's, touch wal{wal}/*/* says so",
            )


def misplaced_refusals(table: TableOnDisk, scans: Sequence[LogScan], applied: Mask) -> Iterator[Refusal]:
    """Yield the segments with transactions that are not `applied`, and that are not proven to be the table's."""
    times = table.origins.misplaced
    why = dict(times)
    for scan in scans:
        why |= contradicted(table.inventory, scan)
    for wal, number, _ in by_segment(table.inventory, ~applied) if why else ():
        place = f"wal{wal}/{number}"
        if (wal, number) in why:
            instead = f"put the table's own {place} in its place, or move it out, and plan again"
            if (wal, number) in times:
                instead += f"; if its rows are the table's, touch -r {place}.lock {place} says so"
            reason = f"nothing proves that {place} is this table's: it {why[wal, number]}"
            yield Refusal(RefusalCode.WAL_NOT_PROVEN, reason, instead)


def unproven_wals(table: TableOnDisk, names: Names, applied: Mask) -> dict[int, str]:
    """Return why WALs may be another table's, by their times or by the count of the `applied` transactions.

    One that a log names, or of which a transaction is applied, is the table's.
    """
    wal = table.inventory.events["wal"]
    named = np.unique(wal[names.seq > 0]).tolist()
    own = {*named, *np.unique(wal[applied]).tolist()}
    return {**_out_of_count(table, own, int(applied.sum())), **table.origins.unproven(named)}


def _out_of_count(table: TableOnDisk, own: Collection[int], on_disk: int) -> dict[int, str]:
    """Return the WALs of whose transactions none is applied, while others that are applied lie in no WAL on disk.

    Nothing shows a purge: WAL ids run from 1 and segments from 0. So a WAL may have been replaced by one of these, or
    one with a higher id was purged.
    """
    lost = table.applied - table.structure - on_disk
    if lost <= 0 or not table.inventory.unbroken():
        return {}
    why = f"none of its transactions is applied, and {plural(lost, 'applied one')} lie in no WAL on disk"
    return {wal: why for wal in table.inventory.wals if wal not in own}


def twin_refusals(inventory: Inventory, names: Names, applied: Mask) -> Iterator[Refusal]:
    """Yield the segments that repeat another one, unless a log names all that is unapplied of both."""
    events = inventory.events
    doubtful = ~applied & (names.seq == 0)
    for (wal, segment), (other_wal, other_segment), both in twins(inventory):
        held = ((events["wal"] == wal) & (events["segment"] == segment)) | (
            (events["wal"] == other_wal) & (events["segment"] == other_segment)
        )
        if bool((held & (events["txn"] < both) & doubtful).any()):
            place, other = f"wal{wal}/{segment}", f"wal{other_wal}/{other_segment}"
            yield Refusal(
                RefusalCode.WAL_NOT_PROVEN,
                f"{place} repeats the first {both:,} transactions of {other}: one of them is a copy, and to apply both "
                "would double their rows",
                f"move the copy out of the table's directory: {place} or {other}, with its lock file; plan again",
            )

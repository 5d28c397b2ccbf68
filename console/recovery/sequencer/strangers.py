"""What logs and WALs that are not the table's own mean for a plan: named, and refused if they leave a doubt."""

from collections.abc import Iterator

from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.table.belonging import Kinship
from console.table.inventory import Inventory, Mask
from console.table.names import Names
from console.table.twins import twins
from console.table.wal_origin import Origins, never_own
from console.text import clean_line


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
                "what was there before, and plan again",
            )


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

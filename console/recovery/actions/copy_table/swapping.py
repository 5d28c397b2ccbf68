"""The plan of copy-table for a table that has a verified copy: the copy gets its name, once that can be freed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from console.digests import digest_of
from console.questdb.layout import TableDirectory
from console.questdb.partition_rows import TableRows
from console.recovery.actions.copy_table.earlier import EarlierCopy
from console.recovery.actions.copy_table.missing import Compared, compared
from console.recovery.actions.copy_table.server_state import EXPECTED
from console.recovery.actions.copy_table.statements import gap_statement
from console.recovery.codes import RefusalCode
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Change, Fact, Plan, Refusal, Requirement, RowsLost, Stage
from console.recovery.plans import make_plan, refused_plan
from console.recovery.salvage.selection import Selection
from console.text import clean_line, plural

_MOST_GAPS = 5_000
"""Gaps that are filled at most: each takes a statement of its own."""
_SHOWN = 3
_UNDO = "Both get their names back, as long as nothing was written under the old name; rows copied stay in the copy."


@dataclass(frozen=True, slots=True)
class Swap:
    """What the plan is made of: the table, its copy, the name that the table keeps, and what would be lost."""

    directory: TableDirectory
    rows: TableRows
    earlier: EarlierCopy
    old: str
    blocked: str
    selection: Selection
    lost: RowsLost
    views: Sequence[str]

    @property
    def copy(self) -> str:
        return clean_line(self.earlier.name)


def swap_plan(context: PlanContext, spec: ActionSpec, swap: Swap, salvage: Sequence[Stage]) -> Plan:
    """Return the plan; refused where the name cannot be freed yet, or the two are no longer a table and its copy.

    Raises DamageError, OSError where either cannot be read.
    """
    directory, target = swap.directory, context.target(swap.directory)
    if swap.blocked:
        return refused_plan(spec, target, _not_yet(swap))
    copy = TableRows(context.database.db / swap.earlier.directory)
    if _columns(copy) != _columns(swap.rows):
        reason = f"the columns of {directory.name} and of its copy {swap.copy} are not the same any more"
        instead = "give both the same columns (ALTER TABLE), then plan again"
        return refused_plan(spec, target, Refusal(RefusalCode.COLUMNS_DIFFER, reason, instead))
    found = compared(swap.rows, copy)
    refused = list(_refusals(swap, found, copy))
    lost = _lost(swap.lost, found)
    facts = (
        Fact(directory.directory, digest_of([swap.rows.txn.txn, swap.rows.txn.rows, swap.rows.txn.applied_txn])),
        Fact(swap.earlier.directory, digest_of([copy.txn.txn, copy.txn.rows])),
    )
    more = f", with {plural(found.only_in_copy, 'row')} of its own that came since" if found.only_in_copy else ""
    return make_plan(
        replace(spec, undo=_UNDO),
        target,
        why=(
            f"{swap.copy} is a verified copy of it (entry {swap.earlier.entry}){more}; the sequencer opens again, so "
            f"that the name can be freed: {swap.copy} becomes {directory.name}, and what is {directory.name} now is "
            f"kept as {clean_line(swap.old)}."
        ),
        stages=(*salvage, *_stages(swap, found)) if not refused else (),
        facts=facts,
        rows_lost=lost,
        refused=refused,
        requirements=(
            Requirement("its name can be freed", True, "the sequencer opens"),
            Requirement(
                "the copy has every row", not found.missing, f"{plural(found.missing, 'row')} came since: copied first"
            ),
            Requirement(
                "nothing is unapplied", not swap.selection.rows, f"{swap.selection.rows:,} rows wait in its WAL"
            ),
        ),
        warnings=tuple(_warnings(swap, found)),
    )


def _not_yet(swap: Swap) -> Refusal:
    reason = (
        f"{swap.copy} is a verified copy of {swap.directory.name} (entry {swap.earlier.entry}), and the name cannot be "
        f"freed yet ({swap.blocked}): until then the writer's target is {swap.copy}"
    )
    instead = (
        f"let the writer write to {swap.copy}; rebuild-sequencer or restore-sequencer frees the name, then copy-table "
        "swaps the two"
    )
    return Refusal(RefusalCode.NAME_NOT_FREE, reason, instead)


def _columns(table: TableRows) -> list[tuple[str, int]]:
    return [(column.raw_name, column.type_code) for column in table.columns]


def _refusals(swap: Swap, found: Compared, copy: TableRows) -> Iterator[Refusal]:
    names = f"{swap.directory.name} and {swap.copy}"
    written = copy.txn.rows - int(swap.earlier.noted.get(EXPECTED, copy.txn.rows))
    parquet = [gap for gap in found.gaps if gap.missing and gap.stretch.low == gap.stretch.high]
    if parquet:
        reason = f"{parquet[0].stretch.partition} is in Parquet in one of {names}, and they have not as many rows there"
        yield Refusal(RefusalCode.CANNOT_COMPARE, reason, "convert the partition to native in both, then plan again")
    if not copy.metadata.has_dedup and found.only_in_copy > written:
        reason = (
            f"{swap.copy} has {plural(found.only_in_copy, 'row')} that {swap.directory.name} has not, and only "
            f"{written:,} were added to it: rows of {swap.directory.name} were changed or removed since the copy"
        )
        instead = f"take entry {swap.earlier.entry} back (walmedic undo), then copy-table copies it as it is now"
        yield Refusal(RefusalCode.CHANGED_SINCE, reason, instead)
    if len(found.gaps) > _MOST_GAPS:
        reason = f"the rows that {swap.copy} lacks lie in {len(found.gaps):,} places, more than are copied one by one"
        instead = f"take entry {swap.earlier.entry} back (walmedic undo), then copy-table copies all of it"
        yield Refusal(RefusalCode.TOO_SCATTERED, reason, instead)


def _lost(lost: RowsLost, found: Compared) -> RowsLost:
    """Return what waits, and the values of rows whose keys are in both: those of the copy stay."""
    if not found.other_values or lost.value is None:
        return lost
    return RowsLost("bound", lost.value + found.other_values)


def _warnings(swap: Swap, found: Compared) -> Iterator[str]:
    if found.missing:
        yield f"{plural(found.missing, 'row')} that it took since the copy was made are copied first, then compared"
    if found.other_values:
        yield (
            f"{plural(found.other_values, 'row')} have other values in {swap.copy} for the same dedup keys: those of "
            f"{swap.copy} stay, the others are in {clean_line(swap.old)}"
        )
    if swap.selection.rows:
        rows = plural(swap.selection.rows, "row")
        yield f"{rows} are unapplied and not copied: exported as files, load them yourself"
    if swap.views:
        yield f"materialised views on it become invalid by the rename: {', '.join(swap.views)}"


def _stages(swap: Swap, found: Compared) -> Iterator[Stage]:
    name, copy = swap.directory.raw_name, swap.earlier.name
    parameters: Mapping[str, object] = {
        "table": name, "directory": swap.directory.directory, "copy": copy, "ours": swap.earlier.directory,
        "version": swap.rows.txn.txn, "rows": swap.rows.txn.rows, "old": swap.old, "missing": found.missing,
        "only_in_copy": found.only_in_copy,
    }  # fmt: skip
    columns = [column.raw_name for column in swap.rows.columns]
    timestamp, nanos = swap.rows.timestamp.raw_name, swap.rows.partitioning.nanos
    statements = [gap_statement(name, copy, columns, timestamp, nanos, gap) for gap in found.gaps[:_SHOWN]]
    yield Stage(
        "catch-up",
        f"copy {plural(found.missing, 'row')} that came since, in {plural(len(found.gaps), 'place')}",
        "catch-up-copy",
        parameters,
        tuple(Change("sql", clean_line(statement)) for statement in statements),
    )
    yield Stage("compare", "compare every partition and column with the original", "compare-contained", parameters)
    title = f"{swap.directory.name} becomes {clean_line(swap.old)}, {swap.copy} becomes {swap.directory.name}"
    renames = (Change("rename", name, name, swap.old), Change("rename", copy, copy, name))
    yield Stage("swap", title, "swap-names", parameters, renames)

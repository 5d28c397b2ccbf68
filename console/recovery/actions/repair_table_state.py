"""repair-table-state: `_txn` from an area of it that the disk agrees with, or made again from what the disk proves."""

from collections.abc import Sequence

from console.diagnosis.findings.conversion import half_done, waiting_marker
from console.diagnosis.findings.txn import logs_behind
from console.diagnosis.model import Code, Finding, Severity
from console.diagnosis.situation import TABLE_STATE
from console.diagnosis.table_facts import read_facts
from console.errors import run_as_owner
from console.questdb.column_versions import read_column_versions
from console.questdb.partition_columns import STATE_FAULTS, FaultKind
from console.questdb.partition_files import PartitionFiles
from console.questdb.reading import Problem, read_small
from console.questdb.table_encoding import encode_table_txn
from console.questdb.table_metadata import read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Claim, Danger, Lost, LostValues, Plan, Refusal, Requirement, RowsLost
from console.recovery.steps import table_files
from console.recovery.steps.steps import RunContext
from console.recovery.table_repair import planning
from console.recovery.table_repair.new_files import NewFile
from console.recovery.table_repair.planning import Repair, Replacement, repair_plan, written_claims
from console.recovery.table_repair.state import TableState, table_state
from console.table.closed import closed_files
from console.text import clean_line, plural

SPEC = ActionSpec(
    id="repair-table-state",
    title="Repair the table's state",
    danger=Danger.DATA,
    needs_table=True,
    summary=(
        "Writes _txn anew: from its other area if the disk agrees with it, else from partitions, columns, symbol maps, "
        "_cv, _meta, log and WAL; it refuses what the disk does not prove."
    ),
    undo="The old _txn is put back, byte for byte, until a server has started on the result.",
    offline=True,
    needs_evidence=True,
)
STEPS = table_files.STEPS
world = planning.world
_READS = (*TABLE_STATE, Code.TRANSACTIONS_SKIPPED)
"""What it may mend; transactions that were skipped it has the server apply, by setting seqTxn back."""
_READ = ("_meta", "_cv", "txn_seq/_txnlog")


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty where `_txn` is whole, refused where the disk does not prove what it must say."""
    directory = context.database.table(table or "")
    report = context.report(directory.directory)
    found = report.findings if report is not None else ()
    damage = [each for each in found if each.code in _READS and each.severity is not Severity.NOTE]
    if not damage:
        return repair_plan(context, SPEC, directory, Repair("Nothing to do: _txn is whole and fits the table."))
    closed = closed_files(directory.path, partitions=True)
    if closed:
        reason = f"{clean_line(str(closed[0].relative_to(directory.path.parent)))} cannot be read"
        state = TableState(refusals=[Refusal(RefusalCode.PERMISSION, reason, run_as_owner())])
    elif half_done(directory) or waiting_marker(directory):
        reason = f"{directory.name} is being converted, so which WAL belongs to it is open"
        instead = "convert-table ends the conversion; else move _convert out of the table's directory"
        state = TableState(refusals=[Refusal(RefusalCode.CONVERSION_PENDING, reason, instead)])
    elif later := _beyond(damage) or logs_behind(read_facts(directory)):
        reason = f"{later}; what lay between is in no file that says so"
        instead = (
            "move what was put there by hand out of the table's directory, or put a copy from the crash in its place; "
            "salvage-table and salvage-wal export what is there"
        )
        state = TableState(refusals=[Refusal(RefusalCode.TXN_SET_BACK, reason, instead)])
    else:
        state = table_state(directory)
        if state.area is not None and encode_table_txn(state.area) == read_small(directory.path / "_txn").data:
            reason = f"log, WAL and rows prove no other _txn than the one in place, and {damage[0].message}"
            state.refuse(RefusalCode.APPLIED_AMBIGUOUS, reason, "salvage-wal exports the rows that are only in the WAL")
    return repair_plan(context, SPEC, directory, _repair(state, damage[0].message))


def _beyond(damage: Sequence[Finding]) -> str:
    """Return that a column's file is of a later state than `_cv` too, as a clause."""
    return next((each.message for each in damage if each.code is Code.TABLE_TXN_BEHIND and each.column), "")


def _repair(state: TableState, why: str) -> Repair:
    area = state.area
    proof = "; ".join(state.evidence) or (state.refusals[0].reason if state.refusals else "")
    proven = Requirement("the disk proves what _txn must say", not state.refusals, proof)
    if state.refusals or area is None:
        refused = tuple(state.refusals)
        return Repair(why, refused=refused, requirements=(proven,), rows_lost=RowsLost.unknown(), read=_READ)
    file = NewFile.of("_txn", encode_table_txn(area), _told(area))
    return Repair(
        why,
        (Replacement("write _txn anew", (file,)),),
        read=_READ,
        rows_lost=RowsLost.unknown() if state.gone else RowsLost.at_most(state.doubted),
        values_lost=tuple(LostValues(Lost.UPDATES, each, "", None) for each in state.updates),
        rows_back=area.rows + area.lag_rows + state.rows_waiting,
        requirements=(proven,),
        warnings=(*state.warnings, *(f"rows may be lost: {why}" for why in state.gone)),
    )


def _told(area: TxnArea) -> str:
    return (
        f"version {area.txn:,}: {plural(len(area.partitions), 'partition')}, {plural(area.rows, 'row')}, "
        f"applied up to transaction {area.applied_txn:,}"
    )


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Return what must hold of `_txn` and of the partitions that it names."""
    table = run.database.in_directory(plan.directory or "")
    area, metadata = read_table_txn(table.path).current, read_table_metadata(table.path)
    if area is None or isinstance(metadata, Problem):
        return (Claim(ClaimKey.TXN_READABLE, "_txn can be read", "yes", "no", ok=False, table=table.name),)
    versions = read_column_versions(table.path)
    faults = list(PartitionFiles(table.path, area, metadata, versions).faults())
    wrong = [each for each in faults if each.kind in STATE_FAULTS]
    gone = [clean_line(each.partition.directory) for each in faults if each.kind is FaultKind.PARTITION_MISSING]
    return (
        *written_claims(plan, run),
        Claim.same(
            ClaimKey.TXN_READABLE, "metadata version of _txn and _meta", metadata.metadata_version,
            area.metadata_version, table.name,
        ),
        Claim.same(
            ClaimKey.TXN_READABLE, "column version of _txn and _cv", versions.version or 0, area.column_version,
            table.name,
        ),
        Claim(
            ClaimKey.ROWS_ON_DISK, "partitions that hold the rows that _txn counts", "all",
            "all" if not wrong else f"not {clean_line(wrong[0].partition.directory)}", not wrong, table.name,
        ),
        *([_gone(gone, table.name)] if gone else []),
    )  # fmt: skip


def _gone(directories: list[str], table: str) -> Claim:
    claim = "partitions whose directory was gone before, for repair-partition"
    return Claim.note(ClaimKey.ROWS_ON_DISK, claim, ", ".join(directories[:3]), table=table)

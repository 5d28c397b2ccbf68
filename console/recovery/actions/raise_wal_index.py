"""raise-wal-index: the next writer gets a WAL id that no directory on disk has, and that no record names."""

from console.diagnosis.table_facts import read_facts
from console.questdb.layout import TableDirectory
from console.questdb.log_encoding import encode_wal_index
from console.questdb.wal_index import read_wal_index
from console.recovery.codes import ClaimKey, RefusalCode
from console.recovery.evidence.index import table_stamp
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Change, Claim, Danger, Fact, Plan, Refusal, Requirement, Stage
from console.recovery.plans import make_plan, mark_of
from console.recovery.steps import table_files
from console.recovery.steps.steps import RunContext
from console.recovery.steps.table_files import replace_files
from console.recovery.table_repair.new_files import NewFile, specs_of

SPEC = ActionSpec(
    id="raise-wal-index",
    title="Raise the WAL index",
    danger=Danger.DATA,
    needs_table=True,
    summary="Writes the highest WAL id, on disk or in a record, into _wal_index.d; below it a segment is overwritten.",
    undo="The old file is put back, byte for byte, until a server has started on the result.",
    offline=True,
    needs_evidence=True,
)
STEPS = table_files.STEPS


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; refused where there is no sequencer directory, empty where the index is high enough."""
    directory = context.database.table(table or "")
    (highest, named), index = highest_wals(directory), read_wal_index(directory.sequencer)
    facts = (Fact(directory.directory, table_stamp(directory.path)),)
    enough = Requirement(
        "the index is below the highest WAL on disk",
        index.highest is None or index.highest < highest,
        f"index {'missing' if index.highest is None else index.highest}, highest WAL {highest}, in a record {named}",
    )
    refused: tuple[Refusal, ...] = ()
    if not directory.sequencer.is_dir():
        refused = (
            Refusal(
                RefusalCode.NO_SEQUENCER,
                f"{directory.name} has no txn_seq",
                "restore-sequencer or rebuild-sequencer make it",
                action="restore-sequencer",
            ),
        )
    stages: tuple[Stage, ...] = ()
    attachments: dict[str, bytes] = {}
    if enough.holds and not refused:
        value = max(highest, named, index.highest or 0)
        file = NewFile.of("txn_seq/_wal_index.d", encode_wal_index(value), str(value))
        specs, attachments = specs_of((file,), directory, "wal-index")
        before = "missing" if not index.present else str(index.highest)
        change = Change("overwrite", f"{directory.directory}/{file.path}", before, file.told, file.size)
        title = f"write {value} into _wal_index.d"
        stages = (replace_files(0, directory.directory, mark_of(facts), specs, title, (change,)),)
    return make_plan(
        SPEC,
        context.target(directory),
        why=f"The next writer takes the WAL after the index ({enough.evidence}).",
        stages=stages,
        facts=facts,
        refused=refused,
        requirements=(enough,),
        attachments=attachments,
        disk_needed=4096 if stages else 0,
    )


def highest_wals(table: TableDirectory) -> tuple[int, int]:
    """Return the highest WAL id that has a directory, and the highest that a valid record names; 0 for none."""
    facts = read_facts(table)
    scan = facts.sequencer.scan
    return facts.highest_wal, scan.check.highest_wal if scan is not None else 0


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """The index is there and not below the highest WAL, on disk or in a record."""
    table = run.database.in_directory(plan.directory or "")
    index, highest = read_wal_index(table.sequencer).highest, max(highest_wals(table))
    return (
        Claim(ClaimKey.WAL_INDEX, "the wal index", f"≥ {highest}", str(index), index is not None and index >= highest),
    )

"""repair-metadata: `_meta` from an earlier copy and the structure log, `_cv` where tops are proven, `_name`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from console.diagnosis.model import Code
from console.diagnosis.situation import TABLE_METADATA
from console.questdb.column_versions import read_column_versions
from console.questdb.fields import Fields
from console.questdb.formats.table import META_HEADER
from console.questdb.layout import TableDirectory
from console.questdb.reading import Problem, read_small
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_name import encode_table_name, read_table_name
from console.questdb.table_txn import read_table_txn
from console.recovery.codes import ClaimKey
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Claim, Danger, LostValues, Plan, Refusal, Requirement, RowsLost
from console.recovery.steps import table_files
from console.recovery.steps.steps import RunContext
from console.recovery.table_repair import planning
from console.recovery.table_repair.column_versions import found_versions
from console.recovery.table_repair.guarded import known_state
from console.recovery.table_repair.metadata import found_metadata, told
from console.recovery.table_repair.new_files import NewFile
from console.recovery.table_repair.planning import Repair, Replacement, repair_plan, written_claims
from console.text import plural

SPEC = ActionSpec(
    id="repair-metadata",
    title="Repair the table's metadata",
    danger=Danger.DATA,
    needs_table=True,
    summary=(
        "Writes _meta from earlier copies and the structure log, _cv where column files prove it, _name from the "
        "registry; settings that no file holds are named."
    ),
    undo="The old files are put back, byte for byte, until a server has started on the result.",
    offline=True,
    needs_evidence=True,
)
STEPS = table_files.STEPS
world = planning.world
_META = (Code.TABLE_METADATA_MISSING, Code.TABLE_METADATA_INVALID)
_VERSIONS = (Code.COLUMN_VERSIONS_MISSING, Code.COLUMN_VERSIONS_INVALID)
_SHOWN = 3
_READ = ("_txn", "_meta.prev", "txn_seq/_meta.0", "txn_seq/_meta", "txn_seq/_txnlog.meta.d")


@dataclass(slots=True)
class _Parts:
    """What the plan is put together from."""

    files: list[NewFile] = field(default_factory=list)
    requirements: list[Requirement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    doubted: Sequence[str] = ()
    lost: tuple[LostValues, ...] = ()

    def proven(self, claim: str, evidence: list[str], refusals: list[Refusal]) -> None:
        self.refusals += refusals
        proof = "; ".join(evidence) or (refusals[0].reason if refusals else "")
        self.requirements.append(Requirement(claim, not refusals, proof))


def plan(context: PlanContext, table: str | None) -> Plan:
    """Return the plan; empty where `_meta` and `_cv` are whole, refused where what they must say is not proven."""
    directory = context.database.table(table or "")
    report = context.report(directory.directory)
    damage = [finding for finding in report.findings if finding.code in TABLE_METADATA] if report is not None else []
    name = name_file(directory)
    if not damage and name is None:
        return repair_plan(context, SPEC, directory, Repair("Nothing to do: _meta, _cv and _name are whole."))
    codes = {finding.code for finding in damage}
    parts = _Parts()
    metadata = _metadata(directory, parts, damaged=bool(codes & set(_META))) if damage else None
    if metadata is not None and (codes & set(_VERSIONS) or not _versions_serve(directory)):
        found = found_versions(directory, metadata, _initial(directory, metadata))
        parts.proven("where each column begins is proven", found.evidence, found.refusals)
        parts.doubted, parts.lost = found.doubted, tuple(found.lost)
        parts.warnings += found.doubted[:_SHOWN]
        if found.content is not None:
            parts.files.append(NewFile.of("_cv", found.content, "; ".join(found.evidence)))
    if name is not None:
        parts.proven("the name of the table is known", [f"the registry calls it {directory.name}"], [])
        parts.files.append(name)
    repair = Repair(
        damage[0].message
        if damage
        else "_name is not what the registry says; QuestDB reads it if the registry is lost.",
        (Replacement("write the metadata anew", tuple(parts.files)),) if parts.files and not parts.refusals else (),
        read=_READ,
        rows_lost=RowsLost.unknown() if parts.refusals or parts.doubted else RowsLost.exact(0),
        values_lost=parts.lost,
        requirements=tuple(parts.requirements),
        refused=tuple(parts.refusals),
        warnings=tuple(parts.warnings),
    )
    return repair_plan(context, SPEC, directory, repair)


def _metadata(directory: TableDirectory, parts: _Parts, *, damaged: bool) -> TableMetadata | None:
    """Return the metadata that is there, or that will be; None if it is not known."""
    if not damaged:
        own = read_table_metadata(directory.path)
        return own if isinstance(own, TableMetadata) else None
    found = found_metadata(directory)
    parts.proven("the columns and settings of _meta are known", found.evidence, found.refusals)
    if found.content is None or found.metadata is None:
        return None
    if found.untold:
        parts.warnings.append(told(found.untold))
    said = f"metadata version {found.metadata.metadata_version:,}, {plural(len(found.metadata.columns), 'column')}"
    parts.files.append(NewFile.of("_meta", found.content, said))
    return found.metadata


def name_file(directory: TableDirectory) -> NewFile | None:
    """Return `_name` as the registry has it, None if it says that, or if the table is not in the registry."""
    if not directory.registered or directory.is_query or read_table_name(directory.path) == directory.raw_name:
        return None
    return NewFile.of("_name", encode_table_name(directory.raw_name), f"the name {directory.name}")


def _versions_serve(directory: TableDirectory) -> bool:
    """Return whether `_cv` is the one of the table's state; zeros can be read too, as a table's first one."""
    version, state = read_column_versions(directory.path).version, known_state(directory)
    return version is not None and (state is None or state.column_version == version)


def _initial(directory: TableDirectory, metadata: TableMetadata) -> int:
    """Return how many columns the table was created with, 0 if nothing tells."""
    if metadata.metadata_version == 0:
        return len(metadata.columns)
    first = read_small(directory.sequencer / "_meta.0")
    return META_HEADER.value("columns", Fields(first.data)) if len(first.data) >= META_HEADER.size else 0


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Return what must hold of `_meta` and `_cv`, and that they belong to `_txn` where that is whole."""
    table = run.database.in_directory(plan.directory or "")
    metadata, versions = read_table_metadata(table.path), read_column_versions(table.path)
    readable = not isinstance(metadata, Problem) and not metadata.problems and not metadata.unusable
    claims = [
        *written_claims(plan, run),
        Claim(ClaimKey.META_READABLE, "_meta can be read", "yes", "yes" if readable else "no", readable, table.name),
    ]
    named = name_file(table) is None
    told = "as in the registry"
    claims.append(
        Claim(ClaimKey.META_READABLE, "_name of the table", told, told if named else "not", named, table.name)
    )
    txn = read_table_txn(table.path)
    area = txn.current if not txn.problems else None
    if area is not None and not isinstance(metadata, Problem):
        claims.append(_same("metadata version", area.metadata_version, metadata.metadata_version, table.name))
        if versions.version is not None:
            claims.append(_same("column version", area.column_version, versions.version, table.name))
    return tuple(claims)


def _same(what: str, expected: int, found: int, table: str) -> Claim:
    return Claim.same(ClaimKey.META_READABLE, f"{what} as in _txn", expected, found, table)

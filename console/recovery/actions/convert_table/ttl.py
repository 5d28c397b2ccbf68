"""The step of convert-table that keeps a table's TTL.

A conversion sets the metadata version in `_meta` to 0 and leaves the checksum of the old one beside the TTL (measured
from 9.0.3 to 9.3.4). From then on QuestDB takes the TTL of a table that was ever altered for none.
"""

from console.questdb.fields import Fields
from console.questdb.formats.table import META_HEADER
from console.questdb.table_metadata import TableMetadata, minor_checksum, read_table_metadata
from console.recovery.codes import ClaimKey
from console.recovery.model import Change, Claim, Plan, Stage
from console.recovery.steps.steps import RunContext, Step, StepError
from console.recovery.store.state import write_private
from console.recovery.tree.pieces import Piece
from console.text import clean_line

_MINOR_VERSION = 1


def ttl_in_words(ttl: int) -> str:
    """Return a stored TTL as SQL says it: hours, or months if it is negative."""
    return f"{abs(ttl):,} {'HOURS' if ttl > 0 else 'MONTHS'}" if ttl else "none"


def ttl_stages(directory: str, metadata: TableMetadata) -> tuple[Stage, ...]:
    if not metadata.ttl:
        return ()
    said = ttl_in_words(metadata.ttl)
    change = Change("overwrite", f"{directory}/_meta", "TTL none, if the conversion loses it", f"TTL {said}")
    title = f"keep the TTL of {said}: a conversion can lose it"
    return (Stage("keep-ttl", title, "keep-ttl", {"directory": directory, "ttl": metadata.ttl}, (change,)),)


def ttl_claim(plan: Plan, metadata: TableMetadata) -> Claim:
    wanted = next((int(stage.parameters["ttl"]) for stage in plan.stages if stage.step == KeepTtl.name), 0)
    claim = f"{clean_line(plan.table or '')}: TTL"
    return Claim(ClaimKey.TTL, claim, ttl_in_words(wanted), ttl_in_words(metadata.ttl), metadata.ttl == wanted)


class KeepTtl(Step):
    """Write the TTL into `_meta` again, with the checksum that lets it count."""

    name = "keep-ttl"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Do so if the conversion lost it. Raises StepError if `_meta` cannot be read."""
        directory, ttl = str(stage.parameters["directory"]), int(stage.parameters["ttl"])
        path = f"{directory}/_meta"
        now = _read(run, directory)
        if now.ttl != ttl:
            size = (run.database.db / path).lstat().st_size
            content = bytearray(run.tree.read(path, size))
            META_HEADER.read(Fields(bytes(content)))
            checksum = minor_checksum(now.metadata_version, len(now.columns))
            META_HEADER.put(content, 0, minor_checksum=checksum, minor_version=_MINOR_VERSION, ttl=ttl)
            kept = run.folder / "ttl-kept"
            write_private(kept, bytes(content))
            beside = f"{path}.walmedic-ttl.new"
            run.tree.write_new(
                beside, len(content), [Piece(0, kept, 0, len(content))], run.tree.owner_of_table(directory)
            )
            run.tree.replace(beside, path)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Remove a leftover: `_meta` is written back by keep-state."""
        path = f"{stage.parameters['directory']}/_meta.walmedic-ttl.new"
        if run.tree.exists(path):
            run.tree.remove_file(path)


def _read(run: RunContext, directory: str) -> TableMetadata:
    found = read_table_metadata(run.database.db / directory)
    if not isinstance(found, TableMetadata):
        raise StepError(f"{clean_line(directory)}/_meta cannot be read after the conversion; take the entry back")
    return found

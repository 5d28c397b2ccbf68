"""What stands against a salvage into a directory: its format, its place, the room there."""

from collections.abc import Iterator
from pathlib import Path

from console.errors import WalmedicError
from console.recovery.codes import RefusalCode
from console.recovery.gate.registry import PlanContext
from console.recovery.model import Refusal
from console.recovery.salvage.output import refuse_inside
from console.recovery.salvage.parquet_file import arrow
from console.recovery.salvage.writing import FORMATS
from console.recovery.store.places import existing, free_space
from console.settings import SalvageSettings
from console.text import clean_line


def target_of(context: PlanContext) -> Path:
    wanted = context.settings.salvage
    return Path(wanted.to).absolute() if wanted.to else context.state.root / "salvage"


def target_refusals(context: PlanContext, wanted: SalvageSettings, to: Path, bound: int) -> Iterator[Refusal]:
    """Yield what stands against writing up to `bound` bytes."""
    if wanted.format not in FORMATS:
        yield Refusal(
            RefusalCode.NO_SUCH_FORMAT, f"there is no format {clean_line(wanted.format)!r}", " or ".join(FORMATS)
        )
    elif wanted.format == "parquet":
        try:
            arrow()
        except WalmedicError as error:
            yield Refusal(RefusalCode.NO_PYARROW, str(error), "the same with --format csv, which needs nothing more")
    if inside := refuse_inside(to, context.database.db):
        yield Refusal(RefusalCode.INSIDE_DATABASE, inside, "name a directory elsewhere (--to), best on another disk")
    elif wanted.to:
        free, reserve = free_space(existing(to))
        if free - bound < reserve:
            yield Refusal(
                RefusalCode.DISK_SPACE,
                f"{clean_line(str(to))} has {free:,} bytes free; up to {bound:,} are needed and {reserve:,} stay free",
                "make room, or name a directory on another disk (--to)",
            )

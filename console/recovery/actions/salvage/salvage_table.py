"""salvage-table: the rows of tables as CSV or Parquet, outside of the database, whatever their own files are.

No server is needed and none is started; the database is only read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console.questdb.layout import TableDirectory
from console.questdb.reading import DamageError, problem_of
from console.recovery.actions.salvage.steps import make_place, remove_unfinished, salvage_claims
from console.recovery.actions.salvage.target_checks import target_of, target_refusals
from console.recovery.codes import RefusalCode
from console.recovery.gate.permission import closed_refusals
from console.recovery.gate.registry import PlanContext
from console.recovery.model import ActionSpec, Change, Claim, Danger, Plan, Refusal, Requirement, Stage
from console.recovery.plans import make_plan
from console.recovery.salvage.folder import Folder
from console.recovery.salvage.table_picture import TablePicture, read_picture
from console.recovery.salvage.table_writing import bytes_of_parts, finish_table, most_bytes, write_parts
from console.recovery.salvage.writing import summary_of
from console.recovery.steps.steps import RunContext, Step
from console.recovery.store.places import MANIFEST, salvage_folder
from console.settings import SalvageSettings
from console.text import clean_line, plural

STEP = "salvage-table"


class SalvageTable(Step):
    """Write the rows of a table, read each file back, and write the manifest."""

    name = "salvage-table"

    def perform(self, stage: Stage, run: RunContext) -> None:
        said = stage.parameters
        target = Folder(salvage_folder(stage.parameters, run.entry), run.folder, str(said["format"]))
        if (target.folder / MANIFEST).exists():
            return
        make_place(Path(str(said["to"])), run)
        directory = run.database.in_directory(str(said["directory"]))
        picture = read_picture(directory.path)
        names = write_parts(target, picture, run.progress)
        about = {
            "entry": run.entry, "station": run.plan.station, "table": directory.name, "directory": directory.directory,
        }  # fmt: skip
        run.progress(summary_of(finish_table(target, picture, names, about), "partition"))

    def reverse(self, stage: Stage, run: RunContext) -> None:
        remove_unfinished(salvage_folder(stage.parameters, run.entry))


SPEC = ActionSpec(
    id="salvage-table",
    title="Salvage a table",
    danger=Danger.SAFE,
    needs_table=False,
    summary="Writes the rows of one table or of all as CSV or Parquet outside the database, whatever is damaged.",
    undo="Nothing under the database is changed; the files stay until you remove their folder yourself.",
)
STEPS = (SalvageTable(),)


@dataclass(frozen=True, slots=True)
class _Chosen:
    table: TableDirectory
    picture: TablePicture | None  # None: nothing tells its columns
    bytes: int
    why: str = ""


def plan(context: PlanContext, table: str | None) -> Plan:
    wanted, to = context.settings.salvage, target_of(context)
    looked = [context.database.table(table)] if table is not None else _all(context)
    chosen = [_choose(each) for each in looked]
    stages = tuple(_stage(each.table, each.picture, each.bytes, wanted, to)
                   for each in chosen if each.picture is not None and each.picture.parts)  # fmt: skip
    bound = sum(most_bytes(each.picture, each.bytes, wanted.format) for each in chosen if each.picture is not None)
    rows = sum(each.picture.rows for each in chosen if each.picture is not None)
    refused = list(target_refusals(context, wanted, to, bound))
    if not stages:
        refused += closed_refusals(context.database, tuple(looked))
        refused += [
            Refusal(RefusalCode.TABLE_UNREADABLE, f"{each.table.name}: {each.why}", "salvage-wal", action="salvage-wal")
            for each in chosen
            if each.why
        ]
    unread = [f"{each.table.name}: {each.why}" for each in chosen if each.why]
    return make_plan(
        SPEC,
        context.target(looked[0] if table is not None else None),
        why=(
            f"Writes {plural(rows, 'row')} of {plural(len(stages), 'table')} as {wanted.format.upper()} below "
            f"{clean_line(str(to))}; the database is only read."
        ),
        stages=stages,
        refused=refused,
        requirements=(Requirement("columns of each table known", not unread, "; ".join(unread[:3]) or "all tables"),),
        warnings=[*_warnings(chosen), *unread],
        disk_needed=0 if wanted.to else bound,
    )


def verify(plan: Plan, run: RunContext) -> tuple[Claim, ...]:
    """Hash every file once more and compare it with the manifest; say what is in it."""
    return tuple(claim for stage in plan.stages for claim in salvage_claims(stage, run, whole=False))


def _all(context: PlanContext) -> list[TableDirectory]:
    return [each for each in context.database.tables() if not each.system]


def _choose(table: TableDirectory) -> _Chosen:
    try:
        picture = read_picture(table.path)
        return _Chosen(table, picture, bytes_of_parts(picture))
    except DamageError as damage:
        return _Chosen(table, None, 0, clean_line(damage.what))
    except OSError as error:
        return _Chosen(table, None, 0, problem_of(error, Path(str(error.filename))).what)


def _warnings(chosen: list[_Chosen]) -> Iterator[str]:
    for each in chosen:
        picture, name = each.picture, each.table.name
        if picture is None:
            continue
        if picture.not_proven:
            yield f"{name}: not proven: {'; '.join(picture.not_proven)}"
        if picture.missing:
            rows = sum(count for _, count in picture.missing)
            names = ", ".join(partition for partition, _ in picture.missing[:5])
            yield f"{name}: {plural(rows, 'row')} lie in partitions that are gone: {names}"
        if picture.area is not None and picture.area.lag_rows:
            yield f"{name}: {plural(picture.area.lag_rows, 'row')} lie in the lag: salvage-wal exports those"


def _stage(table: TableDirectory, picture: TablePicture, size: int, wanted: SalvageSettings, to: Path) -> Stage:
    title = (
        f"write {plural(picture.rows, 'row')} of {table.name}, {plural(len(picture.parts), 'partition')} with "
        f"{size:,} bytes, read them back"
    )
    return Stage(
        f"salvage-{table.directory}",
        title,
        STEP,
        {"name": table.directory, "directory": table.directory, "to": str(to), "format": wanted.format},
        (Change("create", str(to / f"{table.directory}-<entry>"), size=most_bytes(picture, size, wanted.format)),),
    )

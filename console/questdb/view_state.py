"""Materialised views: `_mv` (what it is made of) and `_mv.s` (how far it is refreshed), as MatViewState has them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.questdb.block_file import Block, BlockFile, read_block_file
from console.questdb.fields import Walk
from console.questdb.formats.database import VIEW_STATE
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.reading import DamageError, Problem, join_problems
from console.text import clean

_MAX_SQL: Final = 1 << 22
_STATE, _STATE_INTERVALS = 0, 3
_REFRESHES: Final = 3  # 0 immediate, 1 timer, 2 manual; -1, -2, -3: the same, deferred
_INTERVAL: Final = 8 + 2  # how many units of time a row stands for, and the unit


@dataclass(frozen=True, slots=True)
class ViewDefinition:
    """What a view is made of: `base_table` raw, `sql` clean."""

    base_table: str
    sql: str


@dataclass(frozen=True, slots=True)
class ViewState:
    """How far a view is refreshed. `refresh_base_txn`: base-table transaction of the last refresh, -1 for never.

    `intervals_base_txn` (-1: none): base transaction up to which the view has cached what it still must refresh; the
    server then purges the base table's WAL up to it.
    """

    invalid: bool
    reason: str
    refresh_base_txn: int
    intervals_base_txn: int

    @property
    def needs_records_after(self) -> int:
        """The base transaction after which the sequencer's records must be real for the next refresh to be complete."""
        return max(self.refresh_base_txn, self.intervals_base_txn)


@dataclass(frozen=True, slots=True)
class View:
    """A view's two files; a part is None where its file is missing or damaged (`_mv.s` is missing until a refresh)."""

    path: Path
    definition: ViewDefinition | None
    state: ViewState | None
    problems: tuple[Problem, ...]


def read_view(table: Path) -> View:
    definition_file, state_file = read_block_file(table / "_mv"), read_block_file(table / "_mv.s")
    definition, definition_problem = _definition(definition_file)
    state, state_problem = _state(state_file)
    problems = join_problems(definition_file.problems, definition_problem, state_file.problems, state_problem)
    return View(table, definition, state, problems)


def parse_definition(block: Block) -> ViewDefinition:
    """Return the definition in a block of type 0. Raises DamageError where it is none."""
    walk = Walk(block.fields)
    coded = walk.i32()
    base_table = walk.string(4096)
    if not base_table or not -_REFRESHES <= coded < _REFRESHES:
        raise DamageError(
            f"refresh type {coded}, base table {'named' if base_table else 'not named'}", block.fields.base
        )
    walk.skip(_INTERVAL)
    walk.string(4096)
    walk.string(4096)
    sql = walk.string(_MAX_SQL)
    return ViewDefinition(base_table, clean(sql or ""))


def parse_state(blocks: tuple[Block, ...]) -> ViewState:
    """Return the state in the blocks of a `_mv.s`. Raises DamageError where they lack the first or one is cut."""
    found = {block.type: Walk(block.fields) for block in blocks}
    if _STATE not in found:
        raise DamageError("it has no state block")
    walk = found[_STATE]
    state = VIEW_STATE.read(walk.fields)
    reason, _ = walk.fields.string(VIEW_STATE.size, _MAX_SQL)
    intervals = found.get(_STATE_INTERVALS)
    return ViewState(
        invalid=state["invalid"] != 0,
        reason=clean(reason or ""),
        refresh_base_txn=state["base_txn"],
        intervals_base_txn=-1 if intervals is None else intervals.i64(),
    )


def _definition(file: BlockFile) -> tuple[ViewDefinition | None, Problem | None]:
    if file.version is None:
        return None, None
    try:
        block = next((block for block in file.blocks if block.type == 0), None)
        if block is None:
            raise DamageError("it has no definition block")
        return parse_definition(block), None
    except DamageError as damage:
        return None, damage.problem(file.path)


def _state(file: BlockFile) -> tuple[ViewState | None, Problem | None]:
    if file.version is None:
        return None, None
    try:
        return parse_state(file.blocks), None
    except DamageError as damage:
        return None, damage.problem(file.path)


def views_on(database: DatabaseRoot, table: TableDirectory) -> tuple[TableDirectory, ...]:
    """Return the materialised views on `table`, by disk: QuestDB before 9.0 has no materialized_views()."""
    found = []
    for each in database.tables():
        definition = read_view(each.path).definition if each.is_view else None
        if definition is not None and definition.base_table.lower() == table.raw_name.lower():
            found.append(each)
    return tuple(found)

"""The way back once a server has written to the result of an action: what the evidence holds, put back whole.

The evidence says of each entry of a table's directory either every byte (it was copied) or its size and time (it was
listed, as no row that waited could touch it). What was copied and differs now is put back; what is new is moved aside,
with all that the server has taken since; what was only listed must be unchanged, else there is no way back to it.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from console.digests import canonical, digest_of
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.segment import read_segment
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import read_log
from console.recovery.codes import RefusalCode
from console.recovery.evidence.index import Capture, table_stamp
from console.recovery.model import ActionSpec, Change, Fact, Plan, Refusal, RowsLost, Stage
from console.recovery.plans import Target, make_plan, mark_of
from console.recovery.server.expectation import ExpectationError, expectation_of
from console.recovery.steps.files import new_name, old_name
from console.recovery.store.copying import digest_of_file
from console.table.filler import views_of
from console.text import clean_line, plural

FILES, MOVES = "restored-files.json", "restored-moves.json"
"""Attachments of the plan: the files to fetch from the evidence, and the renames that exchange them."""
_READ_ANYWAY = 1 << 20
"""Bytes up to which a file's content is compared whatever its time says."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A table's directory against a capture; all paths are relative to the table's directory.

    `back` are top-level names that the capture copied and that differ now; `aside` what is moved out of the way first;
    `changed` what was only listed and has changed or gone: its old content is nowhere.
    """

    back: tuple[str, ...]
    aside: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def none(self) -> bool:
        """Return whether the table is as the capture has it."""
        return not (self.back or self.aside or self.changed)


def difference(path: Path, directory: str, manifest: Mapping[str, Any], *, ignored: frozenset[str]) -> Difference:
    """Return how the table's directory at `path` differs from a capture's `manifest`; names in `ignored` do not count.

    A file is the same with the same size and time, and the same inode or SHA-256. Directories without a file in them
    are in no capture and do not count. Raises OSError.
    """
    copied = _by_entry({str(item["path"]): item for item in manifest["files"]}, f"db/{directory}/")
    listed = _by_entry({str(item[0]): item for item in manifest["tables"][directory]["listed"]}, f"{directory}/")
    back, aside, changed = [], [], []
    present = {name: dict(_walk(path / name, name)) for name in os.listdir(path)}  # noqa: PTH208 - names only
    for name in sorted({*copied, *listed, *present}):
        there, files = name in present, present.get(name, {})
        if name in ignored or (there and not files):
            continue
        if name in copied:
            known = copied[name]
            if files.keys() != known.keys() or not all(_same(path / f, files[f], known[f]) for f in files):
                back.append(name)
                aside += [name] if there else []
        elif name in listed:
            known = listed[name]
            changed += [f for f, item in known.items() if not _as_listed(files.get(f), item)]
            aside += [f for f in files if f not in known]
        else:
            aside.append(name)
    return Difference(tuple(back), tuple(aside), tuple(changed))


def _by_entry(items: Mapping[str, Any], prefix: str) -> dict[str, dict[str, Any]]:
    """Return items by top-level name, then by path, both relative to the table's directory."""
    found: dict[str, dict[str, Any]] = {}
    for path, item in items.items():
        if path.startswith(prefix):
            relative = path.removeprefix(prefix)
            found.setdefault(relative.split("/", 1)[0], {})[relative] = item
    return found


def _walk(path: Path, relative: str) -> Iterator[tuple[str, os.stat_result]]:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        yield relative, status
        return
    for name in os.listdir(path):  # noqa: PTH208 - names only
        yield from _walk(path / name, f"{relative}/{name}")


def _same(path: Path, status: os.stat_result, known: Mapping[str, Any]) -> bool:
    if not stat.S_ISREG(status.st_mode):
        return False
    if (status.st_size, status.st_mtime_ns) != (known["size"], known["mtime_ns"]):
        return False
    same = status.st_ino == known["inode"] and status.st_size > _READ_ANYWAY
    return bool(same or digest_of_file(path) == known["sha256"])


def _as_listed(status: os.stat_result | None, item: Any) -> bool:
    return status is not None and [status.st_size, status.st_mtime_ns] == list(item[1:])


def plan_restoring(
    database: DatabaseRoot, spec: ActionSpec, entry: str, plan: Plan, capture: Capture, then: Mapping[str, Any] | None
) -> Plan:
    """Return the plan that puts the table of `plan` (of `entry`) back as `capture` has it.

    `then` is what `promise_of` returned for the table when the entry ended, None where its outcome does not have it.
    """
    table = database.in_directory(plan.directory or "")
    manifest = capture.manifest
    found = difference(table.path, table.directory, manifest, ignored=frozenset())
    facts = (
        Fact(table.directory, table_stamp(table.path)),
        Fact(f"evidence {capture.id}", digest_of(list(found.back), list(found.aside), list(found.changed))),
    )
    mark = mark_of(facts)
    new = new_name(f"{table.directory}/evidence", mark)
    old = old_name(f"{table.directory}/since", mark)
    prefix = f"db/{table.directory}/"
    files = [
        {**item, "path": item["path"].removeprefix(prefix)}
        for item in manifest["files"]
        if item["path"].startswith(prefix) and item["path"].removeprefix(prefix).split("/", 1)[0] in found.back
    ]
    lost, transactions, refusals = _accepted(entry, table, then)
    refusals += [*_incomplete(manifest, table, found, capture)]
    return make_plan(
        spec,
        Target(plan.station, plan.table, table.directory),
        why=(
            f"a server has started on the result of entry {entry}, so the undo uses the evidence {capture.id} "
            f"({capture.at}); what QuestDB has received since ({plural(transactions, 'transaction')}) is moved aside"
        ),
        stages=_stages(table, capture, found, files, new, old) if not found.none else (),
        facts=facts,
        rows_lost=lost,
        refused=refusals,
        warnings=tuple(_warnings(database, table, then, old)),
        disk_needed=sum(int(item["size"]) for item in files),
        attachments={FILES: canonical(files), MOVES: canonical(_moves(table.directory, found, new, old))},
    )


def _stages(
    table: TableDirectory, capture: Capture, found: Difference, files: list[dict[str, Any]], new: str, old: str
) -> tuple[Stage, ...]:
    size = sum(int(item["size"]) for item in files)
    shown = f"evidence/{capture.id}"
    common = {"table": table.directory, "new": new, "old": old, "capture": capture.id}
    return (
        Stage(
            "fetch",
            f"copy {plural(len(files), 'file')} of the evidence beside, {size:,} bytes, and compare each",
            "fetch-evidence",
            common,
            (Change("copy", new, before=shown, after=new, size=size),),
        ),
        Stage(
            "exchange",
            f"put them in place; what is there now stays in {old.rsplit('/', 1)[-1]}",
            "exchange-entries",
            common,
            tuple(
                Change("rename", f"{table.directory}/{name}", before=f"{table.directory}/{name}", after=f"{old}/{name}")
                for name in found.aside
            )
            + tuple(
                Change("rename", f"{new}/{name}", before=f"{new}/{name}", after=f"{table.directory}/{name}")
                for name in found.back
            ),
        ),
        Stage("compare", "compare the whole table with the evidence", "compare-evidence", common),
    )


def _moves(directory: str, found: Difference, new: str, old: str) -> list[dict[str, str]]:
    """Return the renames in order. The sequencer goes first and comes last: without it no server applies or purges."""
    aside = sorted(found.aside, key=lambda name: (name != "txn_seq", name))
    back = sorted(found.back, key=lambda name: (name == "txn_seq", name == "_txn", name))
    return [
        *({"kind": "aside", "from": f"{directory}/{name}", "to": f"{old}/{name}"} for name in aside),
        *({"kind": "back", "from": f"{new}/{name}", "to": f"{directory}/{name}"} for name in back),
    ]


def _incomplete(
    manifest: Mapping[str, Any], table: TableDirectory, found: Difference, capture: Capture
) -> Iterator[Refusal]:
    damage = capture.damage(table.directory)
    if damage:
        yield damaged_evidence(capture, damage)
    skipped = manifest["tables"][table.directory]["skipped"]
    if found.changed or skipped:
        first = clean_line((list(found.changed) + [str(path) for path in skipped])[0])
        yield Refusal(
            RefusalCode.EVIDENCE_INCOMPLETE,
            f"the server has changed {plural(len(found.changed) + len(skipped), 'file')} that evidence {capture.id} "
            f"only lists and does not hold, first {first}",
            "leave the result as it is, and plan the next repair from what is there now",
        )


def _warnings(database: DatabaseRoot, table: TableDirectory, then: Mapping[str, Any] | None, old: str) -> Iterator[str]:
    yield f"what QuestDB has received since is not deleted: it stays in {clean_line(old)} until you remove it"
    yield "the table is then as damaged as it was: the server is not started on it before it is repaired again"
    top = int(then["logged_txn"]) if then is not None else 0
    views = ", ".join(view.name for view in views_of(database.db, table, 1 << 62) if view.needs_after > top)
    if views:
        yield f"{views} may have read what is undone: REFRESH MATERIALIZED VIEW … FULL"


def promise_of(table: TableDirectory) -> dict[str, Any] | None:
    """Return what the table holds once its log is applied, for the outcome of an action; None where that is unknown."""
    try:
        found = expectation_of(table)
    except (ExpectationError, OSError):
        return None
    return {
        "rows": found.rows,
        "logged_txn": found.logged_txn,
        "exact": found.exact,
        "removals": _removals(table),
    }


def _removals(table: TableDirectory) -> int | None:
    """Return what counts TRUNCATEs and removals of partitions; None where newer rows may replace older ones too."""
    area, metadata = read_table_txn(table.path).current, read_table_metadata(table.path)
    if area is None or not isinstance(metadata, TableMetadata) or metadata.has_dedup:
        return None
    return area.truncate_version


def _accepted(entry: str, table: TableDirectory, then: Mapping[str, Any] | None) -> tuple[RowsLost, int, list[Refusal]]:
    """Return the rows and transactions that the server has taken since, or a refusal where they cannot be counted."""
    try:
        now = expectation_of(table)
        if then is None:
            raise ExpectationError(f"entry {entry} does not say what the table held when it ended")
        logged, rows = int(then["logged_txn"]), int(then["rows"])
        transactions = now.logged_txn - logged
        if transactions < 0:
            raise ExpectationError(f"the log ends at {now.logged_txn:,}, before the {logged:,} of then")
        if not transactions:
            return RowsLost.exact(0), 0, []
        removals = _removals(table)
        if then["exact"] and now.exact and removals is not None and removals == then.get("removals"):
            return RowsLost.exact(max(0, now.rows - rows)), transactions, []
        try:
            return RowsLost("bound", _rows_logged(table, logged + 1, now.logged_txn)), transactions, []
        except ExpectationError:
            if then["exact"] and now.exact:  # rows came and went, and nothing counts them any more
                return RowsLost.unknown(), transactions, []
            raise
    except ExpectationError as error:
        refusal = Refusal(
            RefusalCode.ACCEPTED_UNKNOWN,
            f"how many rows the server has taken since entry {entry} cannot be counted: {error}",
            "leave the result as it is, and plan the next repair from what is there now",
        )
        return RowsLost("unknown", None), 0, [refusal]


def _rows_logged(table: TableDirectory, first: int, last: int) -> int:
    """Return the rows of the transactions first..last. Raises ExpectationError where some are no longer on disk."""
    log = read_log(table.sequencer)
    records = log.records(first, last)
    if log.v2 and len(records) == last - first + 1:
        return int(records["row_count"].sum())
    rows = 0
    data = records[records["wal_id"] > 0]
    for key in np.unique(data[["wal_id", "segment_id"]]):
        wal, segment = int(key["wal_id"]), int(key["segment_id"])
        txns = data["segment_txn"][(data["wal_id"] == wal) & (data["segment_id"] == segment)]
        events = read_segment(table.path / f"wal{wal}" / str(segment)).events
        if int(txns.max()) >= len(events):
            raise ExpectationError(f"{table.name}: wal{wal}/{segment} is no longer there to count the rows of")
        rows += int((events["end_row"][txns] - events["start_row"][txns]).clip(0).sum())
    return rows


def damaged_evidence(capture: Capture, problem: str) -> Refusal:
    return Refusal(
        RefusalCode.EVIDENCE_DAMAGED,
        f"the evidence {clean_line(str(capture.folder))} is not as it was captured: {problem}",
        "put its files back from a copy of the evidence; else leave the result of the action as it is",
    )

"""Steps of convert-table: keep what a conversion writes, set WAL aside, convert by a start of our own, clear the lag.

A conversion by the server (TableConverter) deletes `txn_seq` and every `walN`, writes `_txn` and `_meta` and makes the
registry anew. Here it finds no WAL to delete, and what it writes is kept before, so that all of it can be taken back.
"""

import contextlib
import hashlib
import stat
from dataclasses import replace

from console.durable import make_directories
from console.questdb.conversion import MARKER, read_conversion
from console.questdb.formats.table import TXN_RECORD
from console.questdb.layout import DatabaseRoot
from console.questdb.registry import TableKind
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_name import SEQUENCER
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import read_log
from console.records import of_json, to_json
from console.recovery.actions.convert_table.own_start import LOG, remove_leftover, started_on
from console.recovery.actions.convert_table.ttl import KeepTtl
from console.recovery.actions.salvage.steps import SalvageRows, salvage_claims
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim, Stage, failed_in_words
from console.recovery.server.expectation import Expectation
from console.recovery.server.private_server import ServerError
from console.recovery.server.sql import Server, literal
from console.recovery.server.value_claims import sums_before, value_claims
from console.recovery.server.value_sums import TableSums
from console.recovery.server.verification import row_claims, table_claims
from console.recovery.steps.files import new_name
from console.recovery.steps.steps import RunContext, Step, StepError
from console.recovery.store.locks import SERVER_LOCK_NAME
from console.recovery.store.state import write_private
from console.recovery.tree.pieces import Owner, Piece
from console.text import clean_line

REGISTRY = "tables.d."
_TABLE_FILES = ("_txn", "_meta", "_cv", MARKER)
_NEW_MARKER = f"{MARKER}.walmedic-marker.new"
_BEGUN = "conversion begun"
_VALUES = "values"
_ATTEMPTS = 3  # a conversion that was cut off after the marker went is started again


def registry_files(names: list[str]) -> list[str]:
    """Return the files of the registry among `names`; a conversion replaces them."""
    return [name for name in names if name.startswith(REGISTRY) and name != SERVER_LOCK_NAME]


class KeepState(Step):
    """Keep the bytes of all that a conversion writes; the way back puts them in place again, byte for byte."""

    name = "keep-state"

    def perform(self, stage: Stage, run: RunContext) -> None:
        if run.recall("kept state") is not None:
            return
        folder = run.folder / "state"
        make_directories(folder)
        noted: dict[str, list[int]] = {}
        for path in _written(str(stage.parameters["directory"]), run):
            status = run.tree.status(path)
            if status is None:
                continue
            run.tree.refuse_unsafe_target(path)
            content = run.tree.read(path, status.st_size)
            if len(content) != status.st_size:
                raise StepError(f"{clean_line(path)} became shorter while it was read; make the plan again")
            write_private(folder / _key(path), content)
            noted[path] = [status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime_ns]
        run.remember("kept state", noted)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Write back what differs, then remove what was not there."""
        noted = run.recall("kept state")
        if not isinstance(noted, dict):
            return
        for path, (uid, gid, mode, mtime) in noted.items():
            kept = run.folder / "state" / _key(path)
            content = kept.read_bytes()
            if run.tree.exists(path) and run.tree.read(path, len(content) + 1) == content:
                continue
            beside = new_name(path, "back")
            owner = Owner(uid, gid, mode, 0o700)
            run.tree.write_new(beside, len(content), [Piece(0, kept, 0, len(content))], owner, mtime_ns=mtime)
            run.tree.replace(beside, path)
        for path in _written(str(stage.parameters["directory"]), run):
            if path not in noted:
                run.tree.remove_file(path)


def _written(directory: str, run: RunContext) -> list[str]:
    here = registry_files([path.name for path in run.database.db.iterdir()])
    return [*(f"{directory}/{name}" for name in _TABLE_FILES), *sorted(here)]


def _key(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:16]


class SetAside(Step):
    """Rename `txn_seq`, each `walN` and its lock into a directory whose name the conversion does not know."""

    name = "set-wal-aside"

    def perform(self, stage: Stage, run: RunContext) -> None:
        directory, aside = str(stage.parameters["directory"]), str(stage.parameters["aside"])
        run.tree.make_directory(aside, run.tree.owner_of_table(directory))
        for name in stage.parameters["names"]:
            if not run.tree.exists(f"{aside}/{name}"):
                run.tree.rename(f"{directory}/{name}", f"{aside}/{name}")

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Rename back. Raises StepError where something else has taken its place, and where anything is left over."""
        directory, aside = str(stage.parameters["directory"]), str(stage.parameters["aside"])
        if not run.tree.exists(aside):
            return
        for name in stage.parameters["names"]:
            if run.tree.exists(f"{aside}/{name}"):
                run.tree.rename(f"{aside}/{name}", f"{directory}/{name}")
        if left := run.tree.names(aside):
            raise StepError(f"{clean_line(aside)} holds {clean_line(left[0])}, which is not ours; move it, undo again")
        run.tree.remove_directory(aside)


class SalvageFirst(Step):
    """Write the rows that the table will not have any more to files, and read them back, before anything is changed."""

    name = "salvage-before"

    def perform(self, stage: Stage, run: RunContext) -> None:
        SalvageRows().perform(_salvaging(stage, run), run)

    def reverse(self, stage: Stage, run: RunContext) -> None:
        SalvageRows().reverse(_salvaging(stage, run), run)


def salvaged_claims(stage: Stage, run: RunContext) -> tuple[Claim, ...]:
    """Return what is claimed of the rows that were written to files, and where they are."""
    return salvage_claims(_salvaging(stage, run), run, whole=True)


def _salvaging(stage: Stage, run: RunContext) -> Stage:
    directory = stage.parameters["directory"]
    parameters = {
        "name": directory, "directory": directory, "source": "", "to": str(run.state.root / "salvage"),
        "format": "csv", "rows": "unapplied",
    }  # fmt: skip
    return Stage(stage.id, stage.title, "salvage-rows", parameters)


class ConvertByServer(Step):
    """Write the marker, start the station's QuestDB by ourselves, let it convert, prove the rows, stop it."""

    name = "convert-by-server"

    def perform(self, stage: Stage, run: RunContext) -> None:
        directory, wal = str(stage.parameters["directory"]), bool(stage.parameters["wal"])
        expected = of_json(Expectation, stage.parameters["expected"])
        owner = run.tree.owner_of_table(directory)
        marker = f"{directory}/{MARKER}"
        if run.recall(_VALUES) is None:  # before the first start, which must leave them as they are
            values = sums_before(run.database.in_directory(directory))
            run.remember(_VALUES, to_json(values))
        run.remember(_BEGUN, True)
        for attempt in range(1, _ATTEMPTS + 1):
            _write_marker(run, marker, owner, wal=wal)
            run.progress("starting QuestDB on loopback, applying and purging nothing")
            claims: tuple[Claim, ...] = ()
            try:
                with started_on(run, (owner.uid, owner.gid)) as server:
                    claims = _wal_claims(server, expected) if wal else _plain_claims(server, expected)
                    table, remembered = run.database.in_directory(directory), run.recall(_VALUES)
                    before = of_json(TableSums, remembered) if isinstance(remembered, dict) else str(remembered)
                    claims = (*claims, *value_claims(server, table, expected, before))
            except ServerError as error:
                # A port may have been taken between choosing and using it; other ports are tried.
                if attempt == _ATTEMPTS:
                    raise StepError(f"QuestDB does not start; the end of its log is {run.folder / LOG}") from error
            if claims and is_converted(run.database, directory, wal=wal):
                run.claims.extend(claims)
                if failed := failed_in_words(claims):
                    raise StepError(f"not proven: {failed}")
                return
        raise StepError(
            f"QuestDB did not convert {clean_line(directory)}; the end of its log is {run.folder / LOG}, and nothing "
            "of the table is lost"
        )

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Take away the sequencer that the conversion made; the rest is written back by keep-state."""
        directory, aside = str(stage.parameters["directory"]), str(stage.parameters["aside"])
        remove_leftover(run)
        run.tree.remove_file(f"{directory}/{_NEW_MARKER}")
        made = f"{aside.removesuffix('.old')}.new"
        # Only what the conversion made: the old one is set aside, or there was none.
        ours = SEQUENCER not in stage.parameters["names"] or run.tree.exists(f"{aside}/{SEQUENCER}")
        if run.recall(_BEGUN) and ours and run.tree.exists(f"{directory}/{SEQUENCER}") and not run.tree.exists(made):
            run.tree.rename(f"{directory}/{SEQUENCER}", made)
        run.tree.remove_directory(made)


def _write_marker(run: RunContext, marker: str, owner: Owner, *, wal: bool) -> None:
    value = bytes([TableKind.WAL if wal else TableKind.NON_WAL])
    source = run.folder / f"marker-{value[0]}"
    write_private(source, value)
    beside = f"{marker.rsplit('/', 1)[0]}/{_NEW_MARKER}"
    run.tree.write_new(beside, 1, [Piece(0, source, 0, 1)], owner)
    run.tree.replace(beside, marker)


def is_converted(database: DatabaseRoot, directory: str, *, wal: bool) -> bool:
    """Return whether table, registry and sequencer say that the conversion is done and no marker waits."""
    path = database.db / directory
    metadata = read_table_metadata(path)
    entry = database.registry().live().get(directory)
    listed = entry is not None and entry.kind != TableKind.NON_WAL
    sequencer = read_log(path / SEQUENCER).max_txn is not None
    return (
        not read_conversion(path).present
        and isinstance(metadata, TableMetadata)
        and metadata.wal is wal
        and listed is wal
        and sequencer is wal
    )


def _plain_claims(server: Server, expected: Expectation) -> tuple[Claim, ...]:
    name = clean_line(expected.table)
    found = server.rows(f"SELECT walEnabled FROM tables() WHERE table_name = {literal(expected.table)}")  # noqa: S608
    remembered = "not listed" if not found else "WAL" if found[0]["walEnabled"] else "no WAL"
    plain = bool(found) and not found[0]["walEnabled"]
    claims = row_claims(server, expected)
    return (Claim(ClaimKey.PLAIN, f"{name} is no WAL table for now", "no WAL", remembered, plain, table=name), *claims)


def _wal_claims(server: Server, expected: Expectation) -> tuple[Claim, ...]:
    return table_claims(server, expected, server.wal_table(expected.table))


class ClearLag(Step):
    """Set the lag's transaction count to 0 where the conversion left it at -1 (docs/formats.md), before any write.

    9.1.0 stores the lag's checksum 8 bytes wide over the count: where it is negative, the first transaction after the
    conversion is skipped in silence for as long as the converting server runs.
    """

    name = "clear-lag"

    def perform(self, stage: Stage, run: RunContext) -> None:
        """Check it, write `_txn` anew where it must be, and say which it was."""
        directory = str(stage.parameters["directory"])
        txn = read_table_txn(run.database.db / directory)
        area = txn.current
        if area is None:
            raise StepError(f"{clean_line(directory)}/_txn cannot be read after the conversion; take the entry back")
        claim = f"{clean_line(directory)}: transactions in the lag {stage.parameters['when']}"
        if area.lag_txn_raw == 0 or area.lag_rows:
            run.claims.append(Claim(ClaimKey.LAG, claim, "0", str(area.lag_txn_raw), area.lag_txn_raw == 0))
            return
        path = f"{directory}/_txn"
        content = bytearray(run.tree.read(path, txn.file_size))
        checksum = replace(area, lag_txn_raw=0).lag_checksum_expected()
        TXN_RECORD.put(content, area.base, lag_checksum=checksum, lag_txn_raw=0)
        kept = run.folder / "lag-cleared"
        write_private(kept, bytes(content))
        beside = f"{path}.walmedic-lag.new"
        owner = run.tree.owner_of_table(directory)
        run.tree.write_new(beside, len(content), [Piece(0, kept, 0, len(content))], owner)
        run.tree.replace(beside, path)
        again = read_table_txn(run.database.db / directory).current
        found = f"{area.lag_txn_raw}, cleared to {again.lag_txn_raw if again is not None else 'unknown'}"
        ok = again is not None and again.lag_txn_raw == 0 and again.lag_checksum == again.lag_checksum_expected()
        run.claims.append(Claim(ClaimKey.LAG, claim, "0", found, ok))

    def reverse(self, stage: Stage, run: RunContext) -> None:
        """Nothing but a leftover: `_txn` is written back by keep-state."""
        with contextlib.suppress(FileNotFoundError):
            run.tree.remove_file(f"{stage.parameters['directory']}/_txn.walmedic-lag.new")


STEPS: tuple[Step, ...] = (KeepState(), SetAside(), SalvageFirst(), ConvertByServer(), ClearLag(), KeepTtl())

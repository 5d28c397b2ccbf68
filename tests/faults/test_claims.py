"""Each claim about files fails once: the result of a real action is changed before it is proven, and changed back.

`SHOWN` says for each key which fault shows it, here or in a test elsewhere.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from console.questdb.formats.table import META_HEADER
from console.questdb.table_metadata import minor_checksum, parse_table_metadata
from console.questdb.table_txn import read_table_txn
from console.recovery import execution
from console.recovery.actions.convert_table.steps import ClearLag
from console.recovery.actions.salvage.steps import salvage_claims
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Claim, Outcome, Stage, failed_in_words
from console.recovery.server.jvm import ServerBinary
from console.recovery.steps.steps import RunContext
from console.recovery.undo.steps import equal_claim
from tests.faults.broken_database import settings_of, without_own_damage

_HEADER, _RECORD = 76, 28
_STRUCTURE, _WAL = 0, 8  # within a record
_LAG_TXN, _LAG_ROWS = 92, 96  # within the current area of `_txn`
Change = Callable[[bytes], bytes]


def _number(content: bytes, at: int, form: str, value: int) -> bytes:
    return content[:at] + struct.pack(form, value) + content[at + struct.calcsize(form) :]


def _last(content: bytes, before: int = 0) -> int:
    """Return where the last record begins that the header counts, or one `before` it."""
    return _HEADER + _RECORD * (int(struct.unpack_from("<q", content, 4)[0]) - 1 - before)


def _replaced(content: bytes, record: bytes) -> bytes:
    at = _last(content)
    return content[:at] + record + content[at + _RECORD :]


def _twice(content: bytes) -> bytes:
    """The last record names what the one before it names."""
    at = _last(content, 1)
    return _replaced(content, content[at : at + _RECORD])


# Of a sequencer that was put in place: which file is changed, and how.
SEQUENCER: dict[ClaimKey, tuple[str, Change]] = {
    ClaimKey.LOG_OPENS: ("_txnlog", lambda _: b""),
    ClaimKey.LOG_MAX_TXN: ("_txnlog", lambda c: _number(c, 4, "<q", struct.unpack_from("<q", c, 4)[0] - 1)),
    ClaimKey.LOG_NOT_BELOW_APPLIED: ("_txnlog", lambda c: _number(c, 4, "<q", 1)),
    ClaimKey.LOG_LENGTH: ("_txnlog", lambda c: c + bytes(5)),
    ClaimKey.LOG_RECORDS: ("_txnlog", lambda c: _replaced(c, bytes(_RECORD))),
    ClaimKey.LOG_SEGMENTS: ("_txnlog", lambda c: _number(c, _last(c) + _WAL, "<i", 99)),
    ClaimKey.LOG_UNNAMED: ("_txnlog", _twice),
    ClaimKey.LOG_META: ("_meta", lambda _: b""),
    ClaimKey.LOG_STRUCTURE: ("_txnlog", lambda c: _number(c, _last(c) + _STRUCTURE, "<q", 7)),
    ClaimKey.STRUCTURE_NOT_BEHIND: ("_meta", lambda c: _number(c, 8, "<q", -1)),
    ClaimKey.TABLE_ID: ("_meta", lambda c: _number(c, 24, "<i", 4_711)),
    ClaimKey.WAL_INDEX: ("_wal_index.d", lambda c: bytes(len(c))),
}


class _Planter:
    """Stands in for the proof of an action: plants fault after fault in `path`, and notes what then fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failed: dict[str, set[ClaimKey]] = {}
        self.faults: dict[str, tuple[Path, Change]] = {}
        self.more: dict[str, Callable[[], Callable[[], None]]] = {}
        verify = execution.Executor.verify

        def planting(executor: execution.Executor) -> tuple[Claim, ...]:
            for name, (path, change) in self.faults.items():
                content = path.read_bytes()
                path.write_bytes(change(content))
                assert path.read_bytes() != content, name
                self.failed[name] = _failed(verify(executor))
                path.write_bytes(content)
            for name, plant in self.more.items():
                undo = plant()
                self.failed[name] = _failed(verify(executor))
                undo()
            return verify(executor)

        monkeypatch.setattr(execution.Executor, "verify", planting)


def _failed(claims: tuple[Claim, ...]) -> set[ClaimKey]:
    assert bool(failed_in_words(claims)) == any(not claim.ok for claim in claims)
    return {claim.key for claim in claims if not claim.ok}


def test_a_fault_of_a_sequencer_fails_its_claim(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    planter = _Planter(monkeypatch)
    place = engine.database.table("gone").sequencer
    planter.faults = {key.value: (place / name, change) for key, (name, change) in SEQUENCER.items()}
    if os.geteuid() == 0:
        planter.more[ClaimKey.OWNER.value] = lambda: _given_away(place / "_txnlog")
    plan = engine.plan("rebuild-sequencer", "gone")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    for key in planter.failed:
        assert ClaimKey(key) in planter.failed[key], (key, planter.failed[key])


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _given_away(path: Path) -> Callable[[], None]:
    status = path.stat()
    os.chown(path, 12_345, 12_345)
    return lambda: os.chown(path, status.st_uid, status.st_gid)


def test_evidence_that_is_changed_while_it_is_captured(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    planter = _Planter(monkeypatch)

    def plant() -> Callable[[], None]:
        captured = engine.state.evidence / engine.unfinished()[0].id
        path = next(file for file in sorted(captured.rglob("_txn")) if file.stat().st_size)
        content = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        return lambda: _write(path, content)

    planter.more = {"changed": plant}
    with (engine.database.table("gone").path / "_txn").open("ab") as stream:
        stream.write(bytes(8))  # so that what is captured is no longer fresh
    plan = engine.plan("capture-evidence", "gone")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    assert planter.failed == {"changed": {ClaimKey.EVIDENCE_WHOLE}}


def test_a_table_that_is_not_as_the_evidence_has_it(engine: Engine) -> None:
    context = engine._context()
    table = engine.database.table("outrun")
    capture = next(each for each in context.evidence.captures() if table.directory in each.stamps)
    assert equal_claim(table, capture, ignored="none").ok
    log = table.sequencer / "_txnlog"
    log.write_bytes(log.read_bytes() + b"x")
    claim = equal_claim(table, capture, ignored="none")
    assert (claim.key, claim.ok) == (ClaimKey.RESTORED, False)


def test_exported_rows_that_are_damaged_or_left_out(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    planter = _Planter(monkeypatch)
    seen: list[set[ClaimKey]] = []

    def plant() -> Callable[[], None]:
        (path,) = (engine.state.root / "salvage").rglob("*.csv")
        content = path.read_bytes()
        path.write_bytes(content[:-2])
        return lambda: _write(path, content)

    planter.more = {"cut": plant}
    verify = execution.Executor.verify

    def left_out(executor: execution.Executor) -> tuple[Claim, ...]:
        run = executor._run
        (path,) = (engine.state.root / "salvage").rglob("manifest.json")
        content = path.read_bytes()
        path.write_bytes(content.replace(b'"rows_left_out": 0', b'"rows_left_out": 5', 1))
        seen.append(_failed(salvage_claims(run.plan.stages[0], run, whole=True)))
        path.write_bytes(content)
        return verify(executor)

    monkeypatch.setattr(execution.Executor, "verify", left_out)
    plan = engine.plan("salvage-wal", "gone")
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    assert planter.failed == {"cut": {ClaimKey.SALVAGE_FILES}}
    assert seen == [{ClaimKey.SALVAGE_LEFT_OUT}]


def _txn(table: Path, at: int, form: str, value: int) -> Change:
    """Return the change that writes a number into the current area of a table's `_txn`."""

    def change(content: bytes) -> bytes:
        area = read_table_txn(table).current
        assert area is not None
        return _number(content, area.base + at, form, value)

    return change


def _with_ttl(content: bytes) -> bytes:
    """Return a `_meta` with a TTL of 7 hours that counts."""
    header, found = bytearray(content), parse_table_metadata(content, Path("_meta"))
    checksum = minor_checksum(found.metadata_version, len(found.columns))
    META_HEADER.put(header, 0, minor_checksum=checksum, minor_version=1, ttl=7)
    return bytes(header)


def test_a_fault_of_a_conversion_fails_its_claim(
    root: Path, tmp_path: Path, questdb: ServerBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_own_damage(root)
    settings = settings_of(root, tmp_path / "state")
    place = replace(settings.questdb, jar=str(questdb.jar), java=str(questdb.java))
    engine = Engine(replace(settings, questdb=place))
    evidence = engine.plan("capture-evidence", "gone")
    assert engine.run(evidence, evidence.confirmation).outcome is Outcome.DONE
    table, planter = engine.database.table("gone").path, _Planter(monkeypatch)
    planter.faults = {
        ClaimKey.TXN_READABLE.value: (table / "_txn", lambda _: b""),
        ClaimKey.LAG_EMPTY.value: (table / "_txn", _txn(table, _LAG_TXN, "<i", 3)),
        ClaimKey.ROWS_ON_DISK.value: (table / "_txn", _txn(table, 8, "<q", 1)),
        ClaimKey.LOG_BEGINS.value: (table / "txn_seq" / "_txnlog", lambda c: _number(c, 4, "<q", 5)),
        ClaimKey.META_READABLE.value: (table / "_meta", lambda _: b""),
        ClaimKey.CONVERTED.value: (table / "_meta", lambda _: b""),
        ClaimKey.TTL.value: (table / "_meta", _with_ttl),
    }
    perform, lags = ClearLag.perform, []

    def lagging(self: ClearLag, stage: Stage, run: RunContext) -> None:
        content = (table / "_txn").read_bytes()
        for at, form in ((_LAG_TXN, "<i"), (_LAG_ROWS, "<i")):
            (table / "_txn").write_bytes(_txn(table, at, form, 3)((table / "_txn").read_bytes()))
        perform(self, stage, run)
        lags.append(run.claims.pop())
        (table / "_txn").write_bytes(content)
        perform(self, stage, run)

    monkeypatch.setattr(ClearLag, "perform", lagging)
    plan = engine.plan("convert-table", "gone")
    result = engine.run(plan, plan.confirmation)
    assert result.outcome is Outcome.DONE, result
    assert [(claim.key, claim.ok, claim.found) for claim in lags] == [(ClaimKey.LAG, False, "3")] * 2
    assert set(planter.failed) == set(planter.faults)
    for key in planter.failed:
        assert ClaimKey(key) in planter.failed[key], (key, planter.failed[key])

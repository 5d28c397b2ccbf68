"""Each claim that a rehearsal alone makes fails once, by a fault in its clone; the original is never touched."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.questdb.layout import DatabaseRoot, TableDirectory
from console.recovery.codes import ClaimKey
from console.recovery.engine import Engine
from console.recovery.model import Claim, Plan
from console.recovery.rehearsal import canary, cloning, proof, rehearsing
from console.recovery.rehearsal.canary import Shape
from console.recovery.rehearsal.model import RehearsalOutcome
from console.recovery.rehearsal.proof import NotProvenError, Proof
from console.recovery.rehearsal.rehearsing import _Rehearsing, rehearse
from console.recovery.server.expectation import Expectation
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server
from tests.real.test_rehearsal import ACTION, build, directory, engine_of, tree


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, questdb: ServerBinary) -> Engine:
    """An engine on a broken database, which no test here may change."""
    folder = tmp_path_factory.mktemp("rehearsal-claims")
    build(folder / "root", questdb)
    return engine_of(folder / "root", folder / "state", questdb)


def _trades(database: DatabaseRoot) -> TableDirectory:
    return next(table for table in database.tables() if table.raw_name == "trades")


def _segment_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clone lacks the rows of the last segment, and the lock that tells of it."""
    clone = cloning.make_clone

    def planted(database: DatabaseRoot, selection: Any, target: Path, **more: Any) -> None:
        clone(database, selection, target, **more)
        segments = [path for path in directory(target.parent, "trades").glob("wal1/*") if path.is_dir()]
        last = max(segments, key=lambda path: int(path.name))
        shutil.rmtree(last)
        last.with_name(f"{last.name}.lock").unlink()

    monkeypatch.setattr(rehearsing, "make_clone", planted)


def _changed_after_its_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clone is another when the plan that was made on it is run."""
    same = _Rehearsing._same_plan

    def planted(self: _Rehearsing, on_clone: Plan) -> None:
        same(self, on_clone)
        os.utime(directory(self.folder.root, "trades") / "_txn", ns=(1, 1))

    monkeypatch.setattr(_Rehearsing, "_same_plan", planted)


def _result_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log that the plan wrote is gone before a server starts on it."""
    run = Proof.run

    def planted(self: Proof, binary: ServerBinary) -> None:
        (_trades(self._database).sequencer / "_txnlog").write_bytes(b"")
        run(self, binary)

    monkeypatch.setattr(Proof, "run", planted)


FAULTS: dict[ClaimKey, Callable[[pytest.MonkeyPatch], None]] = {
    ClaimKey.SAME_PLAN: _segment_gone,
    ClaimKey.CARRIED_OUT: _changed_after_its_plan,
    ClaimKey.KNOWN: _result_unreadable,
}


def _fails(engine: Engine) -> tuple[Claim, ...]:
    """Rehearse; return the claims that failed. What was rehearsed is as it was, and counts as not rehearsed."""
    before = tree(engine.database.root)
    ended = rehearse(engine, ACTION, "trades")
    assert ended.outcome is RehearsalOutcome.FAILED, ended.message
    assert tree(engine.database.root) == before
    assert not engine.plan(ACTION, "trades").rehearsed
    return tuple(claim for claim in ended.verification if not claim.ok)


@pytest.mark.parametrize("key", FAULTS)
def test_a_fault_planted_before_the_server_fails_its_claim(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, key: ClaimKey
) -> None:
    FAULTS[key](monkeypatch)
    assert [claim.key for claim in _fails(engine)] == [key]


def test_a_fault_planted_beside_the_server_fails_its_claim(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, column, failed = Proof._kept, canary.column_claim, []

    def without_wal(self: Proof, expected: Expectation) -> None:
        wal = _trades(self._database).path / "wal1"
        wal.rename(tmp_path / "away")
        with pytest.raises(NotProvenError):
            kept(self, expected)
        failed.append(self.claims.pop())
        (tmp_path / "away").rename(wal)
        kept(self, expected)

    def may_suspend(root: Path, binary: ServerBinary, *, settings: dict[str, str], **more: Any) -> PrivateServer:
        return PrivateServer(root, binary, settings={**settings, "dev.mode.enabled": "true"}, **more)

    def then_suspended(sql: Server, shape: Shape, *more: Any) -> Claim:
        claim = column(sql, shape, *more)
        sql.rows("ALTER TABLE trades SUSPEND WAL")
        return claim

    monkeypatch.setattr(Proof, "_kept", without_wal)
    monkeypatch.setattr(proof, "PrivateServer", may_suspend)
    monkeypatch.setattr(proof, "column_claim", then_suspended)
    assert [claim.key for claim in _fails(engine)] == [ClaimKey.TAKES_WRITES]
    assert [(claim.key, claim.ok, claim.found) for claim in failed] == [(ClaimKey.WAL_KEPT, False, "wal1")]

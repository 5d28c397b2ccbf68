"""The plan that restores market_trades, and what came of it."""
# Captured values, not code: long strings stay whole.
# ruff: noqa: E501

from console.probes.sample import (
    JournalLine,
    JournalSample,
)
from console.recovery.codes import ClaimKey
from console.recovery.model import Change, Claim, Fact, Outcome, Plan, Requirement, RowsLost, RunResult, Stage

RESTORE_PLAN = Plan(
    plan_id="743afcf431d190e2",
    action="restore-sequencer",
    table="market_orderbook",
    station="ai-trading-station",
    confirmation="market_orderbook lose 0",
    why="txn_seq.backup.20251110_032600 is the best of 1 backup: txn_seq.backup.20251110_032600: maxTxn 150,983, sha256 c80d62bd84b0, 4,096 bytes short of its header, 299 records of unapplied transactions, 19 records missing or invalid. What its records lack comes from the WAL segments.",
    rows_lost=RowsLost(kind="exact", value=0),
    rows_back=6359,
    rows_maybe_twice=0,
    refused=(),
    requirements=(
        Requirement(
            claim="which segment transactions are applied is known",
            holds=True,
            evidence="named by txn_seq.backup.20251110_032600, the server's log questdb.log",
        ),
        Requirement(
            claim="what is to come back is on disk", holds=True, evidence="318 transactions with 6,359 rows not applied"
        ),
    ),
    stages=(
        Stage(
            id="build",
            title="build the sequencer beside, as market_orderbook~19/txn_seq.walmedic-bad80cc2.new",
            step="build-directory",
            changes=(
                Change(
                    kind="create",
                    target="market_orderbook~19/txn_seq.walmedic-bad80cc2.new/_txnlog",
                    after="maxTxn 150,983: 150,665 applied, 318 records behind them; V1",
                    size=4231168,
                ),
                Change(
                    kind="create",
                    target="market_orderbook~19/txn_seq.walmedic-bad80cc2.new/_wal_index.d",
                    after="highest WAL id 39",
                    size=4096,
                ),
                Change(
                    kind="create",
                    target="market_orderbook~19/txn_seq.walmedic-bad80cc2.new/_meta",
                    after="structure version 0, from txn_seq.backup.20251110_032600/_meta",
                    size=4096,
                ),
                Change(
                    kind="create",
                    target="market_orderbook~19/txn_seq.walmedic-bad80cc2.new/_txnlog.meta.i",
                    after="empty (zeros)",
                    size=4096,
                ),
                Change(
                    kind="create",
                    target="market_orderbook~19/txn_seq.walmedic-bad80cc2.new/_txnlog.meta.d",
                    after="empty (zeros)",
                    size=4096,
                ),
                Change(
                    kind="create",
                    target="market_orderbook~19/txn_seq.walmedic-bad80cc2.new/_meta.0",
                    after="copy of market_orderbook~19/txn_seq.backup.20251110_032600/_meta.0",
                    size=496,
                ),
            ),
        ),
        Stage(id="check", title="read it back and check every rule of the format", step="check-sequencer"),
        Stage(
            id="swap",
            title="put it in place",
            step="swap-directory",
            changes=(
                Change(
                    kind="rename",
                    target="market_orderbook~19/txn_seq.walmedic-bad80cc2.new",
                    before="market_orderbook~19/txn_seq.walmedic-bad80cc2.new",
                    after="market_orderbook~19/txn_seq",
                ),
            ),
        ),
    ),
    facts=(
        Fact(name="market_orderbook~19", digest="9035712d6553688f46978f46773a9bdbd5e2371589d51d52710228e05e01566f"),
        Fact(
            name="market_orderbook~19/txn_seq.backup.20251110_032600/_txnlog",
            digest="c80d62bd84b00be4ef593c1e1352cf6d2664d972aa559dc5e5d1b208f0e7177f",
        ),
    ),
    undo="The sequencer as it was is put back by rename, byte for byte, until a server has started on the result.",
    rehearsed=False,
    warnings=("the open files of 1 process could not be seen (pid 1)",),
    directory="market_orderbook~19",
    disk_needed=4248048,
)
RESTORE_RESULT = RunResult(
    entry="20261123-112104-65d6e8",
    outcome=Outcome.DONE,
    message="11 claims proven",
    verification=(
        Claim(key=ClaimKey.LOG_MAX_TXN, claim="the header's maxTxn", expected="150,983", found="150,983", ok=True),
        Claim(
            key=ClaimKey.LOG_NOT_BELOW_APPLIED,
            claim="the log is not below the applied transaction",
            expected=">= 150,665",
            found="150,983",
            ok=True,
        ),
        Claim(key=ClaimKey.LOG_LENGTH, claim="the log's length", expected="4,231,168", found="4,231,168", ok=True),
        Claim(key=ClaimKey.LOG_RECORDS, claim="unapplied records missing or invalid", expected="0", found="0", ok=True),
        Claim(
            key=ClaimKey.LOG_SEGMENTS,
            claim="records naming segments that are not on disk",
            expected="0",
            found="0",
            ok=True,
        ),
        Claim(
            key=ClaimKey.LOG_UNNAMED,
            claim="segment transactions behind the applied ones that no record names",
            expected="0",
            found="0",
            ok=True,
        ),
        Claim(
            key=ClaimKey.WAL_INDEX,
            claim="the wal index is not below the highest WAL",
            expected=">= 39",
            found="39",
            ok=True,
        ),
        Claim(
            key=ClaimKey.LOG_STRUCTURE,
            claim="structure version of _meta and of the last record",
            expected="0",
            found="0",
            ok=True,
        ),
        Claim(
            key=ClaimKey.STRUCTURE_NOT_BEHIND,
            claim="the structure is not behind the table's",
            expected=">= 0",
            found="0",
            ok=True,
        ),
        Claim(key=ClaimKey.TABLE_ID, claim="table id", expected="19", found="19", ok=True),
        Claim(key=ClaimKey.OWNER, claim="its files belong to the table's owner", expected="0:0", found="0:0", ok=True),
    ),
)
RECOVERED_JOURNAL = JournalSample(
    lines=(
        JournalLine(
            entry="20261123-112312-2685d2",
            at=1795432992.681,
            action="thaw-writer",
            target="ai-trading-station",
            outcome="rolled back",
            operator="root",
            summary="the backlog of 569,062 entries has not shrunk for 120 s",
        ),
        JournalLine(
            entry="20261123-112236-101598",
            at=1795432956.365,
            action="start-server",
            target="ai-trading-station",
            outcome="done",
            operator="root",
            summary="17 claims proven",
        ),
        JournalLine(
            entry="20261123-112207-110d40",
            at=1795432927.263,
            action="rebuild-sequencer",
            target="market_trades",
            outcome="done",
            operator="root",
            summary="11 claims proven",
        ),
        JournalLine(
            entry="20261123-112104-65d6e8",
            at=1795432864.823,
            action="restore-sequencer",
            target="market_orderbook",
            outcome="done",
            operator="root",
            summary="11 claims proven",
        ),
        JournalLine(
            entry="20261123-112017-34f950",
            at=1795432817.519,
            action="capture-evidence",
            target="ai-trading-station",
            outcome="done",
            operator="root",
            summary="1 claim proven",
        ),
        JournalLine(
            entry="20261123-111914-72c910",
            at=1795432754.993,
            action="stop-server",
            target="ai-trading-station",
            outcome="done",
            operator="root",
            summary="2 claims proven",
        ),
        JournalLine(
            entry="20261123-111841-22672e",
            at=1795432721.206,
            action="freeze-writer",
            target="ai-trading-station",
            outcome="done",
            operator="root",
            summary="1 claim proven",
        ),
    ),
    chain_ok=True,
)

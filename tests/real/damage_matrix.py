"""Damages of a table's WAL files that do not crash the server: what `check` must say, and what the server then does.

Every case is done to a table that was never altered and to one that was, with a V1 and with a V2 log, where it can be;
the server's own behaviour is asserted beside. Where each damage of the documents is shown:

| damage | shown by |
| --- | --- |
| none; first 8 bytes of a record zeroed (never altered: normal; altered: not) | intact, version_zeroed, last_version_zeroed |
| record zeroed; its walId zeroed or nonsense; zeroed below the applied one | record_zeroed, wal_id_zeroed, wal_id_invalid, applied_record_zeroed |
| record repeated, replayed, out of order | record_repeated, record_replayed, records_swapped |
| record naming a segment, transaction or WAL that is not there | unknown_segment_txn, unknown_wal |
| maxTxn below or at the applied one; negative; header zeroed; fresh log of either format | header_below_applied, header_at_applied, header_negative, header_zeroed, fresh_log_v1, fresh_log_v2 |
| maxTxn too high within the page or the parts; far too high (V2) | header_a_little_too_high, header_far_too_high |
| maxTxn past the end by pages, before the file, wild structure version of the last record: crashes | test_crashes.CAUSES |
| file cut inside its last page, 40 bytes left of it; one page short | tail_cut, log_of_40_bytes; test_crashes.CAUSES |
| log removed, empty, negative version, part size 0; of an unknown version | log_removed, log_empty, log_version_negative, part_size_zero; test_diagnosis_special |
| `txn_seq` removed; `_wal_index.d` removed or low | sequencer_removed; wal_index_removed, wal_index_low |
| sequencer `_meta` removed, zeroed, of another version, dropped, behind or ahead of the log | metadata_* |
| `.meta.i` emptied, zeroed; content or index of a waiting structure change lost, its version wrong | structure_index_*; pending_change_* |
| V2 part removed, of what waits or of what is applied; all parts removed | part_removed, applied_part_removed, parts_removed |
| segment removed; its events or their index cut; a column removed, cut, torn | segment_removed, events_cut, event_index_cut, column_*, data_torn |
| lag count without lag rows, healed by a start, under a live server | lag_overflow, lag_overflow_under_a_live_server |
| `_txn` set back to its other area, WAL purged; the log gone as well | txn_set_back, txn_set_back_without_log |
| `_txn` gone (its areas damaged: tests/unit/diagnosis) | test_diagnosis_special |
| conversion marker | convert_marker |
| view behind over filler; files of another owner | test_diagnosis_special |
| zero pages in a column of a partition; disk against server | test_diagnosis_server |
"""  # noqa: E501

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from console.diagnosis.model import Code
from tests.real import damage_strikes as strikes
from tests.real.damage_strikes import APPLIED, CHANGE, LAST, LATE, PART, PENDING, ROWS, Strike, record_at

Place = int | Callable[[Path], int] | None
NO_ALTER = "possible corruption in transaction metadata"


@dataclass(frozen=True, slots=True)
class Case:
    """One damage. `codes` are of the findings that are more than a note; `at` is (code, offset, seqTxn) of one.

    `waits` is how many transactions with rows `check` must count as unapplied; `writes` what it must say of writing,
    where that is not simply whether an inserted row `arrives`. After a start: `reaches` is the last transaction whose
    rows SQL shows, `suspended` and `listed` what wal_tables() says; `refusal` is part of the error of an insert (empty:
    it is acknowledged), `arrives` whether the inserted row is ever seen, `wal_kept` whether the segment that waits is
    there after the sweeps, `no_alter` part of the error of an ALTER. `when_altered` replaces fields for altered tables.
    """

    name: str
    strike: Strike
    codes: frozenset[Code] = frozenset()
    at: tuple[Code, Place, int | None] | None = None
    waits: int | None = PENDING
    reaches: int = LAST
    suspended: bool = False
    listed: bool = True
    refusal: str = ""
    arrives: bool = True
    writes: bool | None = None
    wal_kept: bool | None = None
    no_alter: str = ""
    versions: tuple[int, ...] = (1, 2)
    pending: bool = True  # False: the server applied all before the damage
    unaltered_only: bool = False
    written: bool = True  # False: a write may crash the server, or spoil the memory of another table
    late: bool = False  # only altered tables, with a structure change among what waits
    when_altered: Mapping[str, Any] = field(default_factory=dict)
    altered: bool = False

    @property
    def table(self) -> str:
        """The name of the table."""
        return f"{self.name}_altered" if self.altered else self.name

    @property
    def changes(self) -> tuple[int, ...]:
        """The transactions that are structure changes."""
        return ((CHANGE,) if self.altered else ()) + ((LATE,) if self.late else ())

    def rows(self, first: int, last: int) -> int:
        """Return how many rows the transactions `first`..`last` have."""
        return ROWS * (max(0, last + 1 - first) - sum(first <= change <= last for change in self.changes))


def cases(version: int) -> tuple[Case, ...]:
    """Return the cases for a format of the log, each for both kinds of table."""
    found = []
    for case in CASES:
        if version in case.versions:
            found += [] if case.late else [case]
            found += [] if case.unaltered_only else [replace(case, altered=True, **case.when_altered)]
    return tuple(found)


def _codes(*codes: Code) -> frozenset[Code]:
    return frozenset(codes)


_ZEROED, _UNLOGGED, _PURGE = Code.LOG_RECORD_ZEROED, Code.LOG_TAIL_UNLOGGED, Code.WAL_AT_RISK_OF_PURGE
_INVALID, _UNKNOWN, _BELOW = Code.LOG_RECORD_INVALID, Code.LOG_UNKNOWN_SEGMENT, Code.LOG_MAX_TXN_BELOW_APPLIED
_VERSION, _METADATA = Code.LOG_STRUCTURE_VERSION_REGRESS, Code.SEQUENCER_METADATA_INVALID
_STOPS: dict[str, Any] = {"suspended": True, "arrives": False}
_LOST: dict[str, Any] = {"reaches": APPLIED, "arrives": False, "wal_kept": False}
_FORGETS: dict[str, Any] = {"when_altered": {"no_alter": NO_ALTER}}  # structure version 0 where it was 1
_META = "txn_seq/_meta"

CASES = (
    Case("intact", lambda _: None),
    Case("applied_record_zeroed", strikes.zero(6)),
    Case("version_zeroed", strikes.field(16, 0, "<q", 0),
         when_altered={"codes": _codes(_VERSION), "at": (_VERSION, record_at(16), 16)}),
    Case("last_version_zeroed", strikes.field(LAST, 0, "<q", 0),
         when_altered={"codes": _codes(_VERSION), "at": (_VERSION, record_at(LAST), LAST), "no_alter": NO_ALTER}),
    Case("record_zeroed", strikes.zero(16), _codes(_ZEROED, _UNLOGGED), (_ZEROED, record_at(16), 16), reaches=15,
         wal_kept=True, **_STOPS),
    Case("wal_id_zeroed", strikes.field(17, 8, "<i", 0), _codes(_ZEROED, _UNLOGGED), (_ZEROED, record_at(17), 17),
         reaches=16, wal_kept=True, **_STOPS),
    Case("wal_id_invalid", strikes.field(16, 8, "<i", -5), _codes(_INVALID, _UNLOGGED), (_INVALID, record_at(16), 16),
         reaches=15, wal_kept=True, **_STOPS),
    Case("record_repeated", strikes.copy_of(15, 16), _codes(_INVALID, _UNLOGGED), (_INVALID, record_at(16), 16),
         reaches=APPLIED, **_STOPS),
    Case("records_swapped", strikes.swap(15), at=(_INVALID, record_at(16), 16)),
    Case("unknown_segment_txn", strikes.field(18, 16, "<i", 500), _codes(_UNKNOWN, _UNLOGGED),
         (_UNKNOWN, record_at(18), 18), reaches=APPLIED, **_STOPS),
    Case("unknown_wal", strikes.field(LAST, 8, "<i", 77), _codes(_UNKNOWN, _UNLOGGED),
         (_UNKNOWN, record_at(LAST), LAST), reaches=APPLIED, **_STOPS),
    Case("header_below_applied", strikes.header(8), _codes(_BELOW, _UNLOGGED, _PURGE), (_BELOW, 4, 8), **_LOST),
    Case("header_at_applied", strikes.header(APPLIED), _codes(_UNLOGGED, _PURGE),
         (_UNLOGGED, record_at(APPLIED + 1), APPLIED + 1), reaches=APPLIED, wal_kept=False, writes=False),
    Case("header_negative", strikes.header(-1), _codes(_BELOW, _UNLOGGED), (_BELOW, 4, -1), reaches=APPLIED,
         arrives=False, wal_kept=True, versions=(1,), **_FORGETS),
    Case("header_negative", strikes.header(-1), _codes(_BELOW, _UNLOGGED), (_BELOW, 4, -1), reaches=APPLIED,
         arrives=False, wal_kept=True, versions=(2,), written=False),
    Case("header_zeroed", strikes.zero_header, _codes(Code.LOG_HEADER_ZEROED, _UNLOGGED, _PURGE),
         (Code.LOG_HEADER_ZEROED, 0, None), versions=(1,), **_LOST, **_FORGETS),
    Case("header_zeroed", strikes.zero_header, _codes(Code.LOG_HEADER_ZEROED, _PURGE),
         (Code.LOG_HEADER_ZEROED, 0, None), versions=(2,), **_LOST, **_FORGETS),
    Case("fresh_log_v1", strikes.fresh_log(1), _codes(_BELOW, _PURGE), (_BELOW, 4, 0), **_LOST, **_FORGETS),
    Case("fresh_log_v2", strikes.fresh_log(2), _codes(_BELOW), (_BELOW, 4, 0), reaches=APPLIED, versions=(1,),
         refusal="_txn_parts", wal_kept=True),
    Case("fresh_log_v2", strikes.fresh_log(2), _codes(_BELOW, _UNLOGGED, _PURGE), (_BELOW, 4, 0), versions=(2,),
         **_LOST, **_FORGETS),
    Case("header_a_little_too_high", strikes.header(LAST + 3), _codes(_ZEROED),
         (_ZEROED, record_at(LAST + 1), LAST + 1), **_STOPS, versions=(1,), **_FORGETS),
    Case("header_a_little_too_high", strikes.header(LAST + 3), _codes(Code.LOG_PART_MISSING),
         (Code.LOG_PART_MISSING, 0, LAST + 1), **_STOPS, versions=(2,), **_FORGETS),
    Case("header_far_too_high", strikes.header(LAST + 1000), _codes(Code.LOG_PART_MISSING),
         (Code.LOG_PART_MISSING, 0, LAST + 1), reaches=APPLIED, **_STOPS, versions=(2,), **_FORGETS),
    Case("tail_cut", strikes.truncate("txn_seq/_txnlog", 76 + 28 * 16),
         _codes(Code.LOG_MAX_TXN_PAST_END, _UNLOGGED, _PURGE), (Code.LOG_MAX_TXN_PAST_END, record_at(LAST), LAST),
         reaches=16, **_STOPS, wal_kept=False, versions=(1,), **_FORGETS),
    Case("log_of_40_bytes", strikes.truncate("txn_seq/_txnlog", 40), _codes(Code.LOG_MAX_TXN_PAST_END),
         (Code.LOG_MAX_TXN_PAST_END, record_at(LAST), LAST), 0, pending=False, versions=(1,), **_FORGETS),
    Case("log_removed", strikes.remove("txn_seq/_txnlog"), _codes(Code.LOG_MISSING), (Code.LOG_MISSING, None, None),
         reaches=APPLIED, refusal="cannot read version at offset 0", wal_kept=True),
    Case("log_empty", strikes.truncate("txn_seq/_txnlog", 0), _codes(Code.LOG_EMPTY), (Code.LOG_EMPTY, 0, None),
         reaches=APPLIED, refusal="cannot read version at offset 0", wal_kept=True),
    Case("log_version_negative", strikes.log_version(-1), _codes(Code.LOG_VERSION_UNKNOWN),
         (Code.LOG_VERSION_UNKNOWN, 0, None), reaches=APPLIED, suspended=True,
         refusal="cannot read version at offset 0", wal_kept=True),
    Case("part_size_zero", strikes.no_part_size, _codes(Code.LOG_VERSION_UNKNOWN), (Code.LOG_VERSION_UNKNOWN, 20, None),
         reaches=APPLIED, suspended=True, refusal="invalid sequencer file part size", wal_kept=True, versions=(2,),),
    Case("sequencer_removed", strikes.remove("txn_seq"), _codes(Code.SEQUENCER_MISSING),
         (Code.SEQUENCER_MISSING, None, None), reaches=APPLIED, listed=False, refusal="_wal_index.d", wal_kept=True,),
    Case("wal_index_removed", strikes.remove("txn_seq/_wal_index.d"), _codes(Code.WAL_INDEX_MISSING),
         (Code.WAL_INDEX_MISSING, 0, None)),
    Case("wal_index_low", lambda table: strikes.put(table / "txn_seq/_wal_index.d", 0, "<q", 0),
         _codes(Code.WAL_INDEX_LOW), (Code.WAL_INDEX_LOW, 0, None)),
    Case("metadata_removed", strikes.remove(_META), _codes(Code.SEQUENCER_METADATA_MISSING),
         (Code.SEQUENCER_METADATA_MISSING, None, None), reaches=APPLIED, suspended=True, wal_kept=True,
         refusal="Timestamp index is outside of range"),
    Case("metadata_zeroed", strikes.empty(_META), _codes(_METADATA), (_METADATA, 0, None), reaches=APPLIED,
         suspended=True, wal_kept=True, refusal="Timestamp index is outside of range"),
    Case("metadata_of_another_version", lambda table: strikes.put(table / _META, 4, "<i", 9), _codes(_METADATA),
         (_METADATA, 4, None), reaches=APPLIED, suspended=True, wal_kept=True, refusal="version does not match"),
    Case("metadata_dropped", lambda table: strikes.put(table / _META, 8, "<q", -2), _codes(_METADATA, _PURGE),
         (_METADATA, 8, None), reaches=APPLIED, suspended=True, wal_kept=False, refusal="table is dropped"),
    Case("metadata_ahead", lambda table: strikes.put(table / _META, 8, "<q", 2), _codes(_VERSION),
         (_VERSION, record_at(LAST), LAST), no_alter=NO_ALTER),
    Case("metadata_behind", lambda table: strikes.put(table / _META, 8, "<q", 0),
         when_altered={"codes": _codes(_METADATA, _VERSION), "at": (_METADATA, 8, None), "no_alter": NO_ALTER}),
    Case("structure_index_emptied", strikes.truncate("txn_seq/_txnlog.meta.i", 0)),
    Case("structure_index_zeroed", strikes.empty("txn_seq/_txnlog.meta.i")),
    Case("pending_change", lambda _: None, waits=PENDING - 1, late=True),
    Case("pending_change_lost", strikes.empty("txn_seq/_txnlog.meta.d"), _codes(_METADATA), (_METADATA, 80, LATE),
         PENDING - 1, LATE - 1, **_STOPS, late=True),
    Case("pending_change_index_lost", strikes.empty("txn_seq/_txnlog.meta.i"), _codes(_METADATA),
         (_METADATA, 16, LATE), PENDING - 1, LATE - 1, **_STOPS, late=True),
    Case("pending_change_zeroed", strikes.zero(LATE), _codes(_ZEROED), (_ZEROED, record_at(LATE), LATE), PENDING - 1,
         LATE - 1, **_STOPS, late=True),
    Case("pending_change_version", strikes.field(LATE, 0, "<q", 1), _codes(_INVALID), (_INVALID, record_at(LATE), LATE),
         PENDING - 1, LATE - 1, **_STOPS, late=True),
    Case("part_removed", strikes.missing_part, _codes(Code.LOG_PART_MISSING, _UNLOGGED, _PURGE),
         (Code.LOG_PART_MISSING, 0, LAST - PART + 1), reaches=LAST - PART, **_STOPS, wal_kept=False, versions=(2,),
         **_FORGETS),
    Case("applied_part_removed", strikes.missing_part, _codes(Code.LOG_PART_MISSING),
         (Code.LOG_PART_MISSING, record_at(LAST), LAST), 0, pending=False, versions=(2,), **_FORGETS),
    Case("parts_removed", strikes.remove("txn_seq/_txn_parts"), _codes(Code.LOG_PART_MISSING, _UNLOGGED),
         (Code.LOG_PART_MISSING, record_at(APPLIED + 1), APPLIED + 1), reaches=APPLIED, suspended=True,
         refusal="_txn_parts", wal_kept=True, versions=(2,)),
    Case("segment_removed", strikes.remove_segment, _codes(Code.SEGMENT_MISSING),
         (Code.SEGMENT_MISSING, None, APPLIED + 1), 0, APPLIED, **_STOPS),
    Case("events_cut", strikes.cut_events, _codes(Code.SEGMENT_EVENT_TRUNCATED), None, None, APPLIED, **_STOPS),
    Case("event_index_cut", strikes.cut_event_index, _codes(Code.SEGMENT_EVENT_TRUNCATED)),
    Case("column_removed", strikes.remove_column, _codes(Code.SEGMENT_DATA_TORN), reaches=APPLIED, **_STOPS),
    Case("column_cut", strikes.cut_column, _codes(Code.SEGMENT_DATA_TORN), reaches=LAST - 1, **_STOPS),
    Case("data_torn", strikes.tear_timestamps, _codes(Code.SEGMENT_DATA_TORN),
         (Code.SEGMENT_DATA_TORN, strikes.torn_from, None)),
    Case("lag_overflow_under_a_live_server", lambda _: None, waits=0, arrives=False, writes=True, pending=False,
         unaltered_only=True),
    Case("lag_overflow", strikes.lag_overflow, _codes(Code.LAG_OVERFLOW),
         (Code.LAG_OVERFLOW, strikes.in_area(92), LAST + 1), 0, writes=False, pending=False),
    Case("txn_set_back", strikes.set_back, _codes(Code.TABLE_TXN_BEHIND, Code.SEGMENT_MISSING),
         (Code.TABLE_TXN_BEHIND, strikes.in_other_area(80), None), None, -1, **_STOPS, pending=False),
    Case("txn_set_back_without_log", strikes.set_back_without_log, _codes(Code.TABLE_TXN_BEHIND, Code.LOG_MISSING),
         (Code.TABLE_TXN_BEHIND, strikes.in_other_area(80), None), None, -1, pending=False,
         refusal="cannot read version at offset 0"),
    Case("convert_marker", strikes.convert_marker, _codes(_PURGE), (_PURGE, 0, None), reaches=APPLIED, listed=False,
         wal_kept=False),
)  # fmt: skip

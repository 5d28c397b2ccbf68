"""What held from the start against the adversary of test_adversary.py: kept, so that it goes on to hold."""

from pathlib import Path

import pytest

from console.recovery.server.jvm import ServerBinary
from tests.real.adversary_strikes import (
    DEDUP,
    PLAIN,
    WIDE,
    Strike,
    all_of,
    beside,
    converting,
    cut,
    event_cut,
    events_of_sibling,
    gone,
    header,
    log_gone,
    older_sequencer,
    rows,
    segment_removed,
    segment_renamed,
    together,
    wals_exchanged,
    wide,
    without,
    zeroed,
)
from tests.real.adversary_world import Case, Played, Step, hold, play

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]  # one fixture plays all cases

_APPLIED = (rows(0), rows(24), rows(48))
_TWO = (together(0, 24),)
_TWO_WAIT = (together(48, 72), together(96, 120))
_DROP = "ALTER TABLE {t} DROP PARTITION LIST '2023-11-15'"


def _change(name: str, statement: str, then: Step, *, log: bool = False) -> Case:
    """A statement waits between rows."""
    return Case(name, PLAIN, _APPLIED, (rows(72), statement, then), log_gone if log else gone)


def _wide(name: str, strike: Strike) -> Case:
    return Case(name, WIDE, (wide(0), wide(24)), (wide(48), wide(72)), all_of(strike, gone))


CASES = (
    Case("late_keys", PLAIN, (rows(0), rows(24)), (rows(36), rows(0.05), rows(24.02), rows(0)), gone, suffix=DEDUP),
    Case("late_keys_of_two", PLAIN, _TWO, (together(36, 1), together(20, 0.5), rows(60)), gone, suffix=DEDUP),
    _change("partition_dropped", _DROP, rows(96)),
    _change("truncated", "TRUNCATE TABLE {t}", rows(96)),
    _change("ttl", "ALTER TABLE {t} SET TTL 2 DAYS", rows(120)),
    _change("parameter", "ALTER TABLE {t} SET PARAM maxUncommittedRows = 777", rows(120)),
    _change("symbol_capacity", "ALTER TABLE {t} ALTER COLUMN sym SYMBOL CAPACITY 4096", rows(96)),
    _change("column_dropped", "ALTER TABLE {t} DROP COLUMN px", without("px")),
    _change("column_dropped_log", "ALTER TABLE {t} DROP COLUMN px", without("px"), log=True),
    _change("type_changed", "ALTER TABLE {t} ALTER COLUMN px TYPE INT", rows(96, px="3")),
    Case("partition_dropped_cut", PLAIN, _APPLIED, (rows(72), _DROP, rows(96)), all_of(event_cut(), gone)),
    Case("truncated_cut", PLAIN, _APPLIED, (rows(72), "TRUNCATE TABLE {t}", rows(96)), all_of(event_cut(back=2), gone)),
    Case("updated_cut", PLAIN, _APPLIED, (rows(72), "UPDATE {t} SET px = 7 WHERE sym = 'S1'"), event_cut()),
    Case("events_of_sibling", PLAIN, _TWO, _TWO_WAIT, all_of(events_of_sibling, gone)),
    Case("events_of_sibling_logged", PLAIN, _TWO, _TWO_WAIT, events_of_sibling),
    Case("wals_exchanged", PLAIN, _TWO, _TWO_WAIT, all_of(wals_exchanged, gone)),
    Case("older_backup", PLAIN, (rows(0), rows(24), "KEEP old"), (rows(48), rows(72)), beside("old")),
    Case("older_in_place", PLAIN, (rows(0), rows(24), "KEEP old"), (rows(48), rows(72)), older_sequencer("old")),
    Case("converting", PLAIN, _APPLIED, (rows(72),), all_of(gone, converting), repaired=False),
    Case("eight", PLAIN, (together(*range(8)),), (together(*range(48, 56)),), gone, repaired=True),
    Case("eight_low", PLAIN, (together(*range(8)),), (together(*range(48, 56)),), header(-5), repaired=True),
    Case("eight_cut", PLAIN, (together(*range(8)),), (together(*range(48, 56)),), all_of(event_cut(3), gone)),
    Case("many_symbols", PLAIN, (rows(0, 500),), (rows(96, 10_000, sym="'many{i}'"),), gone, repaired=True),
    Case("empty", PLAIN, (), (), gone, repaired=True),
    Case("empty_waits", PLAIN, (), (rows(0), rows(24)), header(-2), repaired=True),
    Case("segment_removed", PLAIN, _TWO, _TWO_WAIT, segment_removed(2)),
    Case("segment_renamed", PLAIN, _APPLIED, (rows(72), rows(96)), all_of(segment_renamed, gone), repaired=True),
    Case("months", PLAIN, (rows(0),), (rows(900),), gone, repaired=True, suffix="PARTITION BY MONTH WAL"),
    Case("hours", PLAIN, (rows(0),), (rows(90),), gone, repaired=True, suffix="PARTITION BY HOUR TTL 3 DAYS WAL"),
    *(_wide(f"zeros_{name.replace('.', '_')}", zeroed(name))
      for name in ("u.d", "v.d", "v.i", "s.d", "s.i", "l.d", "ip.d", "d.d", "g.d", "ts.d")),
    *(_wide(f"cut_{name.replace('.', '_')}", cut(name)) for name in ("u.d", "v.i", "s.i", "a.d", "sym.d", "ts.d")),
)  # fmt: skip


@pytest.fixture(scope="module")
def ended(questdb: ServerBinary, workshop: Path) -> dict[str, Played]:
    """All cases, played together."""
    return play(workshop / "work", CASES, questdb)


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_what_is_lost_was_announced_or_the_plan_is_refused(name: str, ended: dict[str, Played]) -> None:
    hold(ended[name])

"""When a process that supervisord restarts counts as one that ends again and again."""

import time

import pytest

from console.services.supervisor_log import SupervisorLog

BEGUN = time.mktime((2026, 11, 10, 3, 0, 0, 0, 0, -1))


def _log(*ends: float) -> str:
    """Return the lines of runs that ended so many seconds after three o'clock, and of one that did not."""
    lines = []
    for at in ends:
        minute, second = divmod(at, 60)
        stamp = f"2026-11-10 03:{int(minute):02}:{int(second):02},000"
        lines.append(f"{stamp} WARN exited: questdb (terminated by SIGABRT; not expected)\n")
        lines.append(f"{stamp} INFO spawned: 'questdb' with pid 4711\n")
    return "".join(lines)


@pytest.mark.parametrize(
    ("ends", "now", "looping"),
    [
        ((0, 5), 6, False),
        ((0, 5, 10), 11, True),
        ((0, 5, 10), 39, True),
        ((0, 5, 10), 41, False),  # it has stayed up
        ((0, 25, 50), 99, True),  # not yet longer than it may take
        ((0, 25, 50), 101, False),
        ((0, 100, 119), 121, False),  # too far apart
        ((0, 100, 103, 110), 120, True),
    ],
)
def test_a_loop_is_over_once_a_run_outlasts_it(
    monkeypatch: pytest.MonkeyPatch, ends: tuple[float, ...], now: float, looping: bool
) -> None:
    said = _log(*ends).encode()
    log = SupervisorLog()
    log.follow(lambda offset, size: said[offset : offset + size].decode())
    monkeypatch.setattr(time, "time", lambda: BEGUN + now)
    history = log.history("questdb")
    assert history is not None
    assert history.looping is looping

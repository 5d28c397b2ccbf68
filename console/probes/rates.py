"""How fast a count moves, over a window of the newest readings. Pure, bounded."""

from collections import deque

_KEPT = 64
_SHORTEST = 1.0  # seconds; below that a rate is noise


class Slope:
    """Readings of one count that grows. Where it falls it was counted anew, and the window begins again."""

    def __init__(self, window: float, kept: int = _KEPT) -> None:
        self._window = window
        self._seen: deque[tuple[float, int]] = deque(maxlen=kept)

    def rate(self, now: float, count: int | None) -> float | None:
        """Take a reading at `now` (time.monotonic()) and return the rate a second; None until it is known."""
        if count is None:
            self._seen.clear()
            return None
        if self._seen and count < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, count))
        while now - self._seen[0][0] > self._window:
            self._seen.popleft()
        (since, before), elapsed = self._seen[0], now - self._seen[0][0]
        return (count - before) / (now - since) if elapsed >= _SHORTEST else None

"""What a consumer group of a Redis stream has still to read, from what XINFO STREAM and XINFO GROUPS tell.

Redis 7 counts `lag` as entries ever added less entries ever read, so that an entry which MAXLEN trimmed before the
group read it stays in it for good. Redis 6.2 tells no lag at all. Ids settle it at both ends of the stream; in between
they leave bounds, and counting the entries after the last delivered one is exact.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamLag:
    """Entries still in the stream that the group has not been given: between `least` and `most`, both in entries.

    `trimmed` counts entries that went before the group read them, over the group's whole life as far as Redis counted;
    None where it is not known (no lag reported, or the bounds differ).
    """

    least: int
    most: int
    trimmed: int | None = None

    @property
    def exact(self) -> bool:
        return self.least == self.most


def order_of(entry_id: str) -> tuple[int, int]:
    """Return what entry ids are ordered by: milliseconds and sequence. Raises ValueError for what is no id."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def stream_lag(
    *, length: int, first_id: str | None, last_id: str, added: int | None, delivered_id: str, reported: int | None
) -> StreamLag:
    """Return how far a group is behind.

    `length`, `first_id` (the oldest entry still there), `last_id` (last-generated-id) and `added` (entries-added, None
    before Redis 7) are the stream's; `delivered_id` (last-delivered-id) and `reported` (lag, None if absent)
    the group's.
    """
    delivered = order_of(delivered_id)
    if length == 0 or delivered >= order_of(last_id):
        return _exactly(0, reported)
    if first_id is not None and delivered < order_of(first_id):
        return _exactly(length, reported)
    # The group stands within the stream. Nothing of it was ever removed: what Redis counts is right. Else each entry
    # removed so far may or may not have been read, and no more than the stream's length can still wait.
    removed = max(0, added - length) if added is not None else None
    if reported is None:
        return StreamLag(0, length)
    if removed == 0:
        return _exactly(min(reported, length), reported)
    return StreamLag(0 if removed is None else max(0, reported - removed), min(reported, length))


def counted(waiting: int, reported: int | None) -> StreamLag:
    """Return the lag where the entries after the last delivered one were counted: `waiting` of them."""
    return _exactly(waiting, reported)


def _exactly(waiting: int, reported: int | None) -> StreamLag:
    return StreamLag(waiting, waiting, None if reported is None else max(0, reported - waiting))

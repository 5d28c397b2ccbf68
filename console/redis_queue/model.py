"""One stream and one entry of it, as the console shows them; no Redis client is loaded for them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry to look at: when it was added (epoch seconds, None where its id is no time), its fields in one line.

    It holds row data: for the eyes of the operator, not for anything that is sent away.
    """

    id: str
    at: float | None
    text: str


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """One stream at one moment. Ids are Redis's own; None where the server does not tell. Times in seconds."""

    length: int
    first_id: str | None = None
    last_id: str = "0-0"  # the highest id ever given, also where its entry is gone
    added: int | None = None  # entries ever added
    deleted_id: str | None = None  # the highest id that XDEL took away; trimming does not move it
    delivered_id: str | None = None  # None: there is no such group
    lag: int | None = None
    pending: int | None = None
    oldest_pending: float | None = None
    pending_id: str | None = None  # of the oldest entry that was delivered and not acknowledged
    held_since: float | None = None
    consumers: int | None = None
    consumer_idle: float | None = None
    first_entry: StreamEntry | None = None
    last_entry: StreamEntry | None = None
    error: str = ""

"""Answers of Redis, bounded: what listens on its port may be broken, or not Redis at all, and promise gigabytes."""

import re
from typing import Any, Final

from redis import _parsers as parsers
from redis.exceptions import InvalidResponse

MOST_BYTES: Final = 64 << 20  # of one answer; the largest asked for are 5,000 entries
MOST_LINES: Final = 2_000_000  # each is an object here, of far more bytes than on the wire
_PROMISE: Final = re.compile(rb"(?:^|\r\n)(?:\$\d{9}|[*%~>]\d{7})")  # a length that no answer has


NOT_REDIS: Final = (AttributeError, TypeError, KeyError, IndexError, ValueError)
"""What the client raises where the answer has not the form of any that Redis gives."""


class AnswerTooLargeError(InvalidResponse):
    """An answer that is larger than anything that Redis says to what is asked."""


class _BoundedReader:
    """Hiredis's reader, given no more than an answer may have."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._bytes = self._lines = 0

    def feed(self, data: Any, *span: int) -> None:
        start, length = span or (0, len(data))
        given = bytes(memoryview(data)[start : start + length])
        self._bytes += len(given)
        self._lines += given.count(b"\r\n")
        if self._bytes > MOST_BYTES or self._lines > MOST_LINES or _PROMISE.search(given):
            raise AnswerTooLargeError(f"answers with more than {MOST_BYTES >> 20} MiB at once")
        self._reader.feed(given)

    def gets(self, *decode: bool) -> Any:
        found = self._reader.gets(*decode)
        if found is not parsers.hiredis.NOT_ENOUGH_DATA:
            self._bytes = self._lines = 0
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class BoundedParser(parsers._HiredisParser):
    """For a synchronous connection: `ConnectionPool(parser_class=BoundedParser)`."""

    def on_connect(self, connection: Any, **kwargs: Any) -> None:
        super().on_connect(connection, **kwargs)  # type: ignore[no-untyped-call]
        self._reader = _BoundedReader(self._reader)  # type: ignore[assignment]


class BoundedAsyncParser(parsers._AsyncHiredisParser):
    """The same for asyncio."""

    def on_connect(self, connection: Any) -> None:
        super().on_connect(connection)  # type: ignore[no-untyped-call]
        self._reader = _BoundedReader(self._reader)  # type: ignore[assignment]

"""How long Redis has room: each stream takes its share of the growth until its MAXLEN ends it."""

import pytest

from console.probes.contents import StreamSample
from console.probes.stream_watch import until_full


def _stream(length: int, most: int | None, rate: float | None) -> StreamSample:
    return StreamSample("s", "g", length, 0, True, 0, rate_in=rate, max_length=most)


def test_memory_that_maxlen_ends_before_the_limit_is_never_full() -> None:
    # 100 bytes an entry, 10 entries a second: 50,000 bytes are left, and the stream takes 400 entries more.
    assert until_full(50_000, 1_000.0, [_stream(600, 1_000, 10.0)]) is None


def test_a_stream_that_reaches_the_limit_first_says_when() -> None:
    assert until_full(50_000, 1_000.0, [_stream(0, 1_000, 10.0)]) == pytest.approx(50.0)


def test_once_one_stream_is_trimmed_the_other_fills_what_is_left_more_slowly() -> None:
    # Half the growth each; the first ends after 10 s, with 10,000 bytes used; 10,000 more take 20 s at 500 a second.
    streams = [_stream(950, 1_000, 5.0), _stream(0, 100_000, 5.0)]
    assert until_full(20_000, 1_000.0, streams) == pytest.approx(30.0)


@pytest.mark.parametrize("stream", [_stream(5, None, 10.0), _stream(5, 1_000, None), _stream(1_300, 1_000, 9.0)])
def test_what_is_not_known_to_end_does_not_end(stream: StreamSample) -> None:
    assert until_full(50_000, 1_000.0, [stream]) == pytest.approx(50.0)


def test_a_stream_that_nothing_is_added_to_does_not_grow() -> None:
    assert until_full(50_000, 1_000.0, [_stream(5, None, 0.0), _stream(600, 1_000, 10.0)]) is None


def test_a_stream_that_is_trimmed_by_whole_nodes_is_a_little_longer_than_its_maxlen() -> None:
    assert until_full(50_000, 1_000.0, [_stream(1_090, 1_000, 10.0)]) is None

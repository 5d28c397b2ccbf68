"""Values to text and to CSV: nulls, quotes, surrogates, numbers that read back to the same bits."""

import csv
import io
import ipaddress
import itertools
import json
import struct
import uuid
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.questdb.column_types import TIMESTAMP_NANOS, ColumnTag, value_dtype
from console.questdb.row_values import ArrayValues, BytesValues, Values, fixed_values, gather, joined, nulls, offsets_of
from console.questdb.utf16 import utf8_of
from console.recovery.salvage.cells import cells_of, csv_cells, header_of, importable, rows_of

I64_MIN = -(1 << 63)


def _texts(values: Values) -> list[str]:
    cells = cells_of(values)
    raw, bounds = cells.data.tobytes(), cells.offsets.tolist()
    return [raw[low:high].decode() for low, high in itertools.pairwise(bounds)]


def _bytes_values(texts: list[str | None], code: int = ColumnTag.VARCHAR) -> BytesValues:
    pieces = [(text or "").encode() for text in texts]
    data = np.frombuffer(b"".join(pieces), np.uint8)
    lengths = np.array([len(piece) for piece in pieces], np.int64)
    return BytesValues(code, data, offsets_of(lengths), np.array([text is None for text in texts], np.bool_))


@given(st.lists(st.floats(width=64), min_size=1, max_size=50))
def test_doubles_read_back_to_the_same_bits(values: list[float]) -> None:
    column = fixed_values(ColumnTag.DOUBLE, np.array(values, "<f8"))
    for text, value in zip(_texts(column), values, strict=True):
        if np.isfinite(value):
            assert struct.pack("<d", float(text)) == struct.pack("<d", value)
        else:
            assert text == ""


@given(st.lists(st.integers(I64_MIN, -I64_MIN - 1), min_size=1, max_size=50))
def test_longs_and_their_null(values: list[int]) -> None:
    column = fixed_values(ColumnTag.LONG, np.array(values, "<i8"))
    assert _texts(column) == ["" if value == I64_MIN else str(value) for value in values]


@given(st.lists(st.none() | st.text(), min_size=1, max_size=30), st.lists(st.none() | st.text(), min_size=1))
def test_csv_is_read_back_by_another_parser(first: list[str | None], second: list[str | None]) -> None:
    count = min(len(first), len(second))
    columns = [_bytes_values(first[:count]), _bytes_values(second[:count])]
    lines = rows_of([csv_cells(column) for column in columns]).decode()
    read = list(csv.reader(io.StringIO(lines, newline="")))
    assert read == [[one or "", other or ""] for one, other in zip(first[:count], second[:count], strict=True)]
    for line in [lines] if count == 1 else []:
        assert line.startswith("," if first[0] is None else '"')


@given(st.lists(st.text(st.characters(codec="utf-16"), max_size=8), max_size=12))
def test_utf16_as_python_has_it(texts: list[str]) -> None:
    units = [np.frombuffer(text.encode("utf-16-le"), "<u2") for text in texts]
    counts = np.array([len(each) for each in units], np.int64)
    data, sizes = utf8_of(np.concatenate([np.empty(0, "<u2"), *units]), counts)
    assert data.tobytes() == "".join(texts).encode()
    assert sizes.tolist() == [len(text.encode()) for text in texts]


def test_half_a_pair_is_a_question_mark_also_at_the_border_of_two_values() -> None:
    units = np.array([0xD83D, 0xDE00, 0xD83D, 0xDE00, 0x41, 0xDE00, 0xE9], "<u2")
    data, sizes = utf8_of(units, np.array([2, 1, 2, 0, 2]))
    assert data.tobytes().decode() == "😀??A?é"
    assert sizes.tolist() == [4, 1, 2, 0, 3]


@pytest.mark.parametrize(
    ("code", "values", "texts"),
    [
        (ColumnTag.BOOLEAN, np.array([0, 1], "u1"), ["false", "true"]),
        (ColumnTag.BYTE, np.array([-128, 0], "i1"), ["-128", "0"]),
        (ColumnTag.CHAR, np.array([0, 0x41, 0xDF], "<u2"), ["", "A", "ß"]),
        (ColumnTag.INT, np.array([-(1 << 31), 5], "<i4"), ["", "5"]),
        (ColumnTag.DATE, np.array([I64_MIN, -1], "<i8"), ["", "1969-12-31T23:59:59.999Z"]),
        (ColumnTag.TIMESTAMP, np.array([1, I64_MIN], "<i8"), ["1970-01-01T00:00:00.000001Z", ""]),
        (TIMESTAMP_NANOS, np.array([1, I64_MIN], "<i8"), ["1970-01-01T00:00:00.000000001Z", ""]),
        (ColumnTag.GEOBYTE | 4 << 8, np.array([-1, 5], "i1"), ["", "0101"]),
        (ColumnTag.GEOINT | 20 << 8, np.array([-1, (1 << 20) - 1], "<i4"), ["", "zzzz"]),
        (ColumnTag.IPV4, np.array([0, 0x01020304, 0xFFFFFFFF], "<u4"), ["", "1.2.3.4", "255.255.255.255"]),
    ],
)
def test_forms_of_the_types(code: int, values: np.ndarray[Any, Any], texts: list[str]) -> None:
    assert _texts(fixed_values(code, values)) == texts


@given(st.uuids(), st.integers(0, (1 << 256) - 1), st.ip_addresses(v=4))
def test_wide_numbers(identity: uuid.UUID, number: int, address: ipaddress.IPv4Address) -> None:
    raw = np.frombuffer(identity.int.to_bytes(16, "little"), "V16")
    null = identity.int == (1 << 63) << 64 | 1 << 63
    assert _texts(fixed_values(ColumnTag.UUID, raw)) == ["" if null else str(identity)]
    (text,) = _texts(fixed_values(ColumnTag.LONG256, np.frombuffer(number.to_bytes(32, "little"), "V32")))
    assert int(text, 16) == number
    assert not text[2:].startswith("00") or number < 256
    found = _texts(fixed_values(ColumnTag.IPV4, np.array([int(address)], "<u4")))
    assert found == ["" if int(address) == 0 else str(address)]


def test_arrays_nest_by_their_shape() -> None:
    code = ColumnTag.ARRAY | ColumnTag.DOUBLE << 8 | 1 << 14
    shapes = np.array([[2, 3], [0, 0], [0, 4], [1, 1]], np.int64)
    null = np.array([False, True, False, False])
    values = np.array([1, 2, 3, 4, np.nan, 6, 0.5])
    texts = _texts(ArrayValues(code, shapes, values, np.array([0, 6, 6, 6, 7]), null))
    assert [json.loads(text) if text else None for text in texts] == [[[1, 2, 3], [4, None, 6]], None, [], [[0.5]]]


def test_joined_rows_are_those_of_the_parts() -> None:
    first, second = _bytes_values(["a", None]), _bytes_values(["", "bc"])
    assert _texts(joined([first, second, nulls(ColumnTag.VARCHAR, 1)])) == ["a", "", "", "bc", ""]
    assert joined([first, second]).null.tolist() == [False, True, False, False]


def test_gather_takes_pieces_in_any_order() -> None:
    data = np.frombuffer(b"abcdef", np.uint8)
    assert gather(data, np.array([4, 0, 2]), np.array([2, 0, 3])).tobytes() == b"efcde"
    assert gather(data, np.array([0, 2]), np.array([2, 2])).tobytes() == b"abcd"


def test_header_and_what_the_import_does_not_take() -> None:
    assert header_of(["a", 'b"c']) == b'"a","b""c"\n'
    assert not importable(ColumnTag.BINARY)
    assert not importable(ColumnTag.GEOBYTE | 4 << 8)
    assert importable(ColumnTag.GEOINT | 20 << 8)


@example(1, 0, [-128])
@given(st.sampled_from((1, 2, 4, 8, 16, 32)), st.integers(0, 76), st.lists(st.integers(), max_size=20))
def test_decimals_of_all_sizes(size: int, scale: int, numbers: list[int]) -> None:
    code = ColumnTag.DECIMAL8 + (size.bit_length() - 1) | 76 << 8 | scale << 18
    dtype = value_dtype(code)
    assert dtype is not None
    least = -(1 << 8 * size - 1)
    values = [least, least + 1, -least - 1, 0, -1, *((n - least) % -(2 * least) + least for n in numbers)]
    raw = b"".join(value.to_bytes(size, "big", signed=True) for value in values)
    if size <= 8:
        stored = np.frombuffer(raw, f">i{size}").astype(dtype)
    else:  # words of 8 bytes, the most significant first, each little-endian
        stored = np.frombuffer(raw, ">u8").astype("<u8").view(dtype)
    texts = _texts(fixed_values(code, stored))
    with localcontext() as context:
        context.prec = 200
        for text, value in zip(texts, values, strict=True):
            if value == least:  # NULL
                assert text == ""
            else:
                assert Decimal(text) == Decimal(value).scaleb(-scale)
                assert len(text.partition(".")[2]) == scale

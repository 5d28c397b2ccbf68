"""The field tables: whole, and the very tables that docs/formats.md shows (WRITE_DOCS=1 writes them)."""

import importlib
import os
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

from console.questdb import formats
from console.questdb.fields import Fields
from console.questdb.formats.model import FIRST, FieldFormat, RecordFormat
from console.questdb.reading import DamageError, ProblemKind

DOCUMENT = Path(__file__).parents[3] / "docs" / "formats.md"
TABLES = {
    name: value
    for module in pkgutil.iter_modules(formats.__path__, f"{formats.__name__}.")
    for name, value in vars(importlib.import_module(module.name)).items()
    if isinstance(value, RecordFormat)
}
_BLOCK = re.compile(r"(<!-- field table: (\w+) -->\n)((?:\|.*\n)*)")


def _type(dtype: str) -> str:
    kind = np.dtype(dtype)
    if kind.subdtype:
        return f"{kind.itemsize} bytes"
    return f"{kind.itemsize} bytes" if kind.kind == "V" else f"{kind.kind}{8 * kind.itemsize}"


def _from(since: tuple[int, int, int]) -> str:
    return "" if since == FIRST else f" (from {'.'.join(map(str, since if since[2] else since[:2]))})"


def _row(field: FieldFormat) -> str:
    meaning = [field.meaning, field.unit.value]
    meaning += [", ".join(f"{code.value} {code.name}{_from(code.since)}" for code in field.codes)]
    meaning += [
        ", ".join(
            f"{'bit' if bits.count == 1 else 'bits'} {bits.first}"
            f"{f' to {bits.first + bits.count - 1}' if bits.count > 1 else ''} {bits.name}{_from(bits.since)}"
            for bits in field.bits
        )
    ]
    words = "; ".join(part for part in meaning if part).replace("|", "\\|")
    return f"| {field.offset} | {_type(field.dtype)} | {field.label}{_from(field.since)} | {words} |\n"


def _table(form: RecordFormat) -> str:
    head = f"| {form.title} [{form.source}]{_from(form.since)} | {form.size} bytes | | |\n| --- | --- | --- | --- |\n"
    return head + "".join(map(_row, form.fields))


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_record_is_whole(name: str) -> None:
    """Its fields follow one another without gap or overlap, so that every byte of it has a name."""
    form = TABLES[name]
    ends = [0]
    for field in form.fields:
        assert field.offset == ends[-1], field.name
        assert np.dtype(field.dtype).newbyteorder("<") == np.dtype(field.dtype)
        assert field.since >= FIRST
        bits = [bit for each in field.bits for bit in range(each.first, each.first + each.count)]
        assert len(bits) == len(set(bits))
        assert max(bits, default=0) < 8 * field.size
        assert len({code.value for code in field.codes}) == len(field.codes)
        ends.append(field.offset + field.size)
    assert len({field.name for field in form.fields}) == len(form.fields)
    assert form.size == form.dtype.itemsize == ends[-1]
    plain = [field for field in form.fields if not field.padding and np.dtype(field.dtype).subdtype is None]
    values = {field.name: at + 1 for at, field in enumerate(plain)}
    packed = form.pack(**values)
    read = form.read(Fields(b"\xff" + packed), 1)
    assert {field: read[field] for field in values} == values
    patched = bytearray(form.size)
    form.put(patched, 0, **values)
    assert bytes(patched) == packed
    with pytest.raises(DamageError) as short:
        form.read(Fields(packed[:-1]))
    assert short.value.kind is ProblemKind.SHORT


def test_the_document_shows_these_tables() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = _BLOCK.findall(text)
    assert sorted(name for _, name, _ in shown) == sorted(TABLES)
    written = _BLOCK.sub(lambda found: found[1] + _table(TABLES[found[2]]), text)
    if os.environ.get("WRITE_DOCS"):
        DOCUMENT.write_text(written, encoding="utf-8")
        return
    assert text == written, "docs/formats.md differs from the field tables: WRITE_DOCS=1 writes it anew"

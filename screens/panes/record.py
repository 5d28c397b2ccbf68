"""The record under the cursor: every field named, its value, what that value means."""

from dataclasses import dataclass

from console.diagnosis.inspection.model import Field, RecordView
from console.widgets import glyphs
from console.widgets.line import Line, Role, Span, cells, crop, left, line, right, wrap
from console.widgets.pane import Content, Room

_VALUE = 14  # cells for values where there is little room
_ROOMY = 100  # cells from which on there is enough


@dataclass(frozen=True, slots=True)
class RecordAt:
    """A record, and the offset of the byte that the cursor is on."""

    record: RecordView | None
    offset: int
    reason: str = ""  # shown instead where there is no record


def build(view: RecordAt, room: Room) -> Content:
    """Return the record's fields, one a line; the meaning of the one under the cursor stands in full below them."""
    record = view.record
    if record is None:
        return Content("record", tuple(wrap(view.reason or "no record lies here", room.width, Role.DIM)))
    here = record.field_at(view.offset)
    names = max((len(field.name) for field in record.fields), default=0)
    most = _VALUE if room.width < _ROOMY else max(27, room.width // 3)
    # Where there is little room a long value moves the text behind it, so that short ones do not stand far off.
    values = max((len(field.value) for field in record.fields if len(field.value) <= most), default=0)
    lines = [_field(field, field is here, names, values, room.width) for field in record.fields]
    in_full: list[Line] = []
    if here is not None and any(cells(row) >= room.width for row in lines):
        in_full = wrap(here.meaning, room.width - 2, Role.BAD if _bad(here) else Role.PLAIN)
    fitting = max(1, room.height - len(in_full))
    if here is not None:
        # As many fields as fit, the one under the cursor among them.
        at = record.fields.index(here)
        first = max(0, min(at - fitting + 1, len(lines) - fitting)) if at >= fitting else 0
        lines = lines[first : first + fitting]
    note = line(Span(f"{record.offset:#x}, {record.size} bytes", Role.DIM))
    return Content(record.title, (*lines, *(line("  ", row) for row in in_full)), note, more="more fields")


def _bad(field: Field) -> bool:
    return not field.is_normal or field.missing


def _field(field: Field, here: bool, names: int, values: int, width: int) -> Line:
    bad = _bad(field)
    shown = max(values, min(len(field.value), width // 2))
    mark = Span(glyphs.BAD if bad else glyphs.HERE if here else " ", Role.BAD if bad else Role.ACCENT)
    return crop(
        line(
            mark,
            " ",
            left(line(Span(field.name, Role.PLAIN if here else Role.DIM)), names + 2),
            right(line(Span(field.value, Role.CURSOR if here else Role.MARK if bad else Role.STRONG)), shown),
            "  ",
            Span(field.meaning, Role.BAD if bad else Role.PLAIN if here else Role.DIM),
        ),
        width,
    )

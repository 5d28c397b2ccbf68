"""What a comparison of two files found: a summary by ranges of records, and the record at the cursor in both."""

from dataclasses import dataclass

from console.diagnosis.inspection import FileDescription, RecordView
from console.questdb.comparison import Comparison, Relation, Stretch
from console.text import plural
from console.widgets import glyphs
from console.widgets.line import BLANK, Line, Role, Span, crop, left, line, right, wrap
from console.widgets.pane import Content, Room

_RELATIONS = {
    Relation.EQUAL: Span("equal", Role.DIM),
    Relation.DIFFER: Span(f"{glyphs.DIFFERS} differ", Role.DIFF),
    Relation.IN_PART: Span(f"{glyphs.DIFFERS} differ in part", Role.DIFF),
    Relation.ONLY_LEFT: Span("← only left", Role.WARN),
    Relation.ONLY_RIGHT: Span("→ only right", Role.WARN),
}


@dataclass(frozen=True, slots=True)
class Units:
    """How the units of a comparison are called: records by number, from `first`, or bytes by offset."""

    base: int
    unit: int
    first: int | None

    @classmethod
    def of(cls, one: FileDescription, other: FileDescription) -> "Units":
        """Return the units that both files are made of; sixteen bytes where they are not made of the same records."""
        shape = one.record_base, one.record_size, one.seq_txn_base
        if shape != (other.record_base, other.record_size, other.seq_txn_base) or not one.record_size:
            return cls(0, 16, None)
        first = one.seq_txn_base if one.seq_txn_base is not None else 0
        return cls(one.record_base or 0, one.record_size, first)

    def called(self, stretch: Stretch) -> str:
        """Return e.g. `records 1–7,000` or `0x40–0x7f`."""
        if self.first is None:
            return f"{stretch.start:#x}–{stretch.end - 1:#x}"
        low = self.first + max(0, stretch.start - self.base) // self.unit
        high = self.first + -(-max(0, stretch.end - self.base) // self.unit) - 1
        if high < low:
            return "header"
        records = f"records {low:,}–{high:,}" if high > low else f"record {low:,}"
        return f"header, {records}" if stretch.start < self.base else records


@dataclass(frozen=True, slots=True)
class SummaryView:
    """A comparison at one place of the files; `percent` while it goes on."""

    found: Comparison | None
    units: Units
    offset: int
    percent: int = 0
    message: str = ""


def summary(view: SummaryView, room: Room) -> Content:
    """Return the stretches around the cursor, one a line, below a line about the whole."""
    found = view.found
    message = line(Span("! ", Role.WARN), view.message) if view.message else BLANK
    if found is None:
        return Content("differences", (line(Span(f"comparing… {view.percent} %", Role.DIM)),), alert=message)
    here = found.at(view.offset)
    head = wrap(whole(found, view.units), room.width, Role.OK if found.equal else Role.STRONG)
    around = max(1, room.height - len(head) - bool(message))
    first = min(max(0, here - around // 2), max(0, found.count - around))
    rows = [_stretch(view, found.stretch(n), n == here) for n in range(first, min(found.count, first + around))]
    lines = (*head, *(crop(row, room.width) for row in rows))
    note = line(Span(f"{here + 1} of {found.count}", Role.DIM)) if found.count > 1 else BLANK
    return Content("differences", lines, note, message)


def whole(found: Comparison, units: Units) -> str:
    if found.equal:
        return f"{glyphs.OK} equal, byte by byte"
    what = "record" if units.first is not None else "row"
    differing = ["header"] if found.header_differs else []
    if found.units:
        differing.append(plural(found.units, what))
    parts = []
    if differing:
        parts.append(f"{' and '.join(differing)} differ{'s' if len(differing) == 1 and found.units < 2 else ''}")
    alone = found.stretch(found.count - 1) if found.count else None
    if alone is not None and alone.relation in (Relation.ONLY_LEFT, Relation.ONLY_RIGHT):
        side = "left" if alone.relation is Relation.ONLY_LEFT else "right"
        zeros = ", all zeros" if found.only_zeros else ""
        parts.append(f"{plural(-(-(alone.end - alone.start) // units.unit), what)} only {side}{zeros}")
    return "; ".join(parts) or "given up before the end"


def _stretch(view: SummaryView, stretch: Stretch, here: bool) -> Line:
    mark = Span(glyphs.HERE if here else " ", Role.ACCENT)
    name = Span(view.units.called(stretch), Role.CURSOR if here else Role.PLAIN)
    return line(mark, " ", name, "  ", _RELATIONS[stretch.relation])


def as_text(found: Comparison, units: Units, most: int = 10_000) -> str:
    message = [whole(found, units)]
    for number in range(min(found.count, most)):
        stretch = found.stretch(number)
        relation = _RELATIONS[stretch.relation].text.split(" ", 1)[-1]
        message.append(f"{units.called(stretch)}\t{relation}\t{stretch.start:#x}–{stretch.end - 1:#x}")
    if found.count > most:
        message.append(f"and {found.count - most:,} more")
    return "\n".join(message) + "\n"


@dataclass(frozen=True, slots=True)
class PairView:
    """The record at one offset in both files."""

    left: RecordView | None
    right: RecordView | None
    offset: int


def pair(view: PairView, room: Room) -> Content:
    """Return the fields of both records side by side; what differs is marked."""
    one, other = view.left, view.right
    named = one or other
    if named is None:
        return Content("record", (line(Span("this byte belongs to no record that is known", Role.DIM)),))
    fields = list(dict.fromkeys(field.name for each in (one, other) if each is not None for field in each.fields))
    names = min(max((len(name) for name in fields), default=0), max(9, room.width // 3))
    values = max(5, (room.width - names - 5) // 2)
    here = named.field_at(view.offset)
    lines = []
    for name in fields:
        first, second = (_end(_value(each, name), values) for each in (one, other))
        differs = _value(one, name) != _value(other, name)
        mark = Span(glyphs.DIFFERS if differs else glyphs.HERE if here and here.name == name else " ",
                    Role.DIFF if differs else Role.ACCENT)  # fmt: skip
        role = Role.DIFF if differs else Role.STRONG
        lines.append(
            line(
                mark,
                " ",
                left(line(Span(name, Role.DIM)), names),
                " ",
                right(line(Span(first, role)), values),
                " ",
                right(line(Span(second, role)), values),
            )
        )
    at = max(0, fields.index(here.name) - room.height + 1) if here is not None else 0
    note = line(Span(f"{named.offset:#x}", Role.DIM))
    return Content(named.title, tuple(lines[at:]), note, more="more fields")


def _value(record: RecordView | None, name: str) -> str:
    found = next((field for field in record.fields if field.name == name), None) if record is not None else None
    return "—" if found is None or found.missing else found.value


def _end(value: str, width: int) -> str:
    """Return the end of a value that has no room: times and offsets differ there."""
    return value if len(value) <= width else f"…{value[1 - width :]}"

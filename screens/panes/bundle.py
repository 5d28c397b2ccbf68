"""Bundle: what would be in the archive and what was taken out, before it is written; where to take it."""

from dataclasses import dataclass

from console.reporting.bundle import Bundle, Written
from console.reporting.parts import in_words
from console.reporting.posting import DESTINATIONS
from console.text import plural
from console.widgets import figures, glyphs
from console.widgets.line import BLANK, Line, Role, Span, crop, hanging, left, line, right, wrap
from console.widgets.pane import Content, Room


@dataclass(frozen=True, slots=True)
class BundleView:
    """The bundle, or why there is none yet; `written` once it is on disk."""

    bundle: Bundle | None
    written: Written | None = None
    error: str = ""


def state(view: BundleView, room: Room) -> Content:
    lines: list[Line] = []
    if view.error:
        lines.extend(wrap(f"{glyphs.BAD} {view.error}", room.width, Role.BAD, 2))
    if view.bundle is None:
        if not view.error:
            lines.append(line(Span("collecting; copies of a sequencer are hashed, which takes a while…", Role.DIM)))
        return Content("bundle", tuple(lines))
    taken = in_words(view.bundle.removed) or "nothing"
    if view.written is None:
        lines.append(line(Span("nothing is written yet", Role.STRONG), "; look through it, then Enter writes it"))
    else:
        label = line(Span(f"{glyphs.OK} written  ", Role.OK))
        lines.extend(hanging(label, str(view.written.path), room.width, Role.STRONG))
        lines.append(line(Span(f"  {figures.size(view.written.size)}, for its owner alone (0600)", Role.DIM)))
        lines.append(line(Span("  sha256 ", Role.DIM), view.written.sha256))
    lines.append(line(Span(f"taken out: {taken}; rows of tables are never in it", Role.DIM)))
    lines.append(line(Span("take it to", Role.TITLE)))
    for place in DESTINATIONS:
        lines.append(crop(line("  ", Span(place.address, Role.KEY), Span(f"  {place.what}", Role.DIM)), room.width))
    return Content("bundle", tuple(lines))


def files(view: BundleView, room: Room) -> Content:
    """Return every file with its size, what was taken out of it and where it is from; what is missing, and why."""
    made = view.written.bundle if view.written else view.bundle
    if made is None:
        return Content("what is in it")
    lines: list[Line] = []
    for missing in made.missing:
        label = line(Span(f"{glyphs.WARN} missing  ", Role.WARN))
        lines.extend(hanging(label, f"{missing.what}: {missing.why}", room.width))
    names = max((len(part.name) for part in made.parts), default=0) + 2
    for part in made.parts:
        start = line(
            left(line(Span(part.name, Role.STRONG)), min(names, room.width // 2)),
            right(line(figures.size(len(part.content))), 9),
        )
        more = "; ".join(each for each in (part.notes, part.source) if each)
        lines.append(crop(line(start, "  ", Span(more, Role.DIM)), room.width))
    note = line(Span(f"{plural(len(made.parts), 'file')}, {figures.size(made.size)} before packing", Role.DIM))
    return Content("what is in it", tuple(lines) or (BLANK,), note, more="more lines (PgDn)")

"""The two lines above the browser's panes: which file this is, and what there is to say of it."""

from pathlib import Path

from console.diagnosis.model import Finding
from console.text import clean_line
from console.widgets import figures, glyphs
from console.widgets.line import Line, Role, Span, crop, line, spread
from screens.browser_file import OpenFile
from screens.browser_tree import Node

Numbered = tuple[int, int, Finding, Path]  # which finding of how many, and the file that it led to


def shown_path(path: Path, base: Path | None) -> str:
    return clean_line(str(path.relative_to(base) if base is not None and path.is_relative_to(base) else path))


def path_line(file: OpenFile | None, base: Path | None, width: int) -> Line:
    if file is None:
        return line(" ", Span("choose a file in the tree; n goes to the first finding", Role.DIM))
    about = line(
        Span(f"{file.owner()}  ", Role.DIM),
        figures.size(file.size),
        Span(f"  {file.description.kind.value} ", Role.DIM),
    )
    return spread(line(" ", Span(shown_path(file.path, base), Role.STRONG)), about, width)


def node_line(node: Node, finding: Finding | None, width: int) -> Line:
    """Return what is known of a partition or a file in it: its finding, else the bytes found and needed."""
    if finding is not None:
        return crop(line(" ", Span(f"{finding.code.value} ", Role.STRONG), finding.message), width)
    name = clean_line(node.path.name)
    if node.missing:
        return crop(line(" ", Span(f"{glyphs.BAD} ", Role.BAD), f"{name} is missing"), width)
    if node.folder:
        return crop(line(" ", Span(f"partition {name}: {node.note}", Role.DIM)), width)
    found = f"{name}: {figures.count(node.size)} bytes found"
    if node.needed is not None:
        found += f", {figures.count(node.needed)} needed"
    return crop(line(" ", Span(found, Role.BAD if node.short else Role.DIM)), width)


def note_line(file: OpenFile | None, error: str, changed: str, finding: Numbered | None, width: int) -> Line:
    """Return what matters most: an error, a change of the file, the finding that was gone to, what the file is."""
    return crop(line(" ", _note(file, error, changed, finding)), width)


def _note(file: OpenFile | None, error: str, changed: str, finding: Numbered | None) -> Line:
    if error:
        return line(Span(f"{glyphs.BAD} ", Role.BAD), error)
    if changed:
        when = figures.clock(file.read_at) if file is not None else ""
        return line(Span("! ", Role.WARN), changed, Span(f"; read at {when}, r reads again", Role.DIM))
    if file is None:
        return ()
    if finding is not None and finding[3] == file.path:
        at, count, found, _ = finding
        return line(
            Span(f"finding {at + 1} of {count}  ", Role.WARN),
            Span(f"{found.code.value} ", Role.STRONG),
            found.message,
        )
    return line(Span(file.description.summary, Role.DIM))

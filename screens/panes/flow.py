"""Flow: where the data goes and where it stands still, in one line, and what is safe."""

from console.probes.state import StationState
from console.widgets.line import Role, Span, line
from console.widgets.pane import Content, Room


def build(state: StationState, room: Room) -> Content:
    """Return the flow pane."""
    return Content("flow", (line(Span("reading…", Role.DIM)),))

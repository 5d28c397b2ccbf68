"""The page for a terminal below the minimum: what there is, what is needed, and that nothing has stopped."""

from textual.events import Resize

from console.widgets.line import BLANK, Role, Span, line
from console.widgets.pane import LineWidget

MIN_WIDTH, MIN_HEIGHT = 80, 24


class TooSmall(LineWidget):
    """Covers a screen while the terminal is too small for it; the style sheet shows and hides it."""

    def __init__(self, key: str, does: str) -> None:
        super().__init__()
        self._way_out = line(Span(key, Role.KEY), Span(f" {does}", Role.DIM))

    def on_resize(self, event: Resize) -> None:
        """Say the size there is now."""
        have = self.app.size
        rows = [
            line(Span("This terminal is too small.", Role.STRONG)),
            line(Span(f"have {have.width}x{have.height}, need {MIN_WIDTH}x{MIN_HEIGHT}", Role.BAD)),
            line(Span("Make it larger; a running action goes on.", Role.DIM)),
            self._way_out,
        ]
        top = max(0, (have.height - len(rows)) // 2)
        self.put([BLANK] * top + [line("  ", row) for row in rows])

"""The page for a terminal below the minimum: what there is, what is needed, and how tmux gives it.

No key does anything while it covers a screen: nobody sees what a key would do.
"""

from textual.events import Resize

from console.widgets.line import BLANK, Role, line, wrap
from console.widgets.pane import LineWidget

MIN_WIDTH, MIN_HEIGHT = 60, 15


class TooSmall(LineWidget):
    """Covers a screen while the terminal is too small for it; the style sheet shows and hides it."""

    def on_resize(self, event: Resize) -> None:
        have = self.app.size
        said = [
            ("This terminal is too small.", Role.STRONG),
            (f"have {have.width}x{have.height}, need {MIN_WIDTH}x{MIN_HEIGHT}", Role.BAD),
            ("Make it larger. In tmux: C-b z.", Role.STRONG),
            ("Keys do nothing here; Ctrl+C quits.", Role.DIM),
            ("A running action continues.", Role.DIM),
        ]
        rows = [row for text, role in said for row in wrap(text, max(1, have.width - 3), role)]
        top = max(0, (have.height - len(rows)) // 2)
        self.put([BLANK] * top + [line("  ", row) for row in rows])

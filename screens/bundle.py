"""The support bundle: shown before it is written, with where to take it."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.reporting.bundle import Bundle, Written
from console.widgets.frames import Box
from console.widgets.pane import Framed, Pane
from screens.frame import Answer, FramedScreen
from screens.keys import scrolling_keys
from screens.panes import bundle
from screens.panes.bundle import BundleView
from screens.reporting_port import StationDesk

_LEAST = 6  # lines that the list of files keeps, rule included


class BundleScreen(FramedScreen):
    """Collects in a thread; nothing is written before Enter."""

    TITLE_WORD = "support bundle"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.back", "Back", id="back", tooltip="leave; what is not written is forgotten"),
        Binding("enter", "save", "Write it", id="save", tooltip="write the archive (0600) into the state directory"),
        Binding("y", "copy", "Copy report", id="copy", tooltip="copy report.md, to post it as it is"),
        Binding("r", "read", "Collect again", id="read", tooltip="collect everything again"),
        *scrolling_keys("see the other files"),
    ]

    def __init__(self, desk: StationDesk) -> None:
        super().__init__()
        self._desk = desk
        self._bundle: Bundle | None = None
        self._written: Written | None = None

    def body(self) -> list[Widget]:
        panes = (Pane(bundle.state, id="state"), Pane(bundle.files, id="files"))
        return [Framed(*panes, arrange=self._arrange, is_open=lambda size: True, id="bundle")]

    def on_mount(self) -> None:
        super().on_mount()
        self.action_read()

    def action_read(self) -> None:
        self._bundle, self._written = None, None
        self.ask("bundle", self._desk.bundle)
        self._show()

    def action_save(self) -> None:
        made = self._bundle
        if made is not None and self._written is None:
            self.ask("save", lambda: self._desk.save_bundle(made))

    def action_copy(self) -> None:
        if self._bundle is not None:
            self.console.copy_text(self._bundle.report)

    def action_scroll(self, lines: int) -> None:
        self.query_one("#files", Pane).move_text(lines)

    def on_answer(self, answer: Answer) -> None:
        if answer.asked == "bundle" and not answer.error:
            self._bundle = answer.value
        elif not answer.error:
            self._written = answer.value
        self._show(answer.error)

    def _show(self, error: str = "") -> None:
        for pane in self.query(Pane):
            pane.show(BundleView(self._bundle, self._written, error))
        self.query_one("#bundle", Framed).rearrange()

    def _arrange(self, size: Size) -> list[Box]:
        wanted = self.query_one("#state", Pane).wanted(size.width - 2, open=True) + 1
        height = max(2, min(wanted, size.height - _LEAST))
        return [Box("state", 0, 0, size.width, height), Box("files", 0, height, size.width, size.height - height)]

"""Stations: one settings file each in one directory; the console goes to another with all that belongs to it."""

from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from console.errors import WalmedicError
from console.settings import load, station_files
from console.text import clean_line
from console.widgets.choice import ChoiceList, Item
from console.widgets.frames import Box
from console.widgets.line import Role, Span, left, line
from console.widgets.pane import Framed
from screens.frame import FramedScreen

_NAME = 28  # cells of a station's name


class Stations(FramedScreen):
    """The stations of the settings directory, the present one first chosen."""

    TITLE_WORD = "stations"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.back", "Back", id="back", tooltip="stay with this station"),
        Binding("enter", "take", "Go there", id="take", tooltip="open the console on this station"),
        Binding("up", "move(-1)", "Up", id="up", show=False, tooltip="move up"),
        Binding("down", "move(1)", "Down", id="down", show=False, tooltip="move down"),
    ]

    def body(self) -> list[Widget]:
        stations = ChoiceList(id="stations", title="stations")
        return [Framed(stations, arrange=_arrange, is_open=lambda size: True, id="list")]

    def on_mount(self) -> None:
        """List what the directory has; a file that cannot be used says why."""
        super().on_mount()
        here = self.console.settings.file
        items = [_item(file) for file in station_files(here)]
        nothing = [Item("", line(Span("no settings file was read, so there are no others beside it", Role.DIM)))]
        self.query_one("#stations", ChoiceList).offer(items or nothing, here)

    def action_move(self, steps: int) -> None:
        self.query_one("#stations", ChoiceList).move(steps)

    def action_take(self) -> None:
        """Go to the station under the cursor; an action that runs is a process of its own and goes on."""
        chosen = self.query_one("#stations", ChoiceList).key
        if not chosen or chosen == self.console.settings.file:
            self.app.pop_screen()
        else:
            self.console.leave_for(Path(chosen))


def _item(file: Path) -> Item:
    try:
        settings = load(file)
    except WalmedicError as error:
        return Item("", line(Span(clean_line(f"{file.name}: {error}"), Role.BAD)))
    name = left(line(Span(clean_line(settings.station_name), Role.STRONG)), _NAME)
    return Item(str(file), line(name, Span(f"  {clean_line(settings.questdb.db_root or 'no data root')}", Role.DIM)))


def _arrange(size: Size) -> list[Box]:
    return [Box("stations", 0, 0, size.width, size.height)]

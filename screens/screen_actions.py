"""The actions that open a screen. Each is imported when it is first opened: nothing of it delays the first paint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import App

from console import paths

if TYPE_CHECKING:
    from pathlib import Path

    from console.settings import Settings


class OpensScreens(App[int], inherit_bindings=False):
    settings: Settings
    chosen: Path | None = None

    def leave_for(self, file: Path) -> None:
        """End the console on this station; whoever opened it opens it again with the settings in `file`."""
        self.chosen = file
        self.exit()

    def action_actions(self) -> None:
        from screens.palette import Palette

        self.push_screen(Palette())

    def action_commands(self) -> None:
        from screens.commands import Commands

        self.push_screen(Commands())

    def open_pane(self, name: str) -> None:
        """Go to the dashboard, and give a pane of it the whole screen."""
        from screens.dashboard import Dashboard

        while len(self.screen_stack) > 1:
            self.pop_screen()
        if isinstance(self.screen, Dashboard):
            self.screen.open_pane(name)

    def open_table(self, table: str) -> None:
        from screens.palette import Palette

        self.push_screen(Palette(table))

    def open_plan(self, action: str, table: str | None) -> None:
        from screens.plan import PlanScreen

        self.push_screen(PlanScreen(action, table))

    def replace_by_palette(self) -> None:
        from screens.palette import Palette

        self.switch_screen(Palette())

    def open_undo(self, entry: str) -> None:
        from screens.plan import PlanScreen

        self.push_screen(PlanScreen.of_undo(entry))

    def action_stations(self) -> None:
        from screens.stations import Stations

        self.push_screen(Stations())

    def action_why_not(self) -> None:
        """Explain the steps that would destroy data now."""
        from screens.why_not import WhyNot

        self.push_screen(WhyNot())

    def action_browser(self) -> None:
        from screens.browser import Browser

        self.push_screen(Browser())

    def action_journal(self) -> None:
        from screens.journal import JournalScreen

        self.push_screen(JournalScreen())

    def action_unit_log(self, unit: str = "") -> None:
        from screens.unit_log import UnitLog

        self.push_screen(UnitLog(unit))

    def action_timeline(self) -> None:
        from screens.reporting_port import StationDesk
        from screens.timeline import Timeline

        self.push_screen(Timeline(StationDesk(self.settings)))

    def action_bundle(self) -> None:
        from screens.bundle import BundleScreen
        from screens.reporting_port import StationDesk

        self.push_screen(BundleScreen(StationDesk(self.settings)))

    def action_help(self) -> None:
        from screens.help import Help, keys_of

        bindings = [binding for _, binding, _, _ in self.screen.active_bindings.values()]
        places = (
            ("settings", self.settings.file or "none; walmedic init writes one"),
            ("database", self.settings.questdb.db_root or "not known"),
            ("state", str(self.settings.state_path)),
            ("log", str(paths.default_state_dir() / "walmedic.log")),
        )
        self.push_screen(Help(keys_of(bindings), places))

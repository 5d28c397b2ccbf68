"""The argument ACTION: its names are in the help, completed by the shell, and listed if it is missing or wrong."""

from textwrap import fill
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from console.recovery.gate.registry import action_ids, action_module

if TYPE_CHECKING:
    _Text = click.ParamType[str]
else:
    _Text = click.ParamType  # older versions of click take no parameter

ACTIONS = f"ACTION is one of: {', '.join(action_ids())}."
LISTED = "\b\n" + fill(ACTIONS, 78, break_on_hyphens=False)  # click itself would break an id in two


class ActionName(_Text):
    name = "action"

    def __init__(self, *others: str) -> None:
        self._others = others

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id, or one of the other words. Raises UnknownActionError naming the known actions."""
        if value not in self._others:
            action_module(value)
        return value

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """Return the text where no action is named."""
        return ACTIONS

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in (*self._others, *action_ids()) if name.startswith(incomplete)]

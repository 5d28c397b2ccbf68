"""What the shell completes beside commands and options: tables of the database and entries of the journal."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from console import settings as settings_module
from console.errors import WalmedicError
from console.questdb.layout import DatabaseRoot
from console.recovery.store.journal import Journal
from console.recovery.store.state import StateDir
from console.settings import Settings


def tables(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the tables whose name begins so. What cannot be read completes nothing, and says nothing."""
    del param
    try:
        names = [table.raw_name for table in DatabaseRoot.locate(Path(_settings(ctx).questdb.db_root)).tables()]
    except (WalmedicError, OSError):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def entries(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the entries of the journal that begin so, the newest first, each with its action."""
    del param
    try:
        found = Journal(StateDir(_settings(ctx).state_path)).entries()
    except (WalmedicError, OSError):
        return []
    return [CompletionItem(each.id, help=each.action) for each in reversed(found) if each.id.startswith(incomplete)]


def _settings(ctx: click.Context) -> Settings:
    given = {name: ctx.params.get(name) for name in ("config", "db_root", "state_dir")}
    state = {"state_dir": given["state_dir"]} if given["state_dir"] else None
    settings = settings_module.load(given["config"], state)
    return settings_module.for_db_root(settings, str(given["db_root"])) if given["db_root"] else settings

"""Options that commands share, and the one value made from them."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from console import settings as settings_module
from console.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command was called with: settings with all flags applied, and whether it answers in JSON."""

    settings: Settings
    as_json: bool
    reload: Callable[[], Settings]  # the same flags on the settings file as it is then

    def emit(self, document: dict[str, Any]) -> None:
        import json

        readable = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        json.dump(document, sys.stdout, ensure_ascii=not readable, indent=2)
        sys.stdout.write("\n")


def station_options(function: F) -> F:
    """Give a command --config, --db-root, --state-dir and --json; it is called with an Invocation first."""

    @click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML).")
    @click.option("--db-root", help="QuestDB's data root (the directory holding db/), or db/ itself.")
    @click.option("--state-dir", help="Where journal, evidence and locks are kept.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, nothing else.")
    @functools.wraps(function)
    def wrapper(
        config: Path | None, db_root: str | None, state_dir: str | None, as_json: bool, **arguments: Any
    ) -> Any:
        def load() -> Settings:
            settings = settings_module.load(config, {"state_dir": state_dir} if state_dir else None)
            return settings if db_root is None else settings_module.for_db_root(settings, db_root)

        return function(Invocation(load(), as_json, load), **arguments)

    return wrapper  # type: ignore[return-value]

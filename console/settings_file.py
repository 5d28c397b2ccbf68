"""The settings file of a console that runs: it is read again when it has changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from console.settings import Settings


class SettingsFile:
    """Looks whether `file` has changed, and loads the settings anew by `load` (None: they are never read again)."""

    def __init__(self, file: str, load: Callable[[], Settings] | None) -> None:
        self._file = file
        self._load = load
        self._seen = self._state()

    def changed(self) -> Settings | None:
        """Return the new settings if the file has changed since the last look; raises WalmedicError if it is unusable.

        A file that is gone changes nothing: an editor may be about to put the new one in its place.
        """
        state = self._state()
        if self._load is None or state is None or state == self._seen:
            return None
        self._seen = state
        return with_checked_keys(self._load())

    def _state(self) -> tuple[int, int, int] | None:
        """Return what differs once the file was written: inode, size, time of the change in nanoseconds."""
        if not self._file:
            return None
        try:
            found = Path(self._file).stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def with_checked_keys(settings: Settings) -> Settings:
    """Return the settings if their keys can be used; raises SettingsError if not."""
    from screens.keymap import checked

    return replace(settings, keys=checked(settings.keys, settings.file or "settings")) if settings.keys else settings

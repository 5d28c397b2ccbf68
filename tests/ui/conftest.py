"""What all tests of the interface share: baselines in snapshots/, a fixed environment, an app with a frozen clock."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_textual_snapshot
from syrupy.types import SnapshotIndex

from console.app import ConsoleApp
from console.questdb.layout import DatabaseRoot
from console.settings import QuestDBSettings, RedisSettings, Role, ServicesSettings, Settings, Stream, Unit
from tests.ui import samples
from tests.ui.database import damaged
from tests.ui.scripted import ScriptedEngine

_SNAPSHOTS = Path(__file__).resolve().parents[2] / "snapshots"

MakeApp = Callable[..., ConsoleApp]


class TopLevelSVG(pytest_textual_snapshot.SVGImageExtension):  # type: ignore[misc]
    """The plugin's extension with its baselines in the repository's snapshots/, one directory per test module."""

    @classmethod
    def dirname(cls, *, test_location: Any) -> str:
        """Return the directory for the baselines of one test module."""
        return str(_SNAPSHOTS / Path(test_location.filepath).stem)

    @classmethod
    def get_snapshot_name(cls, *, test_location: Any, index: SnapshotIndex = 0) -> str:
        """Return the name of a baseline: the test's."""
        return str(super().get_snapshot_name(test_location=test_location, index=index))


# No option of the plugin or of syrupy 4.8 names the directory, so the extension is replaced (STYLE: snapshot testing).
pytest_textual_snapshot.SVGImageExtension = TopLevelSVG


@pytest.fixture(autouse=True)
def fixed_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Take away what changes a picture: colour switches, themes, time zone, the operator's own state."""
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TMUX", "TEXTUAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def settings() -> Settings:
    """Settings of a station; nothing at its addresses is ever asked, since the app gets its samples from the test."""
    units = tuple(Unit(unit.name, Role(unit.role)) for unit in samples.SERVICES.units)
    streams = tuple(
        Stream(stream.stream, stream.group, stream.stream.removesuffix("_stream")) for stream in samples.BACKLOG.streams
    )
    return Settings(
        station="ai-trading-station",
        state_dir="/var/lib/walmedic",
        questdb=QuestDBSettings(db_root="/srv/questdb/hot"),
        redis=RedisSettings(streams=streams),
        services=ServicesSettings(backend="supervisor", units=units),
        file="/etc/walmedic.toml",
    )


@pytest.fixture
def database(tmp_path: Path) -> DatabaseRoot:
    """A small damaged database."""
    return damaged(tmp_path)[0]


@pytest.fixture
def engine() -> ScriptedEngine:
    """An engine that answers from values."""
    return ScriptedEngine()


@pytest.fixture
def console(settings: Settings, engine: ScriptedEngine) -> MakeApp:
    """Make an app with a frozen clock, no sources and a scripted engine; keywords override."""

    def make(**parts: Any) -> ConsoleApp:
        usual: dict[str, Any] = {
            "sources": None,
            "engine": lambda _: engine,
            "wall_clock": lambda: samples.NOW,
            "monotonic": lambda: samples.CLOCK,
            "ticking": False,
        }
        return ConsoleApp(parts.pop("settings", settings), **{**usual, **parts})

    return make

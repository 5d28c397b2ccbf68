"""The settings file that `init` writes: whatever the names are, it is read back as it was meant."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.commands.init import render
from console.settings import QuestDBSettings, RedisSettings, Role, ServicesSettings, Settings, Stream, Unit, load

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
UNITS = st.from_regex(r"[A-Za-z0-9_@:][A-Za-z0-9_.@:\\-]{0,30}", fullmatch=True)


@given(
    names=st.lists(NAMES, min_size=4, max_size=4), unit=UNITS, role=st.sampled_from(Role), port=st.integers(1, 65_535)
)
def test_it_is_read_back_as_it_was_meant(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], unit: str, role: Role, port: int
) -> None:
    root, stream, group, socket = names
    settings = Settings(
        station=root,
        questdb=QuestDBSettings(db_root=f"/{root}", pg_port=port),
        redis=RedisSettings(streams=(Stream(stream, group, stream, port), Stream(group, stream))),
        services=ServicesSettings("supervisor", f"/{socket}", (Unit(unit, role),)),
    )
    file: Path = tmp_path_factory.getbasetemp() / "written.toml"
    file.write_bytes(render(settings).encode())
    read = load(file, environment={})
    assert replace(read, file="", sources={}) == settings


def test_a_source_is_reported_beside_each_value_and_no_password_is_written() -> None:
    settings = Settings(
        questdb=QuestDBSettings(db_root="/srv", password="canary"),
        redis=RedisSettings(password="canary"),
        sources={"questdb.db_root": "command line of pid 7"},
    )
    text = render(settings)
    assert 'db_root = "/srv"  # command line of pid 7' in text
    assert "pg_port = 8812  # the usual one" in text
    assert "canary" not in text

"""How much room a frozen writer has, and what a person raises first if it is short."""

from console.recovery.actions.freeze_writer.action import _warnings
from console.recovery.actions.freeze_writer.headroom import Headroom


def test_a_short_room_names_the_one_limit_to_raise_before_the_freeze() -> None:
    for raises in ("the feeds' MAXLEN", "maxmemory"):
        room = Headroom(
            30.0, f"room for about 30 seconds, then {raises} is reached", "room for about 30 seconds", raises
        )
        said = list(_warnings(room, "binance-trades"))
        assert any(f"raise {raises} first, by hand" in each for each in said)
        assert any("do not stop binance-trades" in each for each in said)


def test_enough_room_asks_for_nothing_by_hand() -> None:
    said = list(_warnings(Headroom(3_000.0, "room for about 50 minutes", "room for about 50 minutes"), "feeds"))
    assert not any("by hand" in each for each in said)

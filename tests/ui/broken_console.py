"""The console with a fault of its own planted: the log of a service cannot be drawn."""

from typing import NoReturn

from console.__main__ import main
from screens.panes import unit_log


def _broken(view: object, room: object) -> NoReturn:
    raise ZeroDivisionError("planted")


unit_log.build = _broken
main()

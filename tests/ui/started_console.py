"""The console as the demo starts it: below a command that signals end as Ctrl-C does."""

import sys

from console.commands.console import open_console
from console.commands.ending import ended_like_ctrl_c
from console.settings import Settings

with ended_like_ctrl_c():
    code = open_console(Settings())
sys.exit(0 if code == 0 else 1)

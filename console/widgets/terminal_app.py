"""An application and its terminal: lean paints, a terminal that goes, the screen as a picture and as text."""

import asyncio
import logging
import os
import re
import signal
import sys
from types import FrameType
from typing import Any, ClassVar

from rich.console import RenderableType
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message import Message
from textual.screen import Screen

from console.widgets.clipboard import copy, notification
from console.widgets.wire import LeanUpdate

_LOG = logging.getLogger(__name__)
_ENDING = (signal.SIGHUP, signal.SIGTERM)


class SingleReader(LinuxDriver):
    """Textual's driver, which on SIGCONT starts a second reader while the first one still reads.

    Of two readers each takes a part of the keys. After a hangup nobody ends the older one, which takes a whole core.
    """

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal anew; what reads it still is ended before."""
        if self._auto_restart and self._key_thread is not None and self._key_thread.is_alive():
            self.suspend_application_mode()
        super()._sigcont_application()

    def process_message(self, message: Message) -> None:
        """Pass a message on; Esc and a letter typed right behind it, which terminals send like Alt, are two keys."""
        if isinstance(message, Key) and message.key.startswith("alt+"):
            super().process_message(Key("escape", None))
            message = Key(message.character or message.key, message.character)
        super().process_message(message)


class TerminalApp(App[int], inherit_bindings=False):
    """An application that spares the wire and survives its terminal by seconds only.

    `fault` is the exception that ended it, where it has ended by one of its own.
    """

    fault: BaseException | None = None
    _handlers: ClassVar[dict[int, Any]] = {}

    def get_driver_class(self) -> type[Driver]:
        """Return Textual's driver, which reads with one thread here."""
        found = super().get_driver_class()
        return SingleReader if found is LinuxDriver else found

    def on_mount(self) -> None:
        """End in order by SIGHUP and SIGTERM: an exception thrown into the event loop would leave the reader behind."""
        if self.is_headless:
            return
        loop = asyncio.get_running_loop()

        def ending(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.exit)

        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                self._handlers[number] = signal.signal(number, ending)

    async def on_unmount(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Send a paint leanly: what Textual would send is three to four times as much."""
        if self._terminal_is_gone():
            return
        lean: Any = LeanUpdate(renderable) if isinstance(renderable, ChopsUpdate | LayoutUpdate) else renderable
        super()._display(screen, lean)

    def _terminal_is_gone(self) -> bool:
        """Return whether nobody takes what is drawn, and end then.

        Textual's writer ends with the terminal's first error. What is queued for it after that is never taken, and the
        console would wait for room in a full queue for ever.
        """
        writer = getattr(self._driver, "_writer_thread", None)
        if writer is None or writer.is_alive():
            return False
        _LOG.warning("the terminal is gone; what runs goes on, and the next console finds it")
        self.exit(return_code=0)
        return True

    def _fatal_error(self) -> None:
        """End without a word: Textual would print a traceback over the terminal; the log keeps it, `fault` names it."""
        _LOG.critical("the console has ended", exc_info=True)
        self.fault = self.fault or sys.exception()
        self._close_messages_no_wait()

    def export_screenshot(self, *, title: str | None = None, simplify: bool = False) -> str:
        """Return the screen as SVG that every renderer draws alike."""
        return without_edge_blanks(super().export_screenshot(title=title, simplify=simplify))

    def copy_text(self, text: str) -> None:
        """Copy `text` by OSC 52 or, inside tmux, into its buffer; say what happened."""
        self.notify(copy(text, os.environ, self._write_raw), timeout=4, markup=False)

    def call_operator(self, message: str) -> None:
        """Ring the bell, which tmux marks on its status line, and have the terminal show `message` (OSC 9)."""
        self.bell()
        self._write_raw(notification(message, os.environ))

    def action_copy_screen(self) -> None:
        self.copy_text(self.screen_text())

    def _write_raw(self, codes: str) -> None:
        if self._driver is not None:
            self._driver.write(codes)

    def screen_text(self) -> str:
        rows = [strip.text.rstrip() for strip in self.screen._compositor.render_strips()]
        return "\n".join(rows) + "\n"


_TEXT = re.compile(r'<text([^>]*?) x="([\d.]+)"([^>]*?) textLength="([\d.]+)"([^>]*)>([^<]*)</text>')
_BLANK = "&#160;"


def without_edge_blanks(svg: str) -> str:
    """Return `svg` with blanks at the ends of its texts taken off and the texts moved to where they begin.

    Some renderers drop such blanks and stretch what is left over their place, so that columns come apart.
    """
    return _TEXT.sub(_trimmed, svg)


def _trimmed(match: re.Match[str]) -> str:
    before, x, middle, length, after, text = match.groups()
    start = text
    while start.startswith(_BLANK):
        start = start.removeprefix(_BLANK)
    inner = start
    while inner.endswith(_BLANK):
        inner = inner.removesuffix(_BLANK)
    if inner == text or not inner:
        return match[0]
    lead = (len(text) - len(start)) // len(_BLANK)
    trail = (len(start) - len(inner)) // len(_BLANK)
    cell = 12.2  # what Rich's export gives one cell
    return (
        f'<text{before} x="{float(x) + lead * cell:.1f}"{middle} '
        f'textLength="{float(length) - (lead + trail) * cell:.1f}"{after}>{inner}</text>'
    )

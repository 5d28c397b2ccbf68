"""How the terminal is read: by one thread, also after the process was stopped and goes on; Esc is always a key."""

from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message import Message


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

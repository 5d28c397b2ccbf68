"""How the terminal is read: by one thread, also after the process was stopped and goes on."""

from textual.drivers.linux_driver import LinuxDriver


class SingleReader(LinuxDriver):
    """Textual's driver, which on SIGCONT starts a second reader while the first one still reads.

    Of two readers each takes a part of the keys. After a hangup nobody ends the older one, which takes a whole core.
    """

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal anew; what reads it still is ended before."""
        if self._auto_restart and self._key_thread is not None and self._key_thread.is_alive():
            self.suspend_application_mode()
        super()._sigcont_application()

"""Say to systemd that a service is ready and lives (sd_notify(3)); without systemd nothing happens."""

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send `state`, such as `READY=1`, to the socket that systemd names, if it names one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
        end.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)

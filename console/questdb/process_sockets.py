"""The sockets of a process in its own network namespace, as /proc/PID shows them: psutil reads only those of ours."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LISTENS, _CONNECTED = "0A", "01"  # TCP_LISTEN and TCP_ESTABLISHED of the kernel's include/net/tcp_states.h
_ACCEPTS: Final = 0x10000  # __SO_ACCEPTCON of the flags of a unix socket
_STATE, _INODE, _FLAGS, _UNIX_INODE, _PATH = 3, 9, 3, 6, 7  # columns


def listening(pid: int) -> frozenset[int]:
    """Return the TCP ports that `pid` listens on in its own network, none if this user may not see them."""
    return frozenset(port for _, port in _tcp(pid, _LISTENS))


def connected(pid: int) -> frozenset[tuple[str, int]]:
    """Return address and port of the ends that `pid` has of open TCP connections."""
    return frozenset(_tcp(pid, _CONNECTED))


def unix_sockets(pid: int) -> tuple[str, ...]:
    """Return the paths of the unix sockets that `pid` listens on, as it calls them."""
    rows = _rows(pid, "unix", _UNIX_INODE)
    return tuple(row[_PATH] for row in rows if len(row) > _PATH and int(row[_FLAGS], 16) & _ACCEPTS)


def _tcp(pid: int, state: str) -> Iterator[tuple[str, int]]:
    for kind in ("tcp", "tcp6"):
        for row in _rows(pid, kind, _INODE):
            if row[_STATE] == state:
                yield _end(row[1])


def _end(text: str) -> tuple[str, int]:
    """Return e.g. `0100007F:1F90` as address and port: each four bytes of the address are one little-endian number."""
    host, _, port = text.partition(":")
    raw = bytes.fromhex(host)
    raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    mapped = raw[:12] == b"\0" * 10 + b"\xff\xff"
    raw = raw[12:] if mapped else raw
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)


def _rows(pid: int, kind: str, inode: int) -> Iterator[list[str]]:
    """Yield the columns of each socket of that kind that `pid` holds open."""
    held = _inodes(pid)
    if not held:
        return
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/net/{kind}").read_text(errors="surrogateescape").splitlines()[1:]:
            row = line.split(None, _PATH) if kind == "unix" else line.split()
            if len(row) > inode and row[inode] in held:
                yield row


def _inodes(pid: int) -> frozenset[str]:
    found = set()
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(each.readlink()))
    return frozenset(name[8:-1] for name in found if name.startswith("socket:["))

"""The sockets of a process in its own network namespace, as /proc/PID shows them: psutil reads only those of ours."""

import contextlib
import socket
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Final

End = tuple[str, int]  # address and port

_LISTENS, _CONNECTED = "0A", "01"  # TCP_LISTEN and TCP_ESTABLISHED of the kernel's include/net/tcp_states.h
_ACCEPTS: Final = 0x10000  # __SO_ACCEPTCON of the flags of a unix socket
_STATE, _INODE, _FLAGS, _UNIX_INODE, _PATH = 3, 9, 3, 6, 7  # columns


def listening(pid: int) -> frozenset[int]:
    """Return the TCP ports that `pid` listens on in its own network, none if this user may not see them."""
    return frozenset(port for (_, port), _ in _tcp(pid, _LISTENS, _inodes(pid)))


def connected(pids: Iterable[int]) -> dict[str, dict[End, int]]:
    """Return by network namespace which of `pids` holds each end of an open TCP connection. A network is read once."""
    holders = {inode: pid for pid in pids for inode in _inodes(pid)}
    networks = {name: pid for pid in holders.values() if (name := network_of(pid))}
    return {
        name: {end: holders[inode] for end, inode in _tcp(pid, _CONNECTED, holders)} for name, pid in networks.items()
    }


def network_of(pid: int) -> str:
    """Return the name of the network namespace of `pid`, empty where this user may not see it."""
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    return ""


def unix_sockets(pid: int) -> tuple[str, ...]:
    """Return the paths of the unix sockets that `pid` listens on, as it calls them."""
    rows = _rows(pid, "unix", _UNIX_INODE, _inodes(pid))
    return tuple(row[_PATH] for row in rows if len(row) > _PATH and int(row[_FLAGS], 16) & _ACCEPTS)


def _tcp(pid: int, state: str, held: Container[str]) -> Iterator[tuple[End, str]]:
    """Yield our end and the inode of each socket in `held` that is in that state."""
    for kind in ("tcp", "tcp6"):
        for row in _rows(pid, kind, _INODE, held):
            if row[_STATE] == state:
                yield _end(row[1]), row[_INODE]


def _end(text: str) -> End:
    """Return e.g. `0100007F:1F90` as address and port: each four bytes of the address are one little-endian number."""
    host, _, port = text.partition(":")
    raw = bytes.fromhex(host)
    raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    mapped = raw[:12] == b"\0" * 10 + b"\xff\xff"
    raw = raw[12:] if mapped else raw
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)


def _rows(pid: int, kind: str, inode: int, held: Container[str]) -> Iterator[list[str]]:
    """Yield the columns of each socket in `held` of that kind, in the network of `pid`."""
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

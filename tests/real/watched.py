"""Watching what walmedic does to its surroundings: system calls under a directory, statements to a server, commands."""

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

_CHANGING = (
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "symlink",
    "symlinkat", "truncate", "ftruncate", "fallocate", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown",
    "fchownat", "utimensat", "mknod", "mknodat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "fremovexattr",
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile",
)  # fmt: skip
_OPENING = ("open", "openat", "openat2", "creat")
_FOR_WRITING = re.compile(r"O_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND)")


def strace(output: Path) -> list[str]:
    """Return the beginning of a command line whose every process is traced; descriptors come with their paths."""
    calls = ",".join(f"?{name}" for name in (*_CHANGING, *_OPENING))
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-s", "4096", "-o", str(output), "-e", f"trace={calls}"]


def writes_under(trace: Path, root: Path) -> list[str]:
    """Return the lines of a trace that create, change or remove anything under `root`, or open it for that."""
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        match = re.match(r"\d+\s+(\w+)\(", line)
        if match is None or not _under(line, match[1], root):
            continue
        if match[1] not in _OPENING or match[1] == "creat" or _FOR_WRITING.search(line):
            found.append(line)
    return found


def reads_under(trace: Path, root: Path) -> int:
    """Return how many times something under `root` was opened."""
    lines = trace.read_text(errors="replace").splitlines()
    return sum(_under(line, "open", root) for line in lines if re.match(r"\d+\s+open", line))


def _under(line: str, call: str, root: Path) -> bool:
    """Return whether a path argument, or the path of the descriptor, is under `root`; what is written may name it."""
    if call in ("write", "pwrite64", "writev", "pwritev", "pwritev2"):
        return re.search(rf"\(\d+<{re.escape(str(root))}(?:/|>)", line) is not None
    return re.search(rf'["<]{re.escape(str(root))}(?:/|"|>)', line) is not None


class Tap:
    """A port on loopback that passes everything on to another one, and keeps what clients send."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._sent: list[bytearray] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more clients."""
        self._listening.close()

    def sent(self) -> tuple[bytes, ...]:
        """Return what each client has sent so far."""
        return tuple(bytes(each) for each in self._sent)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            kept = bytearray()
            self._sent.append(kept)
            try:
                server = socket.create_connection(("127.0.0.1", self._behind))
            except OSError:
                client.close()
                continue
            threading.Thread(target=_pass_on, args=(client, server, kept), daemon=True).start()
            threading.Thread(target=_pass_on, args=(server, client, None), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
    try:
        while content := source.recv(1 << 16):
            if kept is not None:
                kept += content
            target.sendall(content)
    except OSError:
        pass
    finally:
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                each.close()


def statements(sent: bytes) -> Iterator[str]:
    """Yield the SQL in what a client of PGWire sent: simple queries and parsed statements."""
    at = 0
    while at + 5 <= len(sent):
        kind = sent[at : at + 1]
        if kind == b"\0":  # the start-up message, and the question for TLS before it, have no type
            at += int.from_bytes(sent[at : at + 4], "big")
            continue
        size = int.from_bytes(sent[at + 1 : at + 5], "big")
        body = sent[at + 5 : at + 1 + size]
        if kind == b"Q":
            yield body.rstrip(b"\0").decode()
        elif kind == b"P":
            yield body.split(b"\0")[1].decode()
        at += 1 + size


def commands(sent: bytes) -> Iterator[str]:
    """Yield the names of the commands in what a client of Redis sent."""
    at = 0
    while at < len(sent) and sent[at : at + 1] == b"*":
        end = sent.index(b"\r\n", at)
        words, count = [], int(sent[at + 1 : end])
        at = end + 2
        for _ in range(count):
            end = sent.index(b"\r\n", at)
            size = int(sent[at + 1 : end])
            words.append(sent[end + 2 : end + 2 + size])
            at = end + 2 + size + 2
        yield b" ".join(words[:2] if words[0].upper() in _WITH_SUBCOMMAND else words[:1]).decode().lower()


_WITH_SUBCOMMAND = (b"XINFO", b"CLIENT", b"CONFIG", b"MEMORY", b"OBJECT", b"COMMAND", b"ACL", b"SCRIPT", b"FUNCTION")

"""QuestDB servers as /proc shows them, also those in containers: data root, jar, Java, ports, and variables.

A process in a container names files as it sees them. `here` finds the name that the same file has in this mount
namespace: by the process's list of mounts (proc_pid_mountinfo(5)), proven by device and inode.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from console.questdb.process_sockets import listening

_MAIN: Final = "io.questdb.ServerMain"
_JAR_OPTIONS: Final = ("-p", "--module-path", "-cp", "-classpath", "--class-path", "-jar")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")  # a space is \040 in mountinfo


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What a server was started with: its jar, its java (empty where unknown), its data root."""

    jar: str
    java: str
    root: str


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A QuestDB that runs.

    `inside` is its data root as it names it, `root` the same directory by a name that is valid here; None if there is
    no such name, or this user may not see it. `jar` and `java` are valid here too, else empty. `ports` are the TCP
    ports it listens on, empty where not seen; `variables` its environment as far as QuestDB reads it (`QDB_*`).
    `contained` says that it has a pid namespace of its own.
    """

    pid: int
    inside: str
    root: Path | None
    java: str
    jar: str
    ports: frozenset[int]
    variables: Mapping[str, str] = field(default_factory=dict)
    contained: bool = False

    def serves(self, root: Path) -> bool:
        """Return whether its data root is `root`, by device and inode of the db directories."""
        with contextlib.suppress(OSError):
            return os.path.samestat((_view(self.pid, self.inside) / "db").stat(), (root / "db").stat())
        with contextlib.suppress(OSError):
            return self.root is not None and self.root.samefile(root)
        return False


def parse(words: Sequence[str], folder: Path) -> CommandLine | None:
    """Return what a server's command line names, paths made absolute from `folder`; None where it is no server's."""
    if not any(word.endswith(_MAIN) for word in words):
        return None
    following = {word: words[index + 1] for index, word in reversed(list(enumerate(words[:-1])))}
    root = following.get("-d", "")
    if not root:
        return None
    paths = (part for option in _JAR_OPTIONS for part in following.get(option, "").split(":") if part.endswith(".jar"))
    jars = sorted(paths, key=lambda path: "questdb" not in Path(path).name)
    java = words[0] if Path(words[0]).name.startswith("java") else ""
    return CommandLine(
        jar=str(folder / jars[0]) if jars else "",
        java=(java if "/" not in java else str(folder / java)) if java else "",
        root=str(folder / root),
    )


def servers() -> tuple[ServerProcess, ...]:
    found = [server for process in psutil.process_iter(["cmdline"]) if (server := _server(process)) is not None]
    return tuple(sorted(found, key=lambda server: (str(server.root or server.inside), server.pid)))


def _server(process: psutil.Process) -> ServerProcess | None:
    words = process.info["cmdline"] or []
    if not any(word.endswith(_MAIN) for word in words):
        return None
    try:
        folder, executable = Path(process.cwd()), process.exe()
    except psutil.Error:
        folder, executable = Path("/"), ""
    line = parse(words, folder)
    if line is None:
        return None
    return ServerProcess(
        pid=process.pid,
        inside=line.root,
        root=here(process.pid, line.root),
        java=str(here(process.pid, executable or line.java) or "") if "/" in (executable or line.java) else line.java,
        jar=str(here(process.pid, line.jar) or "") if line.jar else "",
        ports=listening(process.pid),
        variables=_variables(process),
        contained=in_container(process.pid),
    )


def _variables(process: psutil.Process) -> Mapping[str, str]:
    try:
        return {name: value for name, value in process.environ().items() if name.startswith("QDB_")}
    except (psutil.Error, OSError):
        return {}


def in_container(pid: int) -> bool:
    """Return whether `pid` has a pid namespace of its own; False where this user may not see that."""
    return _other_namespace(pid, "pid")


def has_own_network(pid: int) -> bool:
    """Return whether the ports of `pid` are not this machine's; False where this user may not see that."""
    return _other_namespace(pid, "net")


def _other_namespace(pid: int, kind: str) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink()
    except OSError:
        return False


def here(pid: int, inside: str) -> Path | None:
    """Return the path in this mount namespace of what `pid` calls `inside`; None if it has none, or none is proven."""
    try:
        status = _view(pid, inside).stat()
    except PermissionError:  # another user's process: what has the same name here may well be something else
        return Path(inside).resolve() if not _may_be_elsewhere(pid) and os.path.exists(inside) else None  # noqa: PTH110
    except OSError:
        return None
    for path in (Path(inside), *_candidates(pid, inside)):
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), status):
                return path.resolve()
    return None


def _may_be_elsewhere(pid: int) -> bool:
    """Return whether a process that may not be looked into can have a root of its own: its parents tell it, if any."""
    with contextlib.suppress(psutil.Error):
        return any(each.name().startswith(("conmon", "containerd-shim")) for each in psutil.Process(pid).parents())
    return True


def _view(pid: int, inside: str) -> Path:
    """Return `inside` as `pid` sees it. Links in it are followed below the process's own root by the kernel."""
    return Path(f"/proc/{pid}/root") / inside.lstrip("/")


@dataclass(frozen=True, slots=True)
class _Mount:
    device: str
    root: Path  # of the mount within its file system
    point: Path


def _candidates(pid: int, inside: str) -> Iterator[Path]:
    """Yield names here of what `pid` calls `inside`: its mount's place on the device, seen through our own mounts."""
    path = Path(inside)
    above = [each for each in _mounts(str(pid)) if path.is_relative_to(each.point)]
    for theirs in sorted(above, key=lambda each: len(each.point.parts), reverse=True)[:1]:
        place = theirs.root / path.relative_to(theirs.point)
        for ours in _mounts("self"):
            if ours.device == theirs.device and place.is_relative_to(ours.root):
                yield ours.point / place.relative_to(ours.root)


def _mounts(who: str) -> list[_Mount]:
    """Return the mounts of a process. A line is `36 35 98:0 /root /point rw,noatime …`."""
    try:
        lines = Path(f"/proc/{who}/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    fields = (line.split(" ") for line in lines)
    return [_Mount(each[2], Path(_plain(each[3])), Path(_plain(each[4]))) for each in fields if len(each) > 5]


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)

"""A real Podman for tests: containers with pid, mount and uts namespaces of their own, no image and no registry.

Each command runs in a mount namespace with a cgroup tree of its own, which Podman wants to see. A container's root is
a skeleton of links; programs come from the machine by a bind mount. `bin` goes to the front of PATH: there are `podman`
and `docker`, which is the same program. Root is needed.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from console.waiting import looks

_PROGRAM = """#!/bin/bash
set -e
export CONTAINERS_CONF={folder}/containers.conf TMPDIR={folder}/tmp
exec unshare --mount --propagation private bash -c '
umount -R /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 none /sys/fs/cgroup
exec {podman} --root {folder}/store --runroot {folder}/run --tmpdir {folder}/tmp \\
  --storage-driver vfs --cgroup-manager cgroupfs "$@"' podman "$@"
"""
_CONFIGURATION = """
[containers]
cgroups = "disabled"
netns = "host"
[engine]
events_logger = "file"
"""
_LIMITS = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096")


def remove(folder: Path) -> None:
    """Remove `folder`, in which Podman's own clean-up may still write for a moment."""
    for late in looks(10, 0.2):
        shutil.rmtree(folder, ignore_errors=True)
        if late or not folder.exists():
            return


class Podman:
    """Containers below `folder`, which must be one that other users can enter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        for name in ("bin", "store", "run", "tmp", "roots"):
            (folder / name).mkdir()
        (folder / "containers.conf").write_text(_CONFIGURATION)
        podman = shutil.which("podman")
        assert podman is not None, "podman is not installed: python -m tests.programs"
        for name in ("podman", "docker"):
            program = self.bin / name
            program.write_text(_PROGRAM.format(folder=shlex.quote(str(folder)), podman=podman))
            program.chmod(0o755)

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """Run podman and return what it wrote."""
        finished = subprocess.run(
            [str(self.bin / "podman"), *arguments], capture_output=True, text=True, check=False, timeout=60
        )
        assert not check or finished.returncode == 0, (arguments, finished.stderr)
        return finished.stdout

    def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        volumes: Mapping[str, str] | None = None,
        user: int = 0,
        restart: str = "always",
        environment: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        start: bool = True,
    ) -> None:
        """Make a container and start it. `volumes` are host path -> path inside; the machine's programs are there."""
        root = self.folder / "roots" / name
        for each in ("proc", "sys", "dev", "tmp", "etc", "usr", "run", "var"):
            (root / each).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        for each in ("bin", "lib", "lib64", "sbin"):
            (root / each).symlink_to(f"usr/{each}")
        options = ["--name", name, "--restart", restart, "--user", f"{user}:{user}", *_LIMITS]
        for host, inside in {"/usr": "/usr:ro", "/etc": "/etc:ro", **(volumes or {})}.items():
            options += ["--volume", f"{host}:{inside}"]
        for key, value in (environment or {}).items():
            options += ["--env", f"{key}={value}"]
        for key, value in (labels or {}).items():
            options += ["--label", f"{key}={value}"]
        self("create", *options, "--rootfs", str(root), *command)
        if start:
            self("start", name)

    def inspect(self, name: str) -> Mapping[str, Any]:
        """Return what `inspect` says of one container."""
        found: Mapping[str, Any] = json.loads(self("inspect", "--type", "container", name))[0]
        return found

    def close(self) -> None:
        """Remove all containers, and with them their processes."""
        self("rm", "--all", "--force", "--time", "0", check=False)

"""A real `systemd --user` for tests, in a mount namespace and a control group of its own; the machine's are untouched.

A manager moves every process of its control group into its init.scope: without a group of its own that would be every
process of the machine, another manager's too. Root is needed for the namespaces. Its directories lie in the test's own
folder, so that `systemctl --user` reaches it from outside by XDG_RUNTIME_DIR alone.
"""

import os
import subprocess
import time
import uuid
from pathlib import Path

_OUTSIDE = """
set -e
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$GROUP"
echo $$ > "/sys/fs/cgroup/$GROUP/cgroup.procs"
exec unshare -C bash -c "$INSIDE"
"""
_INSIDE = """
set -e
umount /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run/systemd
mkdir /run/systemd/system /run/systemd/journal
if [ -n "$JOURNAL" ]; then
  mkdir -p /run/log && mount -t tmpfs none /run/log && mkdir /run/log/journal
  mount --bind "$JOURNAL" /run/log/journal
  /lib/systemd/systemd-journald &
  while [ ! -S /run/systemd/journal/stdout ]; do sleep 0.05; done
fi
exec /lib/systemd/systemd --user --log-target=$TARGET
"""
_REMOVED = """
mount -t cgroup2 none /sys/fs/cgroup
cd /sys/fs/cgroup
for again in $(seq 200); do
  kill -9 $(find "$GROUP" -name cgroup.procs -exec cat {} +)
  find "$GROUP" -depth -type d -exec rmdir {} + && exit
  sleep 0.05
done
exit 1
"""
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth><policy context="default">
<allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
<allow send_type="method_call"/>
</policy></busconfig>
"""


class SystemdUser:
    """One service manager. `units` is where its unit files lie; `runtime` those that a reboot would remove.

    With `journal` what its services say goes to a real journald, into that directory; with `tells` also what it says
    of them itself.
    """

    def __init__(self, folder: Path, journal: Path | None = None, *, tells: bool = False) -> None:
        self.journal = journal
        self.target = "journal" if tells else "console"
        self.run = folder / "run"
        self.home = folder / "home"
        self.units = self.home / ".config/systemd/user"
        self.runtime = self.run / "systemd/user"
        self.log = folder / "systemd.log"
        self._group = f"walmedic-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        for each in (self.units, self.runtime):
            each.mkdir(parents=True)
        self.run.chmod(0o700)
        self._process: subprocess.Popen[bytes] | None = None
        self._bus: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to reach it."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DBUS_", "XDG_"))}
        journal = str(self.journal) if self.journal else ""
        own = {"XDG_RUNTIME_DIR": str(self.run), "HOME": str(self.home), "JOURNAL": journal, "TARGET": self.target}
        return {**inherited, **own}

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {**self.environment, "GROUP": self._group, "INSIDE": _INSIDE}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "-m", "bash", "-c", _OUTSIDE], env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while self.systemctl("show", "--property=Version").returncode != 0:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "systemd --user does not answer:\n" + self.log.read_text()
            time.sleep(0.1)

    def write(self, folder: Path, name: str, service: str, unit: str = "") -> None:
        """Write a unit file and make it known."""
        (folder / name).write_text(f"[Unit]\nDescription=test {name}\n{unit}\n[Service]\n{service}\n")
        assert self.systemctl("daemon-reload").returncode == 0

    def systemctl(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run systemctl on it."""
        return subprocess.run(
            ["systemctl", "--user", *arguments], env=self.environment, capture_output=True, text=True, check=False
        )

    def open_bus(self, place: Path) -> None:
        """Give it a real message bus at `place` that any user may connect to, as the system's own is."""
        conf = self.home / "bus.conf"
        conf.write_text(_BUS)
        daemon = f"dbus-daemon --config-file={conf} --address=systemd: --nofork --nopidfile"
        (self.units / "dbus.socket").write_text("[Socket]\nListenStream=%t/bus\n")
        (self.units / "dbus.service").write_text(
            f"[Unit]\nRequires=dbus.socket\n[Service]\nType=notify\nExecStart={daemon}\n"
        )
        assert self.systemctl("daemon-reload").returncode == 0
        started = self.systemctl("start", "dbus.socket", "dbus.service")
        assert started.returncode == 0, started.stderr
        os.link(self.run / "bus", place)  # the way to its own place is closed to others
        self._bus = place

    def as_system_of(self, user: int) -> list[str]:
        """Return what comes before a command so that `user` runs it on a machine whose system's systemd this is."""
        assert self._process is not None
        bus = f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={self._bus}"
        inside = ["nsenter", "--target", str(self._process.pid), "--mount"]
        return [*inside, "setpriv", "--reuid", str(user), "--clear-groups", "env", "-u", "XDG_RUNTIME_DIR", bus]

    def kill(self) -> None:
        """Kill the manager itself, at once; its services live on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Stop all its services, then it."""
        if self._process is None:
            return
        if self._process.poll() is None:
            # By `exit --force` it ends at once, and its services go on.
            listed = self.systemctl("list-units", "--type=service", "--plain", "--no-legend").stdout.splitlines()
            names = [row.split()[0] for row in listed]
            self.systemctl("stop", *(name for name in names if name != "dbus.service"))
            self.systemctl("exit", "--force")
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
        # The bus, the journal and what outlived a manager that was killed end with their group.
        environment = {**os.environ, "GROUP": self._group}
        subprocess.run(["unshare", "-m", "bash", "-c", _REMOVED], env=environment, capture_output=True, check=True)

"""Services under systemd, by `systemctl`: the very commands that an operator would type.

`systemctl show --property=…` is systemd's own computer-readable form (systemctl(1)); one call answers for all units.
"""

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from console.services.command import Finished, run
from console.services.model import ServiceControl, ServiceError, UnitSample, UnitState
from console.settings import Unit
from console.text import clean_line, plural
from console.waiting import looks

_PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "FragmentPath", "DropInPaths", "MainPID", "NRestarts", "Result",
    "ExecMainCode", "ExecMainStatus", "ExecMainPID", "ActiveEnterTimestampMonotonic", "MemoryCurrent",
    "StartLimitBurst", "StartLimitIntervalUSec",
)  # fmt: skip
_ANSWER = 8.0  # seconds for anything that only asks
# CLD_EXITED, CLD_KILLED, CLD_DUMPED of <signal.h>, as ExecMainCode gives them; the journal has them as words.
_CODES = {"1": "exited", "2": "killed", "3": "dumped"}
_STATES = {
    "active": UnitState.UP,
    "reloading": UnitState.UP,
    "refreshing": UnitState.UP,
    "activating": UnitState.STARTING,
    "deactivating": UnitState.STOPPING,
    "inactive": UnitState.DOWN,
    "failed": UnitState.FAILED,
}
_NO_PERMISSION = ("access denied", "permission denied", "authentication required", "not permitted", "not authorized")
_DROP_IN = "90-walmedic-hold.conf"
_ENVIRONMENT = "91-walmedic-environment.conf"
_HOLD = """# Written by walmedic: the service must not start while its files are repaired. Gone after a reboot.
[Unit]
AssertPathExists=!/
"""


class SystemdControl(ServiceControl):
    """The system's systemd, or the user's own (`user`)."""

    can_mask = True
    can_set_environment = True

    def __init__(self, *, user: bool) -> None:
        self.backend = "systemd-user" if user else "systemd"
        self._base = ("systemctl", "--user") if user else ("systemctl",)
        self._user = user

    def states(self, units: Iterable[Unit]) -> tuple[UnitSample, ...]:
        wanted = list(units)
        if not wanted:
            return ()
        found = self._show([unit.name for unit in wanted])
        return tuple(_sample(unit, properties) for unit, properties in zip(wanted, found, strict=True))

    def stop(self, unit: str, timeout: float = 60.0) -> None:
        """Stop `unit`; systemctl returns once no process of it is left.

        A JVM answers SIGTERM with exit status 143, which systemd calls a failure unless the unit says otherwise: that
        one is forgotten, a failure from before is kept.
        """
        failed_before = self._state(unit).state is UnitState.FAILED
        self._command("stop", unit, timeout)
        state = self._state(unit)
        if state.state is UnitState.FAILED and not failed_before:
            self._command("reset-failed", unit, _ANSWER)
        if not state.stopped:
            raise ServiceError(f"{unit} is {state.sub_state or state.state} after `{self.command_line('stop', unit)}`")

    def start(self, unit: str, timeout: float = 60.0) -> None:
        """Start `unit` and wait until systemd calls it active in two looks: what ends at once may be alive in one."""
        alive = 0
        if self._state(unit).state is UnitState.FAILED:
            run([*self._base, "--no-ask-password", "reset-failed", "--", _full_name(unit)], _ANSWER)
        self._command("start", unit, timeout)
        for late in looks(timeout, 0.2):
            sample = self._state(unit)
            alive = alive + 1 if sample.state is UnitState.UP else 0
            if alive == 2:
                return
            if sample.state in (UnitState.FAILED, UnitState.DOWN) or sample.sub_state == "auto-restart":
                how = f" ({sample.result})" if sample.result else ""
                raise ServiceError(f"{unit} started and ended again{how}; `{self._journal(unit)}` says why")
            if late:
                raise ServiceError(
                    f"{unit} is still {sample.sub_state or sample.state} {timeout:.0f} s after its start"
                )

    def mask_runtime(self, unit: str) -> None:
        """Make every start of `unit` fail until the next boot, by a drop-in in /run, and prove that systemd knows it.

        `systemctl mask --runtime` cannot be used: measured on systemd 252, it has no effect on a unit whose file is in
        /etc or in the user's configuration (they come before /run), and fails on one whose file is in /run.
        """
        place = self._hold_path(unit)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(_HOLD)
        except OSError as error:
            why = "no permission to hold" if isinstance(error, PermissionError) else "cannot hold"
            raise ServiceError(
                f"{why} {unit} down ({place}: {error.strerror}); what would work is: {self.command_line('mask', unit)}"
            ) from error
        self._reload()
        if not self._state(unit).masked:
            raise ServiceError(f"{unit} cannot be held down: systemd takes no notice of {place}")

    def unmask(self, unit: str) -> None:
        place = self._hold_path(unit)
        try:
            place.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ServiceError(
                f"{unit} is held down and {place} cannot be removed ({error.strerror}); "
                f"what would work is: {self.command_line('unmask', unit)}"
            ) from error
        with contextlib.suppress(OSError):
            place.parent.rmdir()
        self._reload()

    def set_environment(self, unit: str, values: Mapping[str, str]) -> None:
        """Give `unit` variables from its next start on, by a drop-in in /run; what is in an EnvironmentFile wins."""
        place = self._hold_path(unit).with_name(_ENVIRONMENT)
        lines = "".join(f'Environment="{name}={value}"\n' for name, value in sorted(values.items()))
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(
                f"# Written by walmedic for one start of the service. Gone after a reboot.\n[Service]\n{lines}"
            )
        except OSError as error:
            raise ServiceError(f"{unit} cannot be given another environment ({place}: {error.strerror})") from error
        self._reload()

    def clear_environment(self, unit: str) -> None:
        place = self._hold_path(unit).with_name(_ENVIRONMENT)
        try:
            place.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ServiceError(
                f"{place} cannot be removed ({error.strerror}); remove it before the next start"
            ) from error
        with contextlib.suppress(OSError):
            place.parent.rmdir()
        self._reload()

    def command_line(self, verb: str, unit: str) -> str:
        """Return e.g. `systemctl --user stop batch-writer.service`."""
        if verb not in ("mask", "unmask"):
            return shlex.join([*self._base, verb, _full_name(unit)])
        sudo = "" if self._user else "sudo "
        place = shlex.quote(str(self._hold_path(unit)))
        reload = f"{sudo}{shlex.join([*self._base, 'daemon-reload'])}"
        if verb == "unmask":
            return f"{sudo}rm {place} && {reload}"
        folder = shlex.quote(str(self._hold_path(unit).parent))
        content = "printf '[Unit]\\nAssertPathExists=!/\\n'"
        return f"{sudo}mkdir -p {folder} && {content} | {sudo}tee {place} && {reload}"

    def _command(self, verb: str, unit: str, timeout: float) -> None:
        argv = [*self._base, "--no-ask-password", verb, "--", _full_name(unit)]
        finished = run(argv, timeout)
        if finished.status:
            raise self._refusal(verb, unit, finished)

    def _refusal(self, verb: str, unit: str, finished: Finished) -> ServiceError:
        message = clean_line(finished.error or finished.output) or f"exit {finished.status}"
        command = self.command_line(verb, unit)
        if any(sign in message.lower() for sign in _NO_PERMISSION):
            word = verb.split()[0]
            if self._user:
                return ServiceError(
                    f"no permission to {word} {unit}; log in as the user it belongs to, then: {command}"
                )
            return ServiceError(f"no permission to {word} {unit}; the command that would work is: sudo {command}")
        if "assertion failed" in message.lower() and self._hold_path(unit).exists():
            return ServiceError(
                f"{unit} is held down while its files are repaired; to end that: {self.command_line('unmask', unit)}"
            )
        return ServiceError(f"`{command}` failed: {message}")

    def _state(self, unit: str) -> UnitSample:
        return _sample_of(unit, "", self._show([unit])[0])

    def _show(self, names: list[str]) -> list[dict[str, str]]:
        argv = [*self._base, "show", f"--property={','.join(_PROPERTIES)}", "--", *map(_full_name, names)]
        finished = run(argv, _ANSWER)
        blocks = [_properties(block) for block in finished.output.strip().split("\n\n") if block.strip()]
        if finished.status or len(blocks) != len(names):
            message = clean_line(finished.error) or f"exit {finished.status}"
            if "failed to connect to bus" in message.lower() or "not been booted with systemd" in message.lower():
                which = "the user's systemd" if self._user else "systemd"
                raise ServiceError(f"{which} cannot be reached ({message}); is services.backend right?")
            raise ServiceError(f"`{shlex.join(argv[:2])} …` failed: {message}")
        return blocks

    def _reload(self) -> None:
        finished = run([*self._base, "--no-ask-password", "daemon-reload"], 30.0)
        if finished.status:
            raise ServiceError(f"`{shlex.join([*self._base, 'daemon-reload'])}` failed: {clean_line(finished.error)}")

    def _hold_path(self, unit: str) -> Path:
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        base = Path(runtime) / "systemd" / "user" if self._user else Path("/run/systemd/system")
        return base / f"{_full_name(unit)}.d" / _DROP_IN

    def _journal(self, unit: str) -> str:
        return shlex.join(["journalctl", *(["--user"] if self._user else []), "-u", _full_name(unit), "-n", "50"])


def _full_name(unit: str) -> str:
    """Return `unit` with the suffix that systemctl would add itself."""
    return unit if unit.endswith((".service", ".target", ".socket", ".timer", ".scope")) else f"{unit}.service"


def _properties(block: str) -> dict[str, str]:
    """Return the `Name=value` lines of one block of `systemctl show`."""
    return {name: value for name, _, value in (line.partition("=") for line in block.splitlines())}


def _sample(unit: Unit, properties: Mapping[str, str]) -> UnitSample:
    return _sample_of(unit.name, unit.role.value, properties)


def _sample_of(name: str, role: str, properties: Mapping[str, str]) -> UnitSample:
    if properties.get("LoadState") == "not-found":
        return UnitSample(name, role, UnitState.UNKNOWN, result="no such unit", sub_state="not-found")
    state = _STATES.get(properties.get("ActiveState", ""), UnitState.UNKNOWN)
    masked = _DROP_IN in properties.get("DropInPaths", "") or properties.get("LoadState") == "masked"
    pid = _number(properties.get("MainPID")) or None
    return UnitSample(
        name=name,
        role=role,
        state=state,
        pid=pid,
        uptime=_uptime(properties) if state is UnitState.UP else None,
        restarts=_number(properties.get("NRestarts")),
        result=_result(properties),
        memory=_number(properties.get("MemoryCurrent")),
        unit_file=clean_line(properties.get("FragmentPath", "")),
        sub_state=clean_line(properties.get("SubState", "")),
        loop=_loop(properties),
        masked=masked,
        held=masked and pid is None and state in (UnitState.DOWN, UnitState.FAILED),
    )


def _number(text: str | None) -> int | None:
    """Return a count; None for `[not set]` and for systemd's 2^64 - 1, which means the same."""
    try:
        value = int(text or "")
    except ValueError:
        return None
    return None if value >= 2**63 else value


def _uptime(properties: Mapping[str, str]) -> float | None:
    since = _number(properties.get("ActiveEnterTimestampMonotonic"))
    return max(0.0, time.monotonic() - since / 1e6) if since else None


def _result(properties: Mapping[str, str]) -> str:
    """Return how the last run ended: `exit 1`, `SIGABRT`, `SIGSEGV, core dumped`, or systemd's own word."""
    status = _number(properties.get("ExecMainStatus")) or 0
    code = properties.get("ExecMainCode")
    if code in _CODES:
        return ended_how(_CODES[code], str(status))
    word = properties.get("Result", "")
    return "" if word == "success" else clean_line(word)


def ended_how(code: str, status: str) -> str:
    """Return `exit 1`, `SIGABRT` or `SIGSEGV, core dumped` for the journal's EXIT_CODE and EXIT_STATUS."""
    number = _number(status)
    if number is None or code not in _CODES.values():
        return ""
    if code == "exited":
        return f"exit {number}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name}, core dumped" if code == "dumped" else name


def _loop(properties: Mapping[str, str]) -> str:
    restarts = _number(properties.get("NRestarts")) or 0
    burst, window = _number(properties.get("StartLimitBurst")) or 0, properties.get("StartLimitIntervalUSec", "")
    limited = bool(burst) and window not in ("0", "infinity", "")
    limit = f"limit {burst} in {window}" if limited else "no restart limit"
    # Result keeps how the first run failed, so that the limit shows only in the count (measured on systemd 252).
    if properties.get("ActiveState") == "failed" and limited and restarts >= burst:
        return f"gave up after {restarts} restarts: {limit}"
    if restarts and properties.get("SubState") == "auto-restart":
        return f"crash loop: {plural(restarts, 'restart')}; {limit}"
    return ""

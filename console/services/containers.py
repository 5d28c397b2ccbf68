"""Services in containers, by the command line of Docker or Podman: inspect, stop, start, logs, update.

Both answer `inspect` with a JSON array of objects (measured on Podman 4.3.1; Docker by its documentation). After a stop
by the user a restart policy does nothing until the daemon or the machine starts again. So the policy is set to `no`
while a unit is held, and put back. Podman before 5 cannot change the policy; there a stop holds until the next boot.
"""

import contextlib
import datetime
import json
import shlex
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from console.services.command import Finished, run
from console.services.holds import Holds
from console.services.model import ServiceControl, ServiceError, UnitSample, UnitState
from console.settings import Settings, Unit
from console.text import clean_line, plural
from console.waiting import looks

_ANSWER: Final = 10.0  # seconds for anything that only asks
_PAUSE: Final = 0.2
_STAYS: Final = 1.5  # seconds for which a container must stay up after a start
_UP = {"running", "paused"}
_STATES = {
    "created": UnitState.DOWN, "configured": UnitState.DOWN, "initialized": UnitState.DOWN,
    "exited": UnitState.DOWN, "stopped": UnitState.DOWN, "dead": UnitState.FAILED,
    "running": UnitState.UP, "paused": UnitState.UP,
    "restarting": UnitState.STARTING, "stopping": UnitState.STOPPING, "removing": UnitState.STOPPING,
}  # fmt: skip


class ContainerControl(ServiceControl):
    """Containers of one engine, `docker` or `podman`."""

    def __init__(self, program: str, settings: Settings) -> None:
        self.backend = program
        self._program = program
        self._holds = Holds(settings)

    @cached_property
    def can_mask(self) -> bool:
        """Whether this engine can change the restart policy of a container."""
        try:
            return "--restart" in run([self._program, "update", "--help"], _ANSWER).output
        except ServiceError:
            return False

    def states(self, units: Iterable[Unit]) -> tuple[UnitSample, ...]:
        """Return the state of each of `units`, in their order. Raises ServiceError if the engine does not answer."""
        wanted = list(units)
        if not wanted:
            return ()
        found = self._inspect([unit.name for unit in wanted])
        return tuple(self._sample(unit.name, unit.role.value, found.get(unit.name)) for unit in wanted)

    def stop(self, unit: str, timeout: float = 60.0) -> None:
        """Stop the container with SIGTERM, after `timeout` seconds with SIGKILL, and see that it is down."""
        self._command(["stop", "-t", f"{timeout:.0f}", unit], "stop", unit, timeout + 30)
        sample = self._state(unit)
        if not sample.stopped:
            raise ServiceError(
                f"{unit} is {sample.sub_state or sample.state} after `{self.command_line('stop', unit)}`"
            )

    def start(self, unit: str, timeout: float = 60.0) -> None:
        """Start the container and see that it stays up; what its policy starts again is not taken for that."""
        before = self._state(unit)
        if before.state is UnitState.UNKNOWN:
            raise ServiceError(f"{self._program} knows no container {unit}; `{self._program} ps -a` lists them")
        self._command(["start", unit], "start", unit, timeout)
        up, pid = 0.0, None
        for late in looks(timeout, _PAUSE):
            sample = self._state(unit)
            same = sample.state is UnitState.UP and sample.pid == pid
            up, pid = (up + _PAUSE if same else 0.0), sample.pid
            if up >= _STAYS:
                return
            if sample.state in (UnitState.DOWN, UnitState.FAILED) or late:
                how = f" ({sample.result})" if sample.result else ""
                raise ServiceError(f"{unit} does not stay up{how}; `{self._program} logs --tail 50 {unit}` says why")

    def mask_runtime(self, unit: str) -> None:
        """Note the restart policy and set it to `no`, where the engine can."""
        found = self._inspect([unit]).get(unit)
        if found is None:
            raise ServiceError(f"{self._program} knows no container {unit}; `{self._program} ps -a` lists them")
        policy = _policy(found)
        suspends = self.can_mask and policy not in ("", "no")
        self._holds.note(unit, {"policy": policy, "suspended": "yes" if suspends else ""})
        if suspends:
            self._set_policy(unit, "no")

    def unmask(self, unit: str) -> None:
        """Put the restart policy back that was noted; nothing happens if none was."""
        noted = self._holds.noted(unit)
        if noted is None:
            return
        if noted.get("suspended"):
            self._set_policy(unit, noted["policy"])
        self._holds.forget(unit)

    def command_line(self, verb: str, unit: str) -> str:
        """Return e.g. `docker stop questdb`; for mask and unmask the change of the restart policy."""
        if verb == "mask":
            return shlex.join([self._program, "update", "--restart=no", unit])
        if verb == "unmask":
            noted = self._holds.noted(unit) or {}
            command = shlex.join([self._program, "update", f"--restart={noted.get('policy', '')}", unit])
            return command if noted.get("suspended") else ""
        return shlex.join([self._program, verb, unit])

    def containers(self) -> tuple[Mapping[str, Any], ...]:
        """Return what `inspect` says of every container that runs. Raises ServiceError."""
        names = self._ask(["ps", "--quiet", "--no-trunc"]).output.split()
        return tuple(self._inspected(names)) if names else ()

    def _inspect(self, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Return what `inspect` says by each of `names` (or the beginning of an id); nothing of one that is unknown."""
        objects = self._inspected(names)
        return {
            name: each
            for name in names
            for each in objects
            if str(each.get("Name", "")).removeprefix("/") == name
            or (len(name) >= 12 and str(each.get("Id", "")).startswith(name))
        }

    def _inspected(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        finished = run([self._program, "inspect", "--type", "container", *names], _ANSWER)
        try:
            said = json.loads(finished.output)
        except ValueError:
            said = None
        if not isinstance(said, list):
            if finished.status and "no such" in finished.error.lower():
                return []
            raise self._refusal("inspect", names[0], finished)
        return [each for each in said if isinstance(each, dict)]

    def _state(self, unit: str) -> UnitSample:
        return self._sample(unit, "", self._inspect([unit]).get(unit))

    def _sample(self, name: str, role: str, found: Mapping[str, Any] | None) -> UnitSample:
        if found is None:
            return UnitSample(name, role, UnitState.UNKNOWN, result="no such container", sub_state="not-found")
        said = _mapping(found.get("State"))
        word = str(said.get("Status", "")).lower()
        state, restarts = _STATES.get(word, UnitState.UNKNOWN), _count(found.get("RestartCount"))
        pid = (_count(said.get("Pid")) or None) if word in _UP else None
        policy, noted = _policy(found), self._holds.noted(name)
        suspended = noted is not None and bool(noted.get("suspended"))
        down = state in (UnitState.DOWN, UnitState.FAILED)
        return UnitSample(
            name=name,
            role=role,
            state=state,
            pid=pid,
            uptime=_since(said.get("StartedAt")) if state is UnitState.UP else None,
            restarts=restarts,
            result="" if state is UnitState.UP else _ended(said),
            sub_state=clean_line(word, 60),
            health=clean_line(_health(said), 60) if word in _UP else "",
            loop=_loop(policy, restarts, said) if state is UnitState.STARTING else "",
            held=down and (noted is not None or policy in ("", "no")),
            restart_policy=clean_line(f"{noted['policy']} (suspended)" if noted and suspended else policy, 60),
        )

    def _set_policy(self, unit: str, policy: str) -> None:
        self._command(["update", f"--restart={policy}", unit], "update", unit, _ANSWER)

    def _command(self, arguments: Sequence[str], verb: str, unit: str, timeout: float) -> None:
        finished = run([self._program, *arguments], timeout)
        if finished.status:
            raise self._refusal(verb, unit, finished)

    def _ask(self, arguments: Sequence[str]) -> Finished:
        finished = run([self._program, *arguments], _ANSWER)
        if finished.status:
            raise self._refusal(arguments[0], "", finished)
        return finished

    def _refusal(self, verb: str, unit: str, finished: Finished) -> ServiceError:
        said = clean_line(finished.error or finished.output, 200) or f"exit {finished.status}"
        command, low = shlex.join([self._program, verb, *([unit] if unit else [])]), said.lower()
        if "permission denied" in low:
            return ServiceError(f"no permission to use {self._program}; the command that would work is: sudo {command}")
        if "cannot connect" in low or "is the docker daemon running" in low:
            return ServiceError(f"{self._program} cannot be reached ({said}); is its daemon running?")
        if "no such" in low:
            return ServiceError(f"{self._program} knows no container {unit}; `{self._program} ps -a` lists them")
        return ServiceError(f"`{command}` failed: {said}")


def name_of(found: Mapping[str, Any]) -> str:
    return str(found.get("Name", "")).removeprefix("/")


def pid_of(found: Mapping[str, Any]) -> int:
    """Return the process id of an inspected container as the host sees it, 0 where it does not run."""
    return _count(_mapping(found.get("State")).get("Pid")) or 0


def unit_of(found: Mapping[str, Any]) -> str:
    """Return the systemd unit that runs the container (Quadlet, `podman generate systemd`), empty for any other."""
    return str(_mapping(_mapping(found.get("Config")).get("Labels")).get("PODMAN_SYSTEMD_UNIT", ""))


def published(found: Mapping[str, Any]) -> dict[int, int]:
    """Return the port of this machine by the container's TCP port, for those that are published."""
    ports = _mapping(_mapping(found.get("NetworkSettings")).get("Ports"))
    pairs: dict[int, int] = {}
    for inside, places in ports.items():
        number, _, kind = inside.partition("/")
        for place in places if isinstance(places, list) and kind in ("", "tcp") else ():
            with contextlib.suppress(ValueError):
                pairs.setdefault(int(number), int(_mapping(place).get("HostPort") or 0))
    return {inside: outside for inside, outside in pairs.items() if outside}


def address_of(found: Mapping[str, Any]) -> str:
    """Return the container's address in its first network, empty where it has none of its own."""
    network = _mapping(found.get("NetworkSettings"))
    networks = (_mapping(each) for each in _mapping(network.get("Networks")).values())
    addresses = (str(each.get("IPAddress") or "") for each in networks)
    return next(filter(None, addresses), str(network.get("IPAddress") or ""))


def project_of(found: Mapping[str, Any]) -> str:
    """Return `project/service` of a container that compose made, empty for any other."""
    labels = _mapping(_mapping(found.get("Config")).get("Labels"))
    names = [str(labels.get(f"com.docker.compose.{each}", "")) for each in ("project", "service")]
    return clean_line("/".join(names), 100) if all(names) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _policy(found: Mapping[str, Any]) -> str:
    """Return `no`, `always`, `unless-stopped` or `on-failure:3`, as `update --restart` takes it."""
    said = _mapping(_mapping(found.get("HostConfig")).get("RestartPolicy"))
    name, most = str(said.get("Name", "")), _count(said.get("MaximumRetryCount")) or 0
    return f"{name}:{most}" if name == "on-failure" and most else name


def _loop(policy: str, restarts: int | None, said: Mapping[str, Any]) -> str:
    limit = f"limit {policy.partition(':')[2]}" if ":" in policy else "no restart limit"
    how = _ended(said)
    return f"crash loop: {plural(restarts or 0, 'restart')}{f' ({how})' if how else ''}; {limit}"


def _health(said: Mapping[str, Any]) -> str:
    status = str(_mapping(said.get("Health") or said.get("Healthcheck")).get("Status") or "")
    return "" if status in ("", "none") else status


def _ended(said: Mapping[str, Any]) -> str:
    """Return how the last run ended: `exit 1`, `SIGKILL`, `out of memory`; empty if well, or by a plain stop."""
    code = _count(said.get("ExitCode")) or 0
    if said.get("OOMKilled") is True:
        return "out of memory"
    if code > 128:
        try:
            number = signal.Signals(code - 128)
        except ValueError:
            return f"exit {code}"
        return "" if number is signal.SIGTERM else number.name
    return f"exit {code}" if code else ""


def _since(text: Any) -> float | None:
    """Return the seconds since an RFC 3339 time with up to nanoseconds; None where it is none."""
    try:
        at = datetime.datetime.fromisoformat(str(text)[:19]).replace(tzinfo=datetime.UTC)
    except ValueError:
        return None
    return max(0.0, time.time() - at.timestamp())

"""Services as Kubernetes workloads, by kubectl: a StatefulSet or Deployment is scaled to 0 and back.

Tested against answers in the form of the Kubernetes API reference (apps/v1, v1), not on a cluster. Whatever sets the
number of replicas itself (an operator, an autoscaler, a GitOps controller) has to be paused first.
"""

import json
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from console.services.command import run
from console.services.holds import Holds
from console.services.model import ServiceControl, ServiceError, UnitSample, UnitState
from console.settings import Settings, Unit
from console.text import clean_line, plural
from console.waiting import looks

_ANSWER: Final = 10.0  # seconds for anything that only asks
_PAUSE: Final = 1.0
_PATIENCE: Final = 300.0  # seconds for a pod to end or to become ready: volumes are detached and attached
_STAYS: Final = 3.0  # seconds for which no pod may come back after a stop
_LOOPS = ("CrashLoopBackOff", "RunContainerError", "CreateContainerError")
_ENDED = ("Succeeded", "Failed")  # phases in which no process of a pod is left; an evicted pod stays listed so
_UNREACHABLE = ("unable to connect to the server", "was refused - did you specify", "couldn't get current server api")


class KubernetesControl(ServiceControl):
    """Workloads of one namespace; a unit is named `statefulset/NAME` or `deployment/NAME`."""

    backend = "kubernetes"

    def __init__(self, settings: Settings) -> None:
        namespace = settings.services.namespace
        self._base = ("kubectl", *([f"--namespace={namespace}"] if namespace else []))
        self._holds = Holds(settings)

    def states(self, units: Iterable[Unit]) -> tuple[UnitSample, ...]:
        return tuple(self._sample(unit.name, unit.role.value) for unit in units)

    def stop(self, unit: str, timeout: float = 60.0) -> None:
        """Note the number of replicas, scale to 0, and wait until no pod has been left for three seconds."""
        replicas = self._replicas(unit)
        if replicas:
            self._holds.note(unit, {"replicas": str(replicas)})
        self._scale(unit, 0)
        down = 0.0
        for late in looks(max(timeout, _PATIENCE), _PAUSE):
            state = self._sample(unit, "").state
            if state not in (UnitState.DOWN, UnitState.STOPPING):
                raise ServiceError(
                    f"something has scaled {unit} up again; pause the operator, autoscaler or GitOps controller that "
                    "sets its replicas"
                )
            down = down + _PAUSE if state is UnitState.DOWN else 0.0
            if down > _STAYS:
                return
            if late:
                raise ServiceError(f"pods of {unit} still run {_PATIENCE / 60:.0f} min after it was scaled to 0")

    def start(self, unit: str, timeout: float = 60.0) -> None:
        """Scale to the number of replicas that was noted and wait until all are ready.

        Without a note a workload keeps its number, and gets 1 if that is 0.
        """
        noted = (self._holds.noted(unit) or {}).get("replicas", "")
        self._scale(unit, int(noted) if noted.isdecimal() else self._replicas(unit) or 1)
        for late in looks(max(timeout, _PATIENCE), _PAUSE):
            sample = self._sample(unit, "")
            if sample.state is UnitState.UP:
                self._holds.forget(unit)
                return
            if late or sample.state is UnitState.FAILED:
                raise ServiceError(
                    f"{unit} does not become ready ({sample.result or sample.sub_state}){self._event(unit)}"
                )

    def command_line(self, verb: str, unit: str) -> str:
        """Return e.g. `kubectl scale statefulset/questdb --replicas=0`; empty for mask and unmask."""
        if verb == "restart":
            return f"{self.command_line('stop', unit)} && {self.command_line('start', unit)}"
        if verb not in ("start", "stop"):
            return ""
        replicas = "0" if verb == "stop" else (self._holds.noted(unit) or {}).get("replicas", "1")
        return shlex.join([*self._base, "scale", unit, f"--replicas={replicas}"])

    def _scale(self, unit: str, replicas: int) -> None:
        argv = [*self._base, "scale", unit, f"--replicas={replicas}"]
        finished = run(argv, 30.0)
        if finished.status:
            raise self._refusal(argv, finished.error or finished.output)

    def _replicas(self, unit: str) -> int:
        """Return the number of replicas that is wanted. Raises ServiceError if there is no such workload."""
        workload = self._get(unit)
        if workload is None:
            there = shlex.join([*self._base, "get", "statefulsets,deployments"])
            raise ServiceError(f"the cluster knows no {unit}; units are named KIND/NAME, and `{there}` lists them")
        return _number(workload, "spec", "replicas")

    def _get(self, unit: str) -> Mapping[str, Any] | None:
        return self._json(["get", unit, "--output=json"]) if "/" in unit else None

    def _json(self, arguments: Sequence[str]) -> Mapping[str, Any] | None:
        argv = [*self._base, *arguments]
        finished = run(argv, _ANSWER)
        if finished.status:
            if "notfound" in finished.error.lower().replace(" ", ""):
                return None
            raise self._refusal(argv, finished.error or finished.output)
        try:
            said = json.loads(finished.output)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise ServiceError(f"`{shlex.join(argv)}` gave no JSON object")
        return said

    def _refusal(self, argv: Sequence[str], output: str) -> ServiceError:
        # kubectl 1.32 logs each try before it; the last line is the error.
        said = clean_line((output.strip().splitlines() or [""])[-1], 200) or "no reason given"
        low = said.lower()
        if "forbidden" in low or "unauthorized" in low:
            return ServiceError(f"this account may not `{shlex.join(argv)}`: {said}")
        if any(sign in low for sign in _UNREACHABLE):
            return ServiceError(f"kubectl reaches no cluster ({said}); `kubectl config current-context` names the one")
        return ServiceError(f"`{shlex.join(argv)}` failed: {said}")

    def _sample(self, name: str, role: str) -> UnitSample:
        workload = self._get(name)
        if workload is None:
            return UnitSample(name, role, UnitState.UNKNOWN, result="no such workload", sub_state="not-found")
        wanted, ready = _number(workload, "spec", "replicas"), _number(workload, "status", "readyReplicas")
        pods = self._pods(workload)
        containers = [status for pod in pods for status in _list(pod, "status", "containerStatuses")]
        before = [status for pod in pods for status in _list(pod, "status", "initContainerStatuses")]
        waiting = [str(_at(each, "state", "waiting", "reason") or "") for each in (*before, *containers)]
        waiting += [_unscheduled(pod) for pod in pods]
        loops = [reason for reason in waiting if reason in _LOOPS]
        state = _state(wanted, ready, len(pods), loops=bool(loops))
        restarts = sum(_number(each, "restartCount") for each in (*before, *containers))
        ended = next(filter(None, (_ended(each) for each in (*before, *containers))), "")
        return UnitSample(
            name=name,
            role=role,
            state=state,
            uptime=_uptime(containers) if state is UnitState.UP else None,
            restarts=restarts,
            result="" if state is UnitState.UP else ended,
            sub_state=clean_line(
                next(filter(None, waiting), "") or f"{ready} of {plural(wanted, 'replica')} ready", 60
            ),
            loop=f"{loops[0]}, {plural(restarts, 'restart')} so far" if loops else "",
            held=state is UnitState.DOWN,
        )

    def _pods(self, workload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        labels = _at(workload, "spec", "selector", "matchLabels")
        if not isinstance(labels, dict) or not labels:
            raise ServiceError("the workload has no selector.matchLabels, so its pods cannot be found")
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        said = self._json(["get", "pods", f"--selector={selector}", "--output=json"])
        pods = [each for each in _list(said or {}, "items") if isinstance(each, dict)]
        return [each for each in pods if _at(each, "status", "phase") not in _ENDED]

    def _event(self, unit: str) -> str:
        """Return the newest warning about the workload or its pods, as the end of a sentence; empty without one."""
        name = unit.partition("/")[2]
        said = self._json(
            ["get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp", "--output=json"]
        )
        ours = [
            str(_at(each, "message") or "")
            for each in _list(said or {}, "items")
            if _belongs(str(_at(each, "involvedObject", "name") or ""), name)
        ]
        return f"; the newest warning: {clean_line(ours[-1], 200)}" if ours else ""


def _belongs(named: str, workload: str) -> bool:
    return named == workload or named.startswith(f"{workload}-")


def _state(wanted: int, ready: int, pods: int, *, loops: bool) -> UnitState:
    if wanted == 0:
        return UnitState.STOPPING if pods else UnitState.DOWN
    if loops:
        return UnitState.FAILED
    return UnitState.UP if ready >= wanted else UnitState.STARTING


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _number(value: Any, *keys: str) -> int:
    """Return a count of the API, 0 where it is left out (Kubernetes omits zeros)."""
    found = _at(value, *keys)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def _list(value: Any, *keys: str) -> list[Any]:
    found = _at(value, *keys)
    return found if isinstance(found, list) else []


def _ended(status: Mapping[str, Any]) -> str:
    last = _at(status, "lastState", "terminated") or _at(status, "state", "terminated")
    if not isinstance(last, dict):
        return ""
    reason, code = clean_line(str(last.get("reason") or ""), 40), _number(last, "exitCode")
    return f"{reason}, exit {code}" if reason and code else reason if reason != "Completed" else ""


def _unscheduled(pod: Mapping[str, Any]) -> str:
    """Return why no node takes `pod`, such as `Unschedulable`; empty if one has."""
    conditions = _list(pod, "status", "conditions")
    refused = (each for each in conditions if _at(each, "type") == "PodScheduled" and _at(each, "status") == "False")
    return next((str(_at(each, "reason") or "") for each in refused), "")


def _uptime(statuses: Sequence[Any]) -> float | None:
    try:
        began = [datetime.fromisoformat(str(_at(each, "state", "running", "startedAt"))) for each in statuses]
    except ValueError:
        return None
    return max(0.0, time.time() - max(at.timestamp() for at in began)) if began else None

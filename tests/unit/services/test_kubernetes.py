"""Kubernetes by kubectl: its command lines, and what is made of each answer. No cluster is asked."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from console.services.control import control_for
from console.services.kubernetes import KubernetesControl
from console.services.model import ServiceError, UnitSample, UnitState
from console.settings import Role, ServicesSettings, Settings, Unit
from tests.unit.services.recorded_kubectl import DEPLOYMENT_DOWN, DOWN, STOPS, UP, RecordedKubectl

UNIT = Unit("statefulset/questdb", Role.DATABASE)
DEPLOYMENT = Unit("deployment/questdb", Role.DATABASE)
LABELS = "app.kubernetes.io/instance=market,app.kubernetes.io/name=questdb"


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedKubectl:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr("console.services.kubernetes._PAUSE", 0.02)
    monkeypatch.setattr("console.services.kubernetes._STAYS", 0.05)
    return RecordedKubectl(folder)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=str(tmp_path / "state"), services=ServicesSettings("kubernetes", "", (UNIT,), "market"))


@pytest.fixture
def control(settings: Settings) -> KubernetesControl:
    made = control_for(settings)
    assert isinstance(made, KubernetesControl)
    return made


def sample(control: KubernetesControl, unit: Unit = UNIT) -> UnitSample:
    (found,) = control.states([unit])
    return found


@pytest.mark.parametrize(
    ("scene", "unit", "state", "sub_state", "result"),
    [
        (UP, UNIT, UnitState.UP, "1 of 1 replica ready", ""),
        ("deployment-ready pods-running", DEPLOYMENT, UnitState.UP, "1 of 1 replica ready", ""),
        ("statefulset-none pods-terminating", UNIT, UnitState.STOPPING, "0 of 0 replicas ready", ""),
        ("statefulset-none pods-none", UNIT, UnitState.DOWN, "0 of 0 replicas ready", ""),
        (DEPLOYMENT_DOWN, DEPLOYMENT, UnitState.DOWN, "0 of 0 replicas ready", ""),
        ("deployment-none pods-evicted", DEPLOYMENT, UnitState.DOWN, "0 of 0 replicas ready", ""),
        ("statefulset-not-ready pods-creating", UNIT, UnitState.STARTING, "ContainerCreating", ""),
        ("statefulset-not-ready pods-image", UNIT, UnitState.STARTING, "ImagePullBackOff", ""),
        ("statefulset-not-ready pods-unschedulable", UNIT, UnitState.STARTING, "Unschedulable", ""),
        ("statefulset-not-ready pods-crash-loop", UNIT, UnitState.FAILED, "CrashLoopBackOff", "Error, exit 134"),
        ("statefulset-not-ready pods-init-loop", UNIT, UnitState.FAILED, "CrashLoopBackOff", "Error, exit 1"),
    ],
)
def test_each_answer_is_a_state(
    kubectl: RecordedKubectl, control: KubernetesControl, scene: str, unit: Unit, state: UnitState, sub_state: str,
    result: str,
) -> None:  # fmt: skip
    kubectl.plays(scene)
    found = sample(control, unit)
    assert (found.state, found.sub_state, found.result) == (state, sub_state, result)
    assert found.held is (state is UnitState.DOWN)
    assert (found.uptime is not None) is (state is UnitState.UP)
    assert found.stopped is (state in (UnitState.DOWN, UnitState.FAILED))


def test_a_crash_loop_is_counted(kubectl: RecordedKubectl, control: KubernetesControl) -> None:
    kubectl.plays("statefulset-not-ready pods-crash-loop")
    found = sample(control)
    assert (found.restarts, found.loop) == (261, "CrashLoopBackOff, 261 restarts so far")


def test_the_command_lines_are_those_of_the_reference(kubectl: RecordedKubectl, control: KubernetesControl) -> None:
    control.stop(UNIT.name)
    assert sample(control).held
    again = control.command_line("start", UNIT.name)
    assert again == "kubectl --namespace=market scale statefulset/questdb --replicas=1"
    control.start(UNIT.name)
    assert sample(control).state is UnitState.UP
    asked = kubectl.asked()
    assert {each[0] for each in asked} == {"--namespace=market"}
    kinds = {tuple(each[1:]) for each in asked}
    assert kinds == {
        ("get", "statefulset/questdb", "--output=json"),
        ("get", "pods", f"--selector={LABELS}", "--output=json"),
        ("scale", "statefulset/questdb", "--replicas=0"),
        ("scale", "statefulset/questdb", "--replicas=1"),
    }


def test_without_a_namespace_that_of_the_context_is_used(kubectl: RecordedKubectl, settings: Settings) -> None:
    services = replace(settings.services, namespace="")
    assert sample(KubernetesControl(replace(settings, services=services))).state is UnitState.UP
    assert kubectl.asked()[0] == ["get", "statefulset/questdb", "--output=json"]


def test_the_number_of_replicas_outlives_the_process(
    kubectl: RecordedKubectl, control: KubernetesControl, settings: Settings
) -> None:
    kubectl.plays("statefulset-three pods-running")
    control.stop(UNIT.name)
    another = KubernetesControl(settings)
    assert another.command_line("start", UNIT.name).endswith("--replicas=3")
    another.start(UNIT.name)
    assert ["--namespace=market", "scale", UNIT.name, "--replicas=3"] in kubectl.asked()
    assert another.command_line("start", UNIT.name).endswith("--replicas=1")  # the note is gone


def test_a_start_of_what_runs_takes_no_replica_away(
    kubectl: RecordedKubectl, control: KubernetesControl, settings: Settings
) -> None:
    control.start(UNIT.name)
    assert ["--namespace=market", "scale", UNIT.name, "--replicas=1"] in kubectl.asked()
    assert not (settings.state_path / "held").exists()


def test_an_evicted_pod_does_not_keep_a_stop_from_its_end(kubectl: RecordedKubectl, control: KubernetesControl) -> None:
    kubectl.plays("deployment-ready pods-running", stops=["deployment-none pods-evicted"])
    control.stop(DEPLOYMENT.name)


def test_what_scales_up_again_is_named(kubectl: RecordedKubectl, control: KubernetesControl) -> None:
    kubectl.plays(UP, stops=[*STOPS, "statefulset-not-ready pods-creating"])
    with pytest.raises(ServiceError, match="something has scaled statefulset/questdb up again; pause the operator"):
        control.stop(UNIT.name)


def test_pods_that_stay_are_named(
    kubectl: RecordedKubectl, control: KubernetesControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.services.kubernetes._PATIENCE", 0.2)
    kubectl.plays(UP, stops=["statefulset-none pods-terminating"])
    with pytest.raises(ServiceError, match="pods of statefulset/questdb still run"):
        control.stop(UNIT.name, 0.1)


def test_a_start_that_fails_shows_the_newest_warning(kubectl: RecordedKubectl, control: KubernetesControl) -> None:
    kubectl.plays(DOWN, starts=["statefulset-not-ready pods-crash-loop"])
    with pytest.raises(ServiceError) as refused:
        control.start(UNIT.name)
    assert str(refused.value) == (
        "statefulset/questdb does not become ready (Error, exit 134); the newest warning: Back-off restarting failed "
        "container questdb in pod questdb-0_market(9a3b3cbe-2c0e-4e36-a8a8-0b0d1f9b3a11)"
    )
    events = next(each for each in kubectl.asked() if "events" in each)
    assert events[1:] == [
        "get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp", "--output=json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "said", "expected"),
    [
        (
            "scale",
            'Error from server (Forbidden): statefulsets.apps "questdb" is forbidden: User "u" cannot patch resource',
            "this account may not `kubectl --namespace=market scale statefulset/questdb --replicas=0`: Error from",
        ),
        (
            "get",
            "error: You must be logged in to the server (Unauthorized)",
            "this account may not `kubectl --namespace=market get statefulset/questdb --output=json`: error: You must",
        ),
        (
            "get",
            "Unable to connect to the server: dial tcp 10.0.0.1:6443: i/o timeout",
            "kubectl reaches no cluster (Unable to connect to the server: dial tcp 10.0.0.1:6443: i/o timeout);",
        ),
        (
            "get",
            'E1129 20:54:11.896809    4545 memcache.go:265] "Unhandled Error" err="couldn\'t get the list"\n'
            "The connection to the server localhost:8080 was refused - did you specify the right host or port?",
            "kubectl reaches no cluster (The connection to the server localhost:8080 was refused",
        ),
        (
            "get",
            "error: unknown flag: --x",
            "`kubectl --namespace=market get statefulset/questdb --output=json` failed",
        ),
    ],
)
def test_a_refusal_is_one_sentence(
    kubectl: RecordedKubectl, control: KubernetesControl, verb: str, said: str, expected: str
) -> None:
    kubectl.refuses(verb, said)
    with pytest.raises(ServiceError) as refused:
        control.stop(UNIT.name)
    assert str(refused.value).startswith(expected)


def test_a_workload_that_is_not_there(kubectl: RecordedKubectl, control: KubernetesControl) -> None:
    del kubectl
    unknown = Unit("deployment/nothing", Role.WRITER)
    found = sample(control, unknown)
    assert (found.state, found.result, found.sub_state) == (UnitState.UNKNOWN, "no such workload", "not-found")
    for verb in (control.start, control.stop):
        with pytest.raises(ServiceError, match="the cluster knows no deployment/nothing; units are named KIND/NAME"):
            verb(unknown.name)

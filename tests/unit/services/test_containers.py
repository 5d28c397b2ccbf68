"""What `docker inspect` and `podman inspect` say of ports, addresses, compose and the unit that runs a container."""

import os
from pathlib import Path
from typing import Any

import pytest

from console.probes import running
from console.services.containers import ContainerControl, address_of, project_of, published, unit_of
from console.services.model import ServiceError, UnitState
from console.settings import Role, Settings, Unit

# In the form of the Docker Engine API (ContainerInspect), cut to what is read.
_RUNNING: dict[str, Any] = {
    "Id": "5d0f9f0a1f5b0f7f7f6d9e7a5a6dd9a1d6c0f3b1f8f2e3d4c5b6a798897a6b5c",
    "Name": "/market-questdb-1",
    "RestartCount": 0,
    "State": {
        "Status": "running",
        "Running": True,
        "Pid": 4711,
        "ExitCode": 0,
        "StartedAt": "2026-11-28T06:12:20.12Z",
        "Health": {"Status": "unhealthy", "FailingStreak": 9},
    },
    "HostConfig": {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}},
    "Config": {"Labels": {"com.docker.compose.project": "market", "com.docker.compose.service": "questdb"}},
    "NetworkSettings": {
        "IPAddress": "",
        "Ports": {
            "9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "19000"}],
            "8812/tcp": [{"HostIp": "", "HostPort": "18812"}, {"HostIp": "::", "HostPort": "18812"}],
            "9003/tcp": None,
            "9009/udp": [{"HostIp": "", "HostPort": "19009"}],
        },
        "Networks": {"market_default": {"IPAddress": "172.18.0.3", "Gateway": "172.18.0.1"}},
    },
}


def test_ports_address_and_project_are_read() -> None:
    assert published(_RUNNING) == {9000: 19000, 8812: 18812}
    assert address_of(_RUNNING) == "172.18.0.3"
    assert project_of(_RUNNING) == "market/questdb"
    assert unit_of(_RUNNING) == ""


def test_what_runs_has_its_health(tmp_path: Path) -> None:
    found = ContainerControl("docker", Settings(state_dir=str(tmp_path)))._sample("market-questdb-1", "x", _RUNNING)
    assert (found.state, found.health, found.pid, found.sub_state) == (UnitState.UP, "unhealthy", 4711, "running")
    assert found.uptime is not None


@pytest.mark.parametrize("found", [{}, {"NetworkSettings": None, "Config": {"Labels": None}}, {"Config": []}])
def test_what_is_left_out_is_nothing(found: dict[str, Any]) -> None:
    assert (published(found), address_of(found), project_of(found), unit_of(found)) == ({}, "", "", "")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "no permission to use docker; the command that would work is: sudo docker inspect",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "docker cannot be reached (Cannot connect to the Docker daemon",
        ),
    ],
)
def test_an_engine_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: str
) -> None:
    program = tmp_path / "docker"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ServiceError) as refused:
        ContainerControl("docker", Settings()).states([Unit("questdb", Role.DATABASE)])
    assert str(refused.value).startswith(expected)


@pytest.mark.parametrize(
    ("state", "expected", "result"),
    [
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, UnitState.DOWN, "out of memory"),
        ({"Status": "exited", "ExitCode": 143}, UnitState.DOWN, ""),
        ({"Status": "exited", "ExitCode": 134}, UnitState.DOWN, "SIGABRT"),
        ({"Status": "restarting", "ExitCode": 1}, UnitState.STARTING, "exit 1"),
        ({"Status": "dead", "ExitCode": 255}, UnitState.FAILED, "exit 255"),
        ({"Status": "removing"}, UnitState.STOPPING, ""),
        ({"Status": "new-word"}, UnitState.UNKNOWN, ""),
    ],
)
def test_each_state_is_read(tmp_path: Path, state: dict[str, Any], expected: UnitState, result: str) -> None:
    control = ContainerControl("docker", Settings(state_dir=str(tmp_path)))
    found = control._sample("market-questdb-1", "database", {**_RUNNING, "State": state})
    assert (found.state, found.result, found.restart_policy) == (expected, result, "unless-stopped")
    assert not found.held
    assert found.pid is None


def test_a_port_in_a_network_of_its_own_is_reached_where_it_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "has_own_network", lambda pid: True)
    monkeypatch.setattr(running, "container_of", lambda pid: ("docker", _RUNNING))
    assert [running.reached(1, port) for port in (8812, 6379)] == [("", 18812), ("172.18.0.3", 6379)]
    monkeypatch.setattr(running, "container_of", lambda pid: None)
    assert running.reached(1, 6379) is None
    monkeypatch.setattr(running, "has_own_network", lambda pid: False)
    assert running.reached(1, 6379) == ("", 6379)

"""One way to read and command services, whatever runs them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from console.services.model import UnitSample
from console.settings import Settings, Unit


class ServiceControl(Protocol):
    """What runs the services. Every method blocks, keeps its own deadline, and raises ServiceError in one sentence."""

    backend: str

    @property
    def can_mask(self) -> bool:
        """Whether `mask_runtime` changes anything."""
        ...

    @property
    def can_set_environment(self) -> bool:
        """Whether `set_environment` works."""
        ...

    def states(self, units: Iterable[Unit]) -> tuple[UnitSample, ...]:
        """Return the state of each of `units`, in their order."""
        ...

    def stop(self, unit: str, timeout: float = 60.0) -> None:
        """Stop `unit` and return once no process of it is left. Nothing happens where it does not run."""
        ...

    def start(self, unit: str, timeout: float = 60.0) -> None:
        """Start `unit` and return once it is up. A start limit that was hit before is forgotten first."""
        ...

    def mask_runtime(self, unit: str) -> None:
        """Keep `unit` from being started by its manager until `unmask`; with systemd by anyone, until the next boot.

        Changes nothing where the backend has no such thing (`can_mask` is False): supervisord never starts by itself
        what was stopped. Of containers the restart policy is suspended.
        """
        ...

    def unmask(self, unit: str) -> None:
        """Take `mask_runtime` back; nothing happens where it was not in force."""
        ...

    def set_environment(self, unit: str, values: Mapping[str, str]) -> None:
        """Give `unit` environment variables from its next start on, until `clear_environment` or the next boot.

        Only where `can_set_environment` is True.
        """
        ...

    def clear_environment(self, unit: str) -> None:
        """Take `set_environment` back from the next start on; nothing happens where it was not in force."""
        ...

    def command_line(self, verb: str, unit: str) -> str:
        """Return the command to type for start, stop, restart, mask or unmask; empty if there is none."""
        ...


def _unasked(sentence: str) -> None:
    """Drop what a person would be asked: whoever only reads asks nothing."""


def control_for(settings: Settings, ask: Callable[[str], None] = _unasked) -> ServiceControl | None:
    """Return the control of the station's services, None where the settings name no backend.

    `ask` gets what the operator has to do by hand, one sentence each.

    Raises ServiceError where the settings name one without what it needs.
    """
    match settings.services.backend:
        case "systemd":
            from console.services.systemd import SystemdControl

            return SystemdControl(user=False)
        case "systemd-user":
            from console.services.systemd import SystemdControl

            return SystemdControl(user=True)
        case "supervisor":
            from console.services.supervisor import SupervisorControl

            return SupervisorControl(settings.services.socket)
        case "docker" | "podman":
            from console.services.containers import ContainerControl

            return ContainerControl(settings.services.backend, settings)
        case "kubernetes":
            from console.services.kubernetes import KubernetesControl

            return KubernetesControl(settings)
        case "command":
            from console.services.command_lines import CommandControl

            return CommandControl(settings)
        case "by-hand":
            from console.services.by_hand import ByHandControl

            return ByHandControl(settings, ask)
    return None

"""Which backend commands the services of a station."""

from collections.abc import Callable

from console.services.model import ServiceControl
from console.settings import Settings


def _unasked(sentence: str) -> None:
    """Drop what a person would be asked: whoever only reads asks nothing."""


def control_for(settings: Settings, ask: Callable[[str], None] = _unasked) -> ServiceControl | None:
    """Return the control of the station's services, None where the settings name no backend.

    `ask` gets what the operator has to do by hand, one sentence each.

    Raises ServiceError where the settings name one without what it needs.
    """
    match settings.services.backend:
        case "systemd" | "systemd-user":
            from console.services.systemd import SystemdControl

            return SystemdControl(user=settings.services.backend == "systemd-user")
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

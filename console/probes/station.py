"""The probes of one station."""

from typing import Any

from console.probes.backlog import BacklogProbe
from console.probes.crashes import CrashesProbe
from console.probes.journal import JournalProbe
from console.probes.sample import Probe
from console.probes.server import ServerProbe
from console.probes.services import ServicesProbe
from console.probes.tables import TablesProbe
from console.probes.wal import WalProbe
from console.settings import Settings


def station_probes(settings: Settings) -> tuple[Probe[Any], ...]:
    """Return a probe for every source. One that is not configured says so in its sample.

    None of them is given the password of the one who may write, where a read-only user is set.
    """
    settings = settings.observing()
    server = ServerProbe(settings)
    return (
        server,
        TablesProbe(settings, server),
        WalProbe(settings),
        CrashesProbe(settings),
        ServicesProbe(settings),
        BacklogProbe(settings),
        JournalProbe(settings),
    )

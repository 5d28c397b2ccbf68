"""What a demo can be asked for: light, so that its help needs none of the packages that build a station."""

import enum
import signal

SCALES = (1, 10_000)
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Scenario(enum.StrEnum):
    HEALTHY = "healthy"
    CRASH_LOOP = "crash-loop"
    LOG_REMOVED = "log-removed"
    INCIDENT = "incident"
    POWER_LOSS = "power-loss"

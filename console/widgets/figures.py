"""Numbers and times as the console writes them: short, of steady width, no false precision."""

import datetime as dt


def count(number: int | None) -> str:
    """Return e.g. `6,359`; `?` for a number that is not known."""
    return "?" if number is None else f"{number:,}"


def short(number: float) -> str:
    """Return e.g. `212`, `1.1k`, `23k`, `4.2M`."""
    size = abs(number)
    for limit, unit, scale in ((1e3, "", 1.0), (1e6, "k", 1e3), (1e9, "M", 1e6), (1e12, "G", 1e9)):
        if size < limit:
            value = number / scale
            return f"{value:.1f}{unit}" if unit and abs(value) < 9.95 else f"{value:.0f}{unit}"
    return f"{number:.1e}"


def signed(rate: float) -> str:
    """Return a rate with its sign, e.g. `+1.1k/s`; a level one as `0/s`."""
    return "0/s" if abs(rate) < 0.5 else f"{'+' if rate > 0 else '-'}{short(abs(rate))}/s"


def duration(seconds: float | None) -> str:
    """Return e.g. `8s`, `4m`, `3h40m`, `12d`; `?` where it is not known. Coarse, so that it seldom changes."""
    if seconds is None:
        return "?"
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h" if whole < 10 * 86_400 else f"{whole // 86_400}d"


def ago(seconds: float) -> str:
    """Return how long ago in steps that let the eye rest: `now`, then five seconds, then minutes."""
    if seconds < 5:
        return "now"
    if seconds < 60:
        return f"{int(seconds) // 5 * 5}s ago"
    return f"{duration(seconds)} ago"


def size(number: int | None) -> str:
    """Return bytes as e.g. `512 B`, `204 MiB`; no line breaks between number and unit."""
    if number is None:
        return "?"
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return (
                f"{value:.0f}\N{NO-BREAK SPACE}{unit}"
                if unit == "B" or value >= 9.95
                else f"{value:.1f}\N{NO-BREAK SPACE}{unit}"
            )
        value /= 1024
    return f"{value:.1f}\N{NO-BREAK SPACE}TiB"


def clock(epoch: float) -> str:
    """Return the time of day in UTC, e.g. `03:31:07Z`."""
    return dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%H:%M:%SZ")

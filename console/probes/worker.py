"""Blocking work in a thread that can be given up.

`asyncio.to_thread` uses a pool that a process waits for at its end: one read from a disk that hangs would keep the
console from closing. These threads are daemons, and a source that still hangs gets no second thread.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from console.errors import WalmedicError

T = TypeVar("T")


class StillBusy(WalmedicError):
    """The reading before has not come back."""


class Worker:
    """Runs one blocking function at a time in a daemon thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._busy = False

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what `function` returns, or raise what it raises. Raises StillBusy while an earlier call hangs."""
        if self._busy:
            raise StillBusy(f"{self._name}: the reading before still hangs; the disk or the service does not answer")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = function(*arguments)
            except BaseException as raised:
                error = raised
            self._busy = False
            if not loop.is_closed():
                try:
                    loop.call_soon_threadsafe(settle, result, error)
                except RuntimeError:
                    return  # the loop was closed meanwhile: nobody waits for the result

        self._busy = True
        threading.Thread(target=work, name=f"probe-{self._name}", daemon=True).start()
        return await future

"""Blocking work in a thread that can be given up, and the probes that read so.

`asyncio.to_thread` uses a pool that a process waits for at its end: one read from a disk that hangs would keep the
console from closing. These threads are daemons, and a source that still hangs gets no second thread.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from console.errors import WalmedicError
from console.probes.sample import Sample, Status

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


class ThreadProbe(Generic[T]):
    """A probe whose reading blocks: it runs in a thread of its own, and whatever it raises means that it is down.

    `unset`: what the settings lack for it, empty where they lack nothing.
    """

    NO_ROOT = "no data root is configured (settings: questdb.db_root)"
    name: str

    def __init__(self, unset: str = "") -> None:
        self._unset = unset
        self._worker = Worker(self.name)

    async def read(self) -> Sample[T]:
        if self._unset:
            return Sample(self.name, Status.UNKNOWN, None, self._unset)
        try:
            return await self._worker.call(self._sample)
        except WalmedicError as error:
            return Sample(self.name, Status.DOWN, None, str(error))

    async def close(self) -> None:
        """Nothing is held open between readings."""

    def _sample(self) -> Sample[T]:
        raise NotImplementedError

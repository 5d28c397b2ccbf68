"""A process of its own for pyarrow, which ends as a whole on some damaged files: the caller lives on and says so.

One worker serves a process, one request at a time. A request is a JSON line; an answer is one too, with bytes behind it
if it has a `size`. The worker ends with the pipe, and so with whoever started it.
"""

import atexit
import json
import os
import resource
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final

from console.questdb.reading import DamageError

_MEMORY: Final = 8 << 30
"""Bytes of addresses that a worker may have: a damaged size asks for any number."""


def can_read_parquet() -> bool:
    return find_spec("pyarrow") is not None


class ParquetWorker:
    """Asks a worker, and starts another one where the last one died."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, operation: str, path: Path, *arguments: int | str) -> Any:
        """Return what an operation of parquet_decoding returns.

        Raises DamageError if the file cannot be decoded or ends the worker, OSError if it cannot be read, ImportError
        without pyarrow.
        """
        if not can_read_parquet():
            raise ImportError("pyarrow is not installed")
        with self._lock:
            process = self._running()
            assert process.stdin is not None  # noqa: S101 - a pipe
            assert process.stdout is not None  # noqa: S101 - a pipe
            try:
                process.stdin.write(json.dumps([operation, str(path), *arguments]).encode() + b"\n")
                process.stdin.flush()
                answer = process.stdout.readline()
                document: dict[str, Any] = json.loads(answer) if answer.endswith(b"\n") else {}
                content = process.stdout.read(document["size"]) if "size" in document else b""
            except BrokenPipeError:
                document, content = {}, b""
            if not document or len(content) < document.get("size", 0):
                raise DamageError(self._ended())
        if "damage" in document:
            raise DamageError(str(document["damage"]))
        if "errno" in document:
            raise OSError(document["errno"], document["error"], document["file"])
        return content if "size" in document else document["value"]

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()

    def _running(self) -> "subprocess.Popen[bytes]":
        """Return the worker. One of the process that this one was forked from is not asked."""
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            command = [sys.executable, "-m", "console.questdb.parquet_worker"]
            pipe = subprocess.PIPE
            # It is in no terminal's group: an interrupt there is ours to take.
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True)
            self._owner = os.getpid()
        return self._process

    def _ended(self) -> str:
        process = self._process
        self.close()
        code = process.returncode if process is not None else 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return f"pyarrow ended {how} as it decoded the file"


WORKER: Final = ParquetWorker()
atexit.register(WORKER.close)


def main() -> None:
    from console.questdb.parquet_decoding import OPERATIONS

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what pyarrow says as it aborts is for no screen
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        operation, path, *arguments = json.loads(line)
        document: dict[str, Any]
        content = b""
        try:
            value = OPERATIONS[operation](Path(path), *arguments)
            content = value if isinstance(value, bytes) else b""
            document = {"size": len(value)} if isinstance(value, bytes) else {"value": value}
        except DamageError as damage:
            document = {"damage": damage.what}
        except OSError as error:
            document = {"errno": error.errno or 0, "error": error.strerror or str(error), "file": path}
        sys.stdout.buffer.write(json.dumps(document).encode() + b"\n" + content)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

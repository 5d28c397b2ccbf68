"""Mutations of the readers' files for as long as wanted: `python -m tests.property.fuzz [inputs] [seed]`, `make fuzz`.

Without a number it runs until it is interrupted. The inputs are shared evenly among the readers and both formats of the
log; the seed is printed, and a failure names the input that repeats it.

1,000,000 inputs (seed 20261123) raised nothing in 7,287 s beside other work; the highest memory was 281 MiB.
"""

import itertools
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.data.samples import KINDS
from tests.property.mutation import peak_mib
from tests.property.readers import READERS
from tests.property.test_reader_mutations import run_mutations

_BATCH = 500
_EVERY = 100_000
"""Inputs after which a line says how far it is."""


def main(arguments: list[str]) -> None:
    """Run batches, each of one reader, one format and a seed of its own."""
    wanted = int(arguments[0].replace("_", "")) if arguments else None
    seed = int(arguments[1]) if len(arguments) > 1 else random.randrange(1 << 32)
    sys.stderr.write(f"seed {seed}\n")
    done, start = 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="walmedic-fuzz-") as folder:
        try:
            for turn, reader, kind in ((t, r, k) for t in itertools.count() for r in READERS for k in KINDS):
                if wanted is not None and done >= wanted:
                    break
                count = _BATCH if wanted is None else min(_BATCH, wanted - done)
                run_mutations(reader, kind, Path(folder) / f"{reader.name}-{kind}", count, seed + turn)
                done += count
                if done // _EVERY > (done - count) // _EVERY:
                    sys.stderr.write(f"{done:,} inputs after {time.monotonic() - start:,.0f} s\n")
        except KeyboardInterrupt:
            pass
    seconds = time.monotonic() - start
    sys.stderr.write(f"{done:,} inputs in {seconds:,.0f} s, nothing raised; highest memory {peak_mib():,.0f} MiB\n")


if __name__ == "__main__":
    main(sys.argv[1:])

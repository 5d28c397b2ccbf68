"""The way into the self-contained executable: `walmedic`, and a Python for the processes that walmedic starts itself.

In it `sys.executable` is the executable. Actions and the reader of Parquet run as `-m MODULE`, a private server's shim
as `-I -S -c CODE`: both are answered here as the interpreter would.
"""

import os
import runpy
import sys


def main() -> None:
    """Run what the arguments ask for."""
    # Each process that is started from here is one of its own.
    os.environ["PYINSTALLER_RESET_ENVIRONMENT"] = "1"
    # Java, systemctl and redis-cli are given the libraries of the machine, not the bundled ones.
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before
    else:
        os.environ.pop("LD_LIBRARY_PATH", None)
    arguments = sys.argv[1:]
    if arguments[:3] == ["-I", "-S", "-c"]:
        sys.argv = ["-c", *arguments[4:]]
        exec(compile(arguments[3], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own shim
    elif arguments[:1] == ["-m"] and arguments[1] != "console":
        sys.argv = [arguments[1], *arguments[2:]]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        from console.__main__ import main as walmedic

        sys.argv = ["walmedic", *(arguments[2:] if arguments[:2] == ["-m", "console"] else arguments)]
        walmedic()


if __name__ == "__main__":
    main()

"""The architecture while it runs: what import-linter reads off the sources, seen in a fresh interpreter."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = ("questdb", "diagnosis", "services", "probes", "recovery", "reporting", "station")
ROOT = Path(__file__).parents[2]


def modules_of(package: str) -> list[str]:
    """Return the names of all modules below console/`package`."""
    files = sorted((ROOT / "console" / package).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def imported_with(names: list[str]) -> set[str]:
    """Return what is in sys.modules after `names` were imported."""
    code = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules, sep='\\n')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    return set(finished.stdout.split())


@pytest.mark.parametrize("package", ENGINE)
def test_the_engine_runs_without_textual(package: str) -> None:
    loaded = imported_with(modules_of(package))
    assert f"console.{package}" in loaded
    assert not {name for name in loaded if name.split(".")[0] in ("textual", "screens")}
    assert not loaded & {"console.app", "console.widgets", "console.cli"}


def test_the_readers_need_neither_server_nor_services() -> None:
    """A copy on another machine is diagnosed with nothing but the files."""
    loaded = imported_with([*modules_of("questdb"), *modules_of("diagnosis")])
    assert not loaded & {"psycopg", "redis", "console.services", "console.probes", "console.recovery"}


def test_only_app_widgets_and_screens_import_textual() -> None:
    allowed = ("console/app.py", "console/widgets/", "screens/")
    offenders = [
        file
        for file in (
            str(path.relative_to(ROOT)) for base in ("console", "screens") for path in (ROOT / base).rglob("*.py")
        )
        if not file.startswith(allowed)
        and any(
            line.lstrip().startswith(("import textual", "from textual"))
            for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
        )
    ]
    assert offenders == []


def test_no_file_outgrows_its_subject() -> None:
    """A module has one subject: 400 lines are the end of it."""
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for base in ("console", "screens", "tests", "benchmarks")
        for path in (ROOT / base).rglob("*.py")
    }
    assert {file: size for file, size in sizes.items() if size > 400} == {}


def test_the_rooms_of_recovery_have_the_arrows_that_the_docs_count() -> None:
    """A room is a module or folder of `console/recovery`; an arrow is one room that imports another."""
    base = ROOT / "console" / "recovery"
    rooms, arrows = set(), set()
    for path in base.rglob("*.py"):
        room = path.relative_to(base).with_suffix("").parts[0]
        rooms.add(room)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("console.recovery"):
                inner = node.module.split(".")[2:]
                arrows |= {(room, name) for name in (inner[:1] or [each.name for each in node.names])}
    arrows = {(room, other) for room, other in arrows if room != other}
    rooms.discard("__init__")
    counted = re.search(r"(\d+) between (\d+) rooms", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert counted is not None
    assert (len(arrows), len(rooms)) == tuple(map(int, counted.groups()))
    assert len(arrows) < 100

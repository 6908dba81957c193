"""Make the wheels and lay them, with nothing but named distributions, into a Python of their own. Offline."""

import json
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def build_wheel(project: Path, target: Path) -> Path:
    """Build the project's wheel with the installed hatchling; returns the wheel."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target],
        cwd=project,
        check=True,
        capture_output=True,
    )
    (wheel,) = target.glob("*.whl")
    return wheel


def contents(wheel: Path) -> set[str]:
    """Paths in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def closure(names: Iterable[str]) -> set[str]:
    """Installed distributions that the names need here, with themselves."""
    known: set[str] = set()
    waiting = {canonicalize_name(name) for name in names}
    while waiting:
        name = waiting.pop()
        known.add(name)
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting |= {canonicalize_name(requirement.name)} - known
    return known


def python_with(folder: Path, wheels: Iterable[Path], distributions: Iterable[str]) -> Path:
    """A Python that sees the standard library, the wheels and the named distributions, and nothing else.

    The distributions are links to the files installed beside this test: no index is asked.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    site = next((folder / "lib").glob("python3*/site-packages"))
    for name in distributions:
        _link(metadata.distribution(name), site)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return folder / "bin" / "python"


def _link(distribution: metadata.Distribution, site: Path) -> None:
    """Link what a distribution installed, file by file: several may share a folder (`google`)."""
    for file in distribution.files or ():
        if ".." in file.parts or file.suffix == ".pyc":
            continue
        link = site / file
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(distribution.locate_file(file))).resolve())


def modules_of(folder: str, package: str) -> list[str]:
    """Names of the modules of a package of ours, by its files."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
        if parts[-1] != "__main__":
            found.append(".".join(part for part in parts if part != "__init__"))
    return found


def loaded_by(python: Path, modules: Iterable[str]) -> set[str]:
    """Top-level modules that are loaded once the given ones are imported; raises where an import fails."""
    code = (
        "import importlib, json, sys\n"
        "for name in json.loads(sys.stdin.read()): importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    run = subprocess.run(
        [python, "-I", "-B", "-c", code],
        input=json.dumps(list(modules)),
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))

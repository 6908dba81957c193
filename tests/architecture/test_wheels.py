"""The two wheels: what is in them, and that each works with nothing but what it asks for."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from suanli.evidence.policy import format_policy
from tests.architecture.installation import (
    ROOT,
    build_wheel,
    closure,
    contents,
    loaded_by,
    modules_of,
    python_with,
)
from tests.architecture.sources import committed
from tests.builders.bundles import write_bundle
from tests.builders.evidence import honest_operator


@pytest.fixture(scope="module")
def small_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT / "suanli", tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def large_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("large"))


def dependencies(project: Path) -> list[str]:
    declared = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(text).name for text in declared["dependencies"]]


def test_the_small_wheel_holds_suanli_and_nothing_else(small_wheel: Path) -> None:
    tops = {path.split("/")[0] for path in contents(small_wheel)}
    assert tops == {"suanli", "suanli-0.1.0.dist-info"}


def test_the_small_wheel_holds_every_file_of_its_rooms(small_wheel: Path) -> None:
    meant = {p for p in committed() if p.startswith("suanli/") and p != "suanli/pyproject.toml"}
    assert {path for path in meant if path.endswith((".py", ".typed", ".json"))} <= contents(small_wheel)


@pytest.fixture(scope="module")
def small_python(small_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the small wheel and what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("venv")
    return python_with(folder / "venv", [small_wheel], closure(dependencies(ROOT / "suanli")))


def test_an_auditor_verifies_a_bundle_with_the_small_wheel_alone(small_python: Path, tmp_path: Path) -> None:
    operator = honest_operator()
    write_bundle(tmp_path / "june.zip", operator.bundle())
    (tmp_path / "policy").write_text(format_policy(operator.policy()), encoding="utf-8")
    # Processes are spawned, as on Windows: each imports the installed package anew.
    script = "from suanli.cli.main import main\nif __name__ == '__main__':\n    main()\n"
    (tmp_path / "suanli_alone.py").write_text(script, encoding="utf-8")
    command = [str(small_python), "-P", "suanli_alone.py", "verify", "june.zip", "--policy", "policy"]
    run = subprocess.run(
        [*command, "--processes", "2", "--html", "report.html"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "VERIFIED" in run.stdout
    assert "VERIFIED" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_small_wheel_works_with_nothing_but_its_own_dependencies(small_python: Path) -> None:
    python = small_python
    loaded = loaded_by(python, modules_of("suanli", "suanli"))
    assert "suanli" in loaded
    assert loaded & {"scheduler", "agents", "protos", "grpc", "fastapi", "sqlalchemy", "psycopg"} == set()
    run = subprocess.run(
        [python, "-I", "-B", "-c", "from suanli.cli.main import main; main()", "--help"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "Usage" in run.stdout


def test_the_large_wheel_holds_the_control_plane_the_agent_the_wire_and_the_migrations(
    large_wheel: Path,
) -> None:
    held = contents(large_wheel)
    tops = {path.split("/")[0] for path in held}
    assert tops == {"scheduler", "agents", "protos", "migrations", "suanli_scheduler-0.1.0.dist-info"}
    rooms = ("scheduler/", "agents/", "protos/", "migrations/")
    needed = {path for path in committed() if path.startswith(rooms) and not path.endswith(".md")}
    assert needed <= held


def test_the_control_plane_works_with_nothing_but_its_own_dependencies(
    large_wheel: Path, small_wheel: Path, tmp_path: Path
) -> None:
    names = [name for name in dependencies(ROOT) if name != "suanli"] + dependencies(ROOT / "suanli")
    # `up`, `demo` and the embedded database are for one machine, which installs the extra.
    installed = closure([*names, "psycopg-binary", "greenlet"])
    python = python_with(tmp_path / "venv", [large_wheel, small_wheel], installed)
    run = subprocess.run(
        [python, "-I", "-B", "-m", "scheduler", "--help"], check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    for process in ("api", "gateway", "controller", "ledger", "migrate"):
        assert process in run.stdout

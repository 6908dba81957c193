"""The wire: generated code is what the definitions say today, and the definitions are clean."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from protos.generate import ROOT, generate


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    made = generate(tmp_path)
    assert made
    stale = [
        str(path.relative_to(tmp_path))
        for path in made
        if path.read_text() != (ROOT / path.relative_to(tmp_path)).read_text()
    ]
    assert stale == [], "run: python protos/generate.py"


def test_no_generated_file_is_left_of_a_definition_that_is_gone(tmp_path: Path) -> None:
    made = {path.relative_to(tmp_path) for path in generate(tmp_path)}
    there = {
        path.relative_to(ROOT) for path in (ROOT / "suanli").rglob("*_pb2*.py*") if path.suffix != ".pyc"
    }
    assert there == made


def _buf() -> str:
    found = shutil.which("buf", path=sysconfig.get_path("scripts")) or shutil.which("buf")
    if found is None:
        pytest.skip("buf is not installed")
    return found


@pytest.mark.parametrize(
    "command", [["lint"], ["format", "--diff", "--exit-code"], ["build"]], ids=lambda c: c[0]
)
def test_buf_finds_nothing(command: list[str]) -> None:
    done = subprocess.run(
        [_buf(), *command], check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr

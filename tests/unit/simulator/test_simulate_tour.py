"""The commands of docs/simulate.md, typed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands() -> list[list[str]]:
    """The words of each command of the page."""
    blocks = BLOCK.findall((ROOT / "docs/simulate.md").read_text(encoding="utf-8"))
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line.partition(">")[0]) for line in lines]


@pytest.mark.parametrize("words", commands(), ids=[str(n) for n in range(len(commands()))])
def test_every_command_of_the_tour_does_what_the_page_says(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    assert words[:2] == ["suanli", "simulate"]
    shorter = [*words[1:], "--first", "6"]  # the last one counts
    suanli = Path(sys.executable).parent / "suanli"
    done = subprocess.run(
        [suanli, *shorter],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"seed": 0' in done.stdout if "--json" in words else done.stdout.startswith("seed 0\n")
    assert (tmp_path / "rehearsal/report.html").is_file() == ("--output" in words)


def test_a_file_that_is_not_there_is_said_to_be_the_matter(tmp_path: Path) -> None:
    suanli = Path(sys.executable).parent / "suanli"
    done = subprocess.run(
        [suanli, "simulate", "nofile.gz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "nofile.gz" in done.stderr
    assert "--cluster" not in done.stderr
    assert done.stdout == ""
    assert done.stderr == "suanli: nofile.gz: No such file or directory\n"


@pytest.mark.parametrize(
    ("jobs", "folder", "said"),
    [
        (
            "examples/rehearsal/jobs.csv",
            "kept",
            "kept/report.html exists: give another --output, or --force",
        ),
        (
            "examples/rehearsal/jobs.csv",
            "drawn",
            "drawn/throughput-curves.png exists: give another --output, or --force",
        ),
        ("nofile.gz", "taken", "--output: taken/report.html cannot be written: Not a directory"),
        (
            "examples/rehearsal/jobs.csv",
            "taken/below",
            "--output: taken/below/report.html cannot be written: Not a directory",
        ),
        (
            "examples/rehearsal/jobs.csv",
            "linked",
            "--output: linked cannot be made, want a folder that can be",
        ),
    ],
)
def test_a_folder_that_cannot_be_had_is_said_before_anything_runs(
    tmp_path: Path, jobs: str, folder: str, said: str
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "taken").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/report.html").touch()
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn/throughput-curves.png").touch()
    (tmp_path / "linked").symlink_to("nowhere")
    suanli = Path(sys.executable).parent / "suanli"
    done = subprocess.run(
        [
            *(suanli, "simulate", jobs, "--cluster", "examples/rehearsal/cluster.yaml"),
            *("--profile", "throughput", "--first", "2", "--output", folder),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"suanli: {said}\n"

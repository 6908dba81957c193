"""Ctrl-C in the middle of `suanli demo`: everything that was started ends, and its folder goes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.e2e import ROOT, open_folder, processes_naming, wait_until

pytestmark = pytest.mark.timeout(240)


def imports_torch(python: Path | str) -> bool:
    """Whether this interpreter would do for the demo's job."""
    try:
        probe = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False)
    except OSError:
        return False
    return probe.returncode == 0


@pytest.fixture(scope="module", autouse=True)
def torch_is_there() -> None:
    """The demo would install PyTorch where there is none; a test must not."""
    candidates = (ROOT / ".demo-venv" / "bin" / "python", sys.executable, "python3")
    if not any(imports_torch(python) for python in candidates):
        why = "no interpreter here imports torch (make torch installs it), so the demo would begin with installing it"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the demo makes its own folders."""
    with open_folder("suanli-int-") as made:
        yield made


@pytest.mark.parametrize("moment", ["Starting PostgreSQL", "lantian submitted"])
def test_an_interrupted_demo_leaves_nothing_behind(folder: Path, moment: str) -> None:
    output = folder / "said"
    with output.open("wb") as file:
        demo = subprocess.Popen(
            [sys.executable, "-m", "scheduler", "demo", "--window-ms", "1000"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )

    def reached() -> bool:
        assert demo.poll() is None, output.read_text()
        return moment in output.read_text()

    try:
        wait_until(reached, f"the demo says {moment!r}", seconds=120)
        (own,) = [p for p in folder.glob("suanli-demo-*") if not p.name.startswith("suanli-demo-output-")]
        wait_until(lambda: processes_naming(own), "something runs in its folder")
        os.killpg(demo.pid, signal.SIGINT)
        assert demo.wait(90) == 130, output.read_text()
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
    said = output.read_text()
    assert "Interrupted; stopping everything that was started" in said
    assert "Traceback" not in said
    assert "had to be killed" not in said
    assert [process.cmdline() for process in processes_naming(own)] == []
    assert not own.exists()

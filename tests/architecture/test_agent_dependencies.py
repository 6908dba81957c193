"""An agent works with deploy/agent-requirements.txt and not a distribution more."""

import re
import subprocess
from pathlib import Path

from tests.architecture.installation import ROOT, build_wheel, loaded_by, modules_of, python_with


def test_an_agent_works_with_what_its_requirements_name(tmp_path: Path) -> None:
    lines = (ROOT / "deploy/agent-requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [re.split(r"[=\s;]", line, maxsplit=1)[0] for line in lines if not line.startswith("#")]
    wheels = [build_wheel(ROOT, tmp_path / "large"), build_wheel(ROOT / "suanli", tmp_path / "small")]
    python = python_with(tmp_path / "venv", wheels, names)

    loaded = loaded_by(python, modules_of("agents", "agents"))

    assert loaded & {"scheduler", "fastapi", "sqlalchemy", "psycopg", "httpx"} == set()
    run = subprocess.run(
        [python, "-I", "-B", "-c", "from agents.app import main; main()", "run", "--help"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "--gateway" in run.stdout

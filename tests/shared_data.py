"""Finds data that lies beside the repository, not in it: test vectors, catalogues, traces."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]


def shared_root() -> Path:
    """The shared folder: SUANLI_SHARED, else `shared` beside the repository."""
    configured = os.environ.get("SUANLI_SHARED")
    return Path(configured) if configured else _REPOSITORY.parent / "shared"


def shared_path(relative: str) -> Path:
    """A file or folder of the shared data; skips the test where it is absent, fails it when CI=true."""
    path = shared_root() / relative
    if not path.exists():
        reason = f"shared data {relative} is not here; set SUANLI_SHARED to its folder"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path

"""Loads the example jobs' modules, which are scripts beside each other and no package of ours."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def without_torch(why: str) -> NoReturn:
    """Skip, but never under CI, which installs PyTorch first."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of example jobs."""
    return EXAMPLES


@pytest.fixture(scope="session")
def load_finetune_module() -> Callable[[str], ModuleType]:
    """Import one file of examples/finetune by name, under a name that collides with nobody's."""

    def load(name: str) -> ModuleType:
        qualified = f"examples_finetune_{name}"
        if qualified not in sys.modules:
            spec = importlib.util.spec_from_file_location(qualified, EXAMPLES / "finetune" / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[qualified] = module
            spec.loader.exec_module(module)
        return sys.modules[qualified]

    return load


@pytest.fixture(scope="session")
def torch_python() -> Path:
    """A Python that can import PyTorch: this one, or the demo's."""
    demo = EXAMPLES.parent / ".demo-venv"
    if importlib.util.find_spec("torch") is not None:
        return Path(sys.executable)
    if any(demo.glob("lib/python3*/site-packages/torch/__init__.py")):
        return demo / "bin" / "python"
    without_torch("PyTorch is installed neither here nor in .demo-venv (make torch installs it)")

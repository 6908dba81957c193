from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    "check",
    [
        "base_model_is_small_and_knows_its_language",
        "adapted_model_begins_as_the_base_model",
        "only_adapters_are_trained",
        "adam_moves_weights_as_that_of_pytorch_does",
    ],
)
def test_the(check: str, torch_python: Path, examples: Path) -> None:
    script = Path(__file__).with_name("finetune_checks.py")

    done = subprocess.run(
        [torch_python, script, check],
        cwd=examples / "finetune",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr

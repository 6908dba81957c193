from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def step_report(load_finetune_module: Callable[[str], ModuleType]) -> ModuleType:
    return load_finetune_module("step_report")


def test_a_report_says_all_that_the_scheduler_reads(step_report: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "step.json"

    step_report.write_step_report(path, step_report.StepReport(40, 120, 2.5, 81920, "/m/step-00000040.pt"))

    report = json.loads(path.read_bytes())
    assert report.pop("at_ms") > 1_700_000_000_000
    assert report == {
        "step": 40,
        "of": 120,
        "loss": 2.5,
        "tokens": 81920,
        "model_checkpoint": "/m/step-00000040.pt",
    }
    assert path.stat().st_size <= 4096


def test_a_later_report_replaces_the_earlier_and_leaves_no_other_file(
    step_report: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "step.json"
    step_report.write_step_report(path, step_report.StepReport(1, 2))
    step_report.write_step_report(path, step_report.StepReport(2, 2))

    assert json.loads(path.read_bytes())["step"] == 2
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("loss", [math.nan, math.inf, None])
def test_a_loss_that_json_cannot_say_is_null(
    step_report: ModuleType, tmp_path: Path, loss: float | None
) -> None:
    path = tmp_path / "step.json"

    step_report.write_step_report(path, step_report.StepReport(1, 2, loss))

    assert b"NaN" not in path.read_bytes()
    assert json.loads(path.read_bytes())["loss"] is None


def test_nothing_is_written_where_nobody_asked(step_report: ModuleType, tmp_path: Path) -> None:
    step_report.write_step_report(None, step_report.StepReport(1, 2))

    assert list(tmp_path.iterdir()) == []

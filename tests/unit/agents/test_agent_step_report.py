"""Step reports are read with distrust."""

import pytest

from agents.core.tasks import StepReport
from agents.runtime.step_report import parse_step_report


def test_a_whole_report_is_read() -> None:
    value = {
        "step": 3,
        "of": 9,
        "loss": 0.125,
        "tokens": 12,
        "model_checkpoint": "/c/3",
        "at_ms": 5,
        "more": [],
    }
    assert parse_step_report(value) == StepReport(3, 9, 125_000, 12, "/c/3", 5)


@pytest.mark.parametrize(
    "value", [None, [], "x", {}, {"step": -1}, {"step": True}, {"step": 1.5}, {"step": 2**63}]
)
def test_without_a_step_there_is_no_report(value: object) -> None:
    assert parse_step_report(value) is None


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e300, "low", True, None])
def test_a_loss_that_is_no_number_is_left_out(loss: object) -> None:
    assert parse_step_report({"step": 1, "loss": loss}) == StepReport(1)


def test_text_that_the_wire_cannot_carry_is_made_harmless() -> None:
    report = parse_step_report({"step": 1, "model_checkpoint": "a\ud800b"})
    assert report is not None
    assert report.model_checkpoint == "a?b"


@pytest.mark.parametrize("loss", [1e308, -1e308, 10**400, float("inf"), float("nan")])
def test_a_loss_of_any_size_is_survived(loss: float) -> None:
    assert parse_step_report({"step": 1, "loss": loss}) == StepReport(1)

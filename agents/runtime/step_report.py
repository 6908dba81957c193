"""PURE: the job's step report, read with distrust."""

from agents.core.tasks import StepReport

INT64_MAX = 2**63 - 1
MILLION = 1_000_000
MOST_LOSS = INT64_MAX // MILLION


def parse_step_report(value: object) -> StepReport | None:
    """The report in a job's JSON; None where it has no step. Fields that make no sense are left out."""
    if not isinstance(value, dict):
        return None
    step = _count(value.get("step"))
    if step is None:
        return None
    checkpoint = value.get("model_checkpoint")
    return StepReport(
        step=step,
        of=_count(value.get("of")) or 0,
        loss_micros=_micros(value.get("loss")),
        tokens=_count(value.get("tokens")),
        model_checkpoint=_text(checkpoint),
        at_ms=_count(value.get("at_ms")) or 0,
    )


def _count(value: object) -> int | None:
    return (
        value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INT64_MAX else None
    )


def _micros(value: object) -> int | None:
    # Compared before anything is computed: the job may have written 1e308, or a number of 400 digits.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -MOST_LOSS <= value <= MOST_LOSS:
        return None
    return round(value * MILLION)


def _text(value: object) -> str | None:
    """Text that protobuf can carry: no lone surrogates."""
    if not isinstance(value, str) or not value:
        return None
    return value.encode("utf-8", "replace").decode("utf-8")

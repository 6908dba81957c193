"""The queue, and trials, over HTTP."""

from typing import Annotated, Any

from pydantic import Field

from scheduler.api.schemas.base import Out, utc, utc_or_none
from scheduler.api.schemas.jobs import ReasonOut, StartsOut, starts_out
from scheduler.api.schemas.problems import FieldErrorOut, field_errors_out
from scheduler.services.trial import Trial
from scheduler.services.waiting import WaitingJob


class WaitingOut(Out):
    """A job that waits in a queue."""

    position: Annotated[int | None, Field(description="From 1; null while something holds it back.")]
    firm: str
    job_id: str
    name: str
    array_index: int | None
    submitted_by: str
    submitted_at: str
    priority: str
    devices: int
    share_ppm: Annotated[int, Field(description="Of each device, in millionths; 1,000,000: whole devices.")]
    models: list[str]
    why: str
    counterfactual: str | None
    starts: StartsOut | None


class QueueOut(Out):
    """The waiting jobs of a queue in their order."""

    queue: str
    waiting: list[WaitingOut]


def queue_out(queue: str, waiting: list[WaitingJob], now_ms: int) -> QueueOut:
    """A queue for the wire, as it is read now."""
    return QueueOut(
        queue=queue,
        waiting=[
            WaitingOut(
                position=one.position,
                firm=one.firm,
                job_id=one.job_id,
                name=one.name,
                array_index=one.array_index,
                submitted_by=one.submitted_by,
                submitted_at=utc(one.submitted_ms),
                priority=one.priority,
                devices=one.devices,
                share_ppm=one.share_ppm,
                models=list(one.models),
                why=one.why,
                counterfactual=one.counterfactual,
                starts=starts_out(one.starts, now_ms),
            )
            for one in waiting
        ],
    )


class VariantPriceOut(Out):
    """What a variant costs, in yuan rounded to the fen; null where no price or no time is known."""

    model: str
    device_hour_cny: str | None
    gang_hour_cny: str | None
    at_most_cny: Annotated[str | None, Field(description="Of one attempt that reaches its time limit.")]
    estimate_cny: Annotated[str | None, Field(description="For `estimate_seconds`, to its time limit.")]


class TrialOut(Out):
    """What would become of a job if it were submitted now, all jobs before it out of its way."""

    valid: bool
    starts_now: bool
    device_model: Annotated[str | None, Field(description="On which it would start now.")]
    pool: str | None
    position: Annotated[int | None, Field(description="In its queue, where it would wait.")]
    reasons: list[ReasonOut]
    counterfactual: str | None
    starts_by: Annotated[
        str | None, Field(description="As the time limits of the work before it promise; null: they do not.")
    ]
    starts: StartsOut | None
    prices: list[VariantPriceOut]
    warnings: Annotated[list[FieldErrorOut], Field(description="What the job says, and can hardly mean.")]
    spec: Annotated[dict[str, Any], Field(description="Every default filled in.")]


def trial_out(trial: Trial, now_ms: int) -> TrialOut:
    """A trial for the wire, made now."""
    return TrialOut(
        valid=True,
        starts_now=trial.starts_now,
        device_model=trial.device_model,
        pool=trial.pool,
        position=trial.position,
        reasons=[ReasonOut.model_validate(dict(reason)) for reason in trial.reasons],
        counterfactual=trial.counterfactual,
        starts_by=utc_or_none(trial.starts_by_ms),
        starts=starts_out(trial.starts, now_ms),
        prices=[
            VariantPriceOut(
                model=price.model,
                device_hour_cny=price.device_hour_cny,
                gang_hour_cny=price.gang_hour_cny,
                at_most_cny=price.at_most_cny,
                estimate_cny=price.estimate_cny,
            )
            for price in trial.prices
        ],
        warnings=field_errors_out(trial.warnings),
        spec=trial.spec.to_json(),
    )

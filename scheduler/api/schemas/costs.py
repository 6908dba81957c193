"""The cost of a job over HTTP: amounts are decimal text in CNY."""

from typing import Literal

from scheduler.api.schemas.base import Out
from scheduler.domain.budgets import cny
from scheduler.services.costs import JobCost


class JobCostOut(Out):
    """Cost so far and to the end. `held_cny` is the most that can be charged up to now, `charged_cny` what is so far.

    `to_end_cny` is what is still to come, by its `basis`: the job's own step report, the estimate that it was submitted
    with, or its time limit (then the most that it can be); null where nothing tells.
    """

    job_id: str
    charged_cny: str
    held_cny: str
    per_hour_cny: str | None
    to_end_cny: str | None
    basis: Literal["progress", "estimate", "time_limit"] | None
    budget_cny: str | None


def job_cost_out(cost: JobCost) -> JobCostOut:
    """As shown."""
    return JobCostOut.model_validate(
        {
            "job_id": cost.job.job_id,
            "charged_cny": cny(cost.charged_nano),
            "held_cny": cny(cost.held_nano),
            "per_hour_cny": _cny_or_none(cost.per_hour_nano),
            "to_end_cny": _cny_or_none(cost.to_end_nano),
            "basis": cost.basis,
            "budget_cny": _cny_or_none(cost.budget_nano),
        }
    )


def _cny_or_none(nano: int | None) -> str | None:
    return None if nano is None else cny(nano)

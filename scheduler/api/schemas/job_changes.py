"""Many jobs at once, and changes of jobs, over HTTP."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from scheduler.api.languages import detail_of
from scheduler.api.schemas.base import In, Out
from scheduler.api.schemas.job_specs import BudgetIn, JobSpecIn, Seconds
from scheduler.api.schemas.problems import FieldErrorOut, field_errors_out
from scheduler.domain import job_limits as law
from scheduler.domain.batches import MOST_JOBS
from scheduler.domain.errors import DomainError
from scheduler.services.batches import Outcome


class BatchIn(In):
    """Jobs that are submitted in one transaction; they may name each other in their dependencies."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "jobs": [
                        {"name": "prepare", "model": "ascend-910b3", "command": "python prepare.py"},
                        {
                            "name": "train",
                            "model": "ascend-910b3",
                            "command": "python train.py",
                            "dependencies": {"after_ok": ["prepare"]},
                        },
                    ]
                }
            ]
        }
    )

    jobs: Annotated[list[JobSpecIn], Field(min_length=1, max_length=MOST_JOBS)]
    atomic: Annotated[
        bool,
        Field(description="true: all jobs or none. false: an outcome for each; the others are submitted."),
    ] = True


class RefusalOut(Out):
    """Why an item was refused."""

    code: str
    detail: str
    errors: list[dict[str, str]]


class OutcomeOut(Out):
    """What became of one item: a job, an array of jobs, or a refusal."""

    item: int
    name: str | None = None
    job_id: Annotated[str | None, Field(description="Of an array: its first job.")] = None
    array_id: str | None = None
    jobs: Annotated[int, Field(description="How many jobs the item made.")] = 0
    refused: RefusalOut | None = None
    warnings: Annotated[
        Sequence[FieldErrorOut], Field(description="What the item says, and can hardly mean.")
    ] = ()


class BatchOut(Out):
    """Outcomes in the order of the items."""

    submitted: Annotated[int, Field(description="Jobs in all, arrays unfolded.")]
    refused: Annotated[int, Field(description="Items that were refused.")]
    outcomes: list[OutcomeOut]


def batch_out(outcomes: Sequence[Outcome], *, stored: bool = True) -> BatchOut:
    """Outcomes for the wire; ids are of what was stored alone."""
    shown = [_outcome(item, outcome, stored) for item, outcome in enumerate(outcomes)]
    refused = sum(outcome.refused is not None for outcome in shown)
    return BatchOut(submitted=sum(outcome.jobs for outcome in shown), refused=refused, outcomes=shown)


def _outcome(item: int, outcome: Outcome, stored: bool) -> OutcomeOut:
    if isinstance(outcome, DomainError):
        errors = [wrong.model_dump() for wrong in field_errors_out(outcome.problems)]
        detail = detail_of(outcome.message)
        return OutcomeOut(item=item, refused=RefusalOut(code=outcome.code, detail=detail, errors=errors))
    return OutcomeOut(
        item=item,
        name=outcome.name,
        job_id=outcome.job_id if stored else None,
        array_id=outcome.array_id if stored else None,
        jobs=outcome.jobs,
        warnings=field_errors_out(outcome.warnings),
    )


class JobChangeIn(In):
    """What of a job's spec may change. What is absent stays; null goes back to the default."""

    priority: Literal["low", "normal", "high"] | None = None
    time_limit_seconds: Annotated[
        Seconds | None, Field(description="Binds the attempt that runs, too, counted from its start.")
    ] = None
    estimate_seconds: Seconds | None = None
    deadline: Annotated[str | None, Field(examples=["2026-12-01T08:00:00+08:00"])] = None
    labels: Annotated[dict[str, str] | None, Field(max_length=law.MOST_LABELS)] = None
    budget: Annotated[
        BudgetIn | None, Field(description="Of all attempts together; one that has cost more is stopped.")
    ] = None


class ArrayOut(Out):
    """How many jobs of an array were told."""

    array_id: str
    jobs: int

"""Job specs and submissions for tests: the least that is legal, and what the test names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scheduler.domain.gangs import Gang
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import JobSpec, ModelCheckpointSpec, Priority, Variant
from scheduler.domain.retries import ExitCodeRule, Retry
from scheduler.machine.messages import JobSubmitted

MODEL = "ascend-910b3"
OTHER_MODEL = "mlu370-x8"


def a_spec(
    name: str = "train",
    *,
    devices: int = 1,
    per_node: int | None = None,
    models: Sequence[str] = (MODEL,),
    queue: str = "default",
    priority: str = "normal",
    time_limit_s: int | None = None,
    max_attempts: int = 3,
    on_exit_codes: Sequence[int] = (),
    **more: Any,
) -> JobSpec:
    """A spec of a gang of whole devices."""
    on_node = devices if per_node is None else per_node
    return JobSpec(
        name=name,
        variants=tuple(Variant(model, ("/bin/true",)) for model in models),
        queue=queue,
        priority=Priority(priority),
        gang=Gang(devices, on_node, on_node),
        model_checkpoint=ModelCheckpointSpec(grace_seconds=30),
        time_limit_seconds=time_limit_s,
        retry=Retry(
            max_attempts=max_attempts,
            on_exit_codes=(ExitCodeRule(frozenset(on_exit_codes)),) if on_exit_codes else (),
        ),
        **more,
    )


def a_submission(job_id: str, spec: JobSpec, *, firm: str = "firm-a", at_ms: int = 0) -> JobSubmitted:
    """The message that makes a job wait."""
    return JobSubmitted(FirmId(firm), JobId(job_id), spec, at_ms, spec.name, spec.labels)


def with_speeds(spec: JobSpec, speeds: Mapping[str, int]) -> JobSpec:
    """Steps per hour by model."""
    variants = (Variant(model, ("/bin/true",), steps_per_hour=rate) for model, rate in speeds.items())
    return replace(spec, variants=tuple(variants))

"""In which order the variants of a job are tried: by predicted finish."""

from collections.abc import Mapping
from typing import NamedTuple

from scheduler.catalogue import Catalogue
from scheduler.domain.queues import Queue
from scheduler.planner.snapshot import Shape


class Candidate(NamedTuple):
    """One device model in one pool."""

    model: str
    pool: str


def candidates(shape: Shape, queue: Queue, catalogue: Catalogue) -> list[Candidate]:
    """Every (model, pool) that the job may use, the earliest predicted finish first.

    A gang has the same number of devices in every variant, so for a start now the finish is ordered by the
    catalogue's FP16 figure, the prior of speed. Models without a figure come last, in the spec's order;
    pools in the queue's order.
    """
    speeds: Mapping[str, int] = {model: catalogue.fp16_gflops(model) for model in shape.models}
    models = sorted(shape.models, key=lambda model: -speeds[model])  # stable: ties keep the spec's order
    return [Candidate(model, pool) for model in models for pool in queue.pools]

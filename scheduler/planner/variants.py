"""In which order the variants of a job are tried: by predicted finish, then price."""

from typing import NamedTuple

from scheduler.domain.queues import Queue
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import MINUTE_MS
from scheduler.planner.estimates import Estimates
from scheduler.planner.snapshot import Shape, Snapshot, WaitingJob


class Candidate(NamedTuple):
    """One device model in one pool."""

    model: str
    pool: str


# Models whose costs differ by less are equally good; then the one is taken where least is lost.
_AS_GOOD = 0.98


# A job that cannot move later waits for a faster model for so much of the time that the slower one costs it.
_WORTH_A_WAIT = 0.2


def better_later(
    shape: Shape, job: WaitingJob, model: str, estimates: Estimates, now_ms: int
) -> WhyNot | None:
    """Why a job that cannot be moved should not start on a slow model yet, or None.

    Who has waited for a part of what the slow model costs starts there: nobody waits for ever.
    """
    speed = estimates.speeds(shape).get(model, 0.0)
    if shape.resumable or not 0.0 < speed < 1.0:
        return None
    left_ms = estimates.left_ms(shape, job)
    if left_ms is None:
        return None
    later_ms = left_ms / speed - left_ms
    if now_ms - job.submitted_ms >= _WORTH_A_WAIT * later_ms:
        return None
    minutes = round(later_ms / MINUTE_MS)
    sentence = f"would end about {minutes} min later on {model} than on its fastest model, and cannot move"
    return WhyNot(Reason.FASTER_LATER, sentence, None, model, shape.devices, None)


def candidates(shape: Shape, queue: Queue, snapshot: Snapshot, estimates: Estimates) -> list[list[Candidate]]:
    """Every (model, pool) that the job may use, in groups: the earliest predicted finish first.

    A gang has the same number of devices in every variant, so for a start now the finish is ordered by speed;
    of equally fast models the cheaper. Models of one pool that are equal in both are one group. Pools come in
    the queue's order; ties keep the spec's order.
    """
    speeds = estimates.speeds(shape)
    prices = snapshot.prices
    cost = {model: estimates.cost(shape, model) for model in shape.models if speeds[model] > 0}
    models = sorted(cost, key=lambda model: (cost[model], prices.get(model, 0)))
    groups: list[list[str]] = []
    for model in models:
        first = groups[-1][0] if groups else None
        if (
            first is not None
            and cost[first] >= _AS_GOOD * cost[model]
            and prices.get(model, 0) == prices.get(first, 0)
        ):
            groups[-1].append(model)
        else:
            groups.append([model])
    return [[Candidate(model, pool) for model in group] for group in groups for pool in queue.pools]

"""Greedy policies in Gavel's rounds: every round each job may be anywhere, moves cost nothing.

`shortest` knows what is left of every job; `least_served` knows only how long each was served.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

ROUND_S = 360.0


@dataclass(slots=True)
class Job:
    """A job with its measured rates."""

    arrival_s: float
    devices: int
    steps_left: float
    rates: Mapping[str, float]  # steps per second by model
    served_s: float = 0.0  # run time at the fastest rate, for policies that do not know what is left
    finish_s: float | None = None

    @property
    def fastest(self) -> float:
        """Its best rate."""
        return max(self.rates.values())


Order = Callable[[Job, str], float]


def shortest(job: Job, model: str) -> float:
    """Device-time left on the model."""
    return job.devices * job.steps_left / job.rates[model]


def least_served(job: Job, model: str) -> float:
    """Device-time got so far, counted double where the model is half as fast as the best."""
    return (1.0 + job.devices * job.served_s) * job.fastest / job.rates[model]


def simulate(
    jobs: Sequence[Job], capacity: Mapping[str, int], order: Order, wanted: Sequence[Job] | None = None
) -> None:
    """Runs until the wanted jobs (all, where none are named) have ended. Cost of a round: active jobs."""
    coming = sorted(jobs, key=lambda job: job.arrival_s, reverse=True)
    wanted = list(jobs if wanted is None else wanted)
    active: list[Job] = []
    now_s = 0.0
    while any(job.finish_s is None for job in wanted):
        if not active and coming:
            now_s = max(now_s, coming[-1].arrival_s)
        while coming and coming[-1].arrival_s <= now_s:
            active.append(coming.pop())
        now_s = _round(active, dict(capacity), order, now_s)
        active = [job for job in active if job.finish_s is None]


def _round(active: Sequence[Job], free: dict[str, int], order: Order, now_s: float) -> float:
    """One round; returns when it is over."""
    ends_s = now_s
    pairs = [
        (order(job, model), number, model)
        for number, job in enumerate(active)
        for model, rate in job.rates.items()
        if rate > 0
    ]
    placed: set[int] = set()
    for _, number, model in sorted(pairs):
        job = active[number]
        if number in placed or free[model] < job.devices:
            continue
        placed.add(number)
        free[model] -= job.devices
        rate = job.rates[model]
        fits = math.floor(rate * ROUND_S)
        done = min(job.steps_left, float(fits) if fits else rate * ROUND_S)
        job.steps_left -= done
        job.served_s += done / job.fastest
        ends_s = max(ends_s, now_s + done / rate)
        if job.steps_left <= 0:
            job.finish_s = now_s + done / rate
    return ends_s if ends_s > now_s else now_s + ROUND_S

"""Where work would be done if all of it is to end as soon as can be, and how much of that time each job needs.

The linear program behind it has a row for each device model, which has so many devices, and one for each of the
longest jobs, which cannot be in two places at once. Both have prices: of an hour of a device, and of an hour of the
job. They are those at which everything would be through at once (its dual), found in a bounded number of steps.
"""

from typing import NamedTuple

import numpy as np

from scheduler.planner.rows import Bools, Floats, Ints

# Choices between models are soft at first, so that prices do not swing; each step makes them sharper.
_STEPS, _FIRST_CHOICE, _SHARPER = 100, 4.0, 1.04
_STEP, _LEAST_LOAD = 0.7, 0.05  # how far a price goes, by how much less than the most its row has to do
# Who has more to do than this part of all work spread over all devices is long: at most so many, the longest.
_LONG, _MOST_LONG = 0.25, 256
# Of more kinds those are one whose speeds are nearly the same: by steps, ever longer ones until they are no more.
_MOST_KINDS, _NEARLY = 512, 0.1
_DEAREST = 1e9  # what cannot run anywhere costs
_TINY = 1e-12


class Soonest(NamedTuple):
    """What the program says of each job."""

    fit: Floats  # (jobs, models): cost of its work where it is cheapest / cost there; 0 where it cannot run
    need: Floats  # (jobs): part of the time until all is through for which it has to run


def soonest(speeds: Floats, devices: Floats, left: Floats, capacity: Floats) -> Soonest:
    """All through at once, as soon as can be.

    `speeds` (jobs, models): 0 where a job cannot run. `devices` (jobs): it takes. `left` (jobs): its time at speed 1.
    `capacity` (models): devices. Cost: jobs x log, steps x (kinds + long jobs) x models; alike are jobs of one kind.
    """
    work = devices * left
    best = np.where(capacity > 0, speeds, 0.0).max(axis=1, initial=0.0)
    lasts = left * (best > 0) / np.maximum(best, _TINY)
    alone = _alone(lasts, work.sum() / max(capacity.sum(), _TINY))
    kinds, kind_of = _kinds(speeds[~alone])
    row_of = np.empty(len(left), dtype=np.int64)
    row_of[~alone] = kind_of
    row_of[alone] = len(kinds) + np.arange(alone.sum())
    rows = np.concatenate([kinds, speeds[alone]])
    works: Floats = np.bincount(row_of, weights=work, minlength=len(rows)).astype(np.float64)
    own = np.concatenate([np.zeros(len(kinds)), devices[alone]])
    fit, times, all_ends = _all_at_once(rows, works, own, capacity)
    return Soonest(fit[row_of], np.minimum(times[row_of] * left / max(all_ends, _TINY), 1.0))


def _alone(lasts: Floats, spread: float) -> Bools:
    """Who is so long, where it is quickest, that it has a row of its own.

    `spread`: time of all the work, at speed 1 on all devices.
    """
    alone = lasts > _LONG * spread
    if alone.sum() > _MOST_LONG:
        alone[np.argsort(-lasts, kind="stable")[_MOST_LONG:]] = False
    return alone


def _kinds(speeds: Floats) -> tuple[Floats, Ints]:
    """Their speeds, and the kind of each job."""
    kinds, kind_of = np.unique(speeds, axis=0, return_inverse=True)
    step = _NEARLY
    while len(kinds) > _MOST_KINDS and step <= speeds.max():
        nearly = np.where(speeds > 0, np.maximum((speeds / step).round(), 1.0) * step, 0.0)
        kinds, kind_of = np.unique(nearly, axis=0, return_inverse=True)
        step *= 2.0
    return kinds, kind_of.ravel()


def _all_at_once(
    speeds: Floats, works: Floats, own: Floats, capacity: Floats
) -> tuple[Floats, Floats, float]:
    """Fit of each row, its time for a unit of work, and when all is through.

    `works` (rows): device-time at speed 1. `own` (rows): devices of a job that is a row by itself, 0 for many jobs.
    """
    able = (speeds > 0) & (capacity > 0)
    room, single = np.maximum(capacity, _TINY), own > 0
    a_job = np.where(single, own, 1.0)
    times = np.where(able, 1.0 / np.where(able, speeds, 1.0), 0.0)  # of a unit of work
    prices, wages = (
        np.ones(len(capacity)),
        single.astype(np.float64),
    )  # of a device, and of a device of the job
    choice = _FIRST_CHOICE
    for _ in range(_STEPS):
        costs = np.where(able, times * (prices + wages[:, None]), np.inf)
        cheapest = costs.min(axis=1, initial=_DEAREST)
        ratios = cheapest[:, None] / costs
        shares = ratios**choice
        shares /= np.maximum(shares.sum(axis=1), _TINY)[:, None]
        taken = shares * times
        row_times = taken.sum(axis=1)
        loads, lasts = works @ taken / room, np.where(single, works * row_times / a_job, 0.0)
        most = max(float(loads.max()), float(lasts.max(initial=0.0)), _TINY)
        prices *= np.maximum(loads / most, _LEAST_LOAD) ** (_STEP / choice)
        wages *= np.maximum(lasts / most, _LEAST_LOAD) ** (_STEP / choice)
        scale = room.sum() / (room @ prices + own @ wages)
        prices, wages = prices * scale, wages * scale
        choice *= _SHARPER
    return ratios, row_times, most

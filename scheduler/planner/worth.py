"""What it is worth to run a job on a device model now, beside the others that are traded with it."""

import numpy as np

from scheduler.domain.time import HOUR_MS, MINUTE_MS
from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import LEAST_SPEED, Estimates
from scheduler.planner.floor import Floor
from scheduler.planner.rows import Floats
from scheduler.planner.soonest import soonest
from scheduler.planner.stoppable import lost_work_ms

# What the market gives is asked for again in about this time: within it a move must pay, however long the rest.
_LASTS_MS = 10.0 * MINUTE_MS
# Beside how late it will be every job weighs so much as if it were late: among those who are well in time lateness
# decides little, and the work that is done soonest comes first.
_IN_TIME = 0.4
# Where the profile says so, who has had so much and has at least as much to go weighs half of who has had nothing.
_LITTLE_MS = 12.0 * HOUR_MS
# Where all is to end soonest a model counts by this power of how well it fits: who needs a place more does not get one
# where others do much more work, and prices that are nearly right do as well as those that are.
_CHOOSY = 8.0
# There who has to run all the time until all is through counts e to this as much as who needs next to none of it. Less
# would let nobody make way for him where a start costs a minute, more lets those take turns who need about the same.
_NEEDED = 3.0


def worth_of(
    floor: Floor, estimates: Estimates, now_ms: int, config: PlannerConfig, *, saved: bool = False
) -> Floats:
    """What it is worth to run each job on each model now: (jobs, models). `saved`: as if all had just saved."""
    policy = config.policy
    traders, models = floor.traders, floor.models
    of_shapes = estimates.of_each(floor.shapes, lambda speeds: [speeds.get(model, 0.0) for model in models])
    speeds = floor.of_shape(of_shapes)
    left_ms = np.maximum(traders.left_ms, 1000.0)
    # Work that is done soon first; who would end later than alone on a fair share is worth more, the more the
    # longer he waits, and what is long compared with all there is to do must not be the last to end.
    weight = left_ms**-policy.short_first
    served_ms = traders.served_ms.astype(np.float64)
    if policy.little_had:
        weight *= (1.0 + np.minimum(served_ms, left_ms) / _LITTLE_MS) ** -policy.little_had
    devices = np.array([float(shape.devices) for shape in floor.shapes])
    if policy.behind:
        fair_speeds = floor.of_shape(fair_speed(np.array(of_shapes), devices, floor.capacity / len(traders)))
        waited_ms = np.maximum(0.0, now_ms - traders.submitted_ms.astype(np.float64))
        weight *= _IN_TIME + ((waited_ms + left_ms) * fair_speeds / (served_ms + left_ms)) ** policy.behind
    if policy.long_first:
        weight *= 1.0 + policy.long_first * (left_ms / max(estimates.horizon_ms(), 1.0)) ** 2
    asked = floor.asked
    weight *= floor.of_shape(devices**policy.for_gangs)
    if policy.all_soonest:
        program = soonest(np.where(floor.unseated, 0.0, speeds), asked, left_ms, floor.capacity)
        weight *= asked * np.exp(_NEEDED * program.need)
        speeds = program.fit**_CHOOSY
    values: Floats = np.where(floor.unseated, 0.0, weight[:, None] * speeds)
    if floor.running:
        lost_ms = [0 if saved else lost_work_ms(running, now_ms) for running in floor.running]
        cost_ms = np.add([running.shape.restart_ms for running in floor.running], lost_ms)
        least_ms = np.maximum(np.minimum(traders.left_ms[floor.runs_at], _LASTS_MS), config.min_run_ms)
        gain = (policy.move_for_gain or 0.0) * cost_ms / least_ms
        values[floor.runs_at, floor.runs_on[floor.runs_at]] *= 1.05 + gain
    return values


def fair_speed(speeds: Floats, devices: Floats, share: Floats) -> Floats:
    """Speed of each on a fair share of every model, the fastest first.

    `speeds` (jobs, models), `devices` (jobs): how many it takes, `share` (models): devices that are one job's share.
    """
    order = np.argsort(-speeds, axis=1, kind="stable")
    left, found = np.ones(len(speeds)), np.zeros(len(speeds))
    for fastest in order.T:
        part = np.minimum(left, share[fastest] / devices)
        found += part * speeds[np.arange(len(speeds)), fastest]
        left -= part
    return np.maximum(found, LEAST_SPEED)

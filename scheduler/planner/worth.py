"""What it is worth to run a job on a device model now, beside the others that are traded with it."""

import numpy as np

from scheduler.domain.time import HOUR_MS, MINUTE_MS
from scheduler.planner.config import PlannerConfig, Policy
from scheduler.planner.estimates import Estimates, fair_speed
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
# Where all are here who are to be through together, he counts e to this as much among those who are in time. By this
# power of it: who can wait for some of the time lets short jobs by, or the average would pay for the end.
_PRESSING, _PRESSED = 2.0, 8.0
_SURE_ENOUGH = 0.05  # that all are here: below it the program is not asked


def worth_of(
    floor: Floor, estimates: Estimates, now_ms: int, config: PlannerConfig, *, saved: bool = False
) -> Floats:
    """What it is worth to run each job on each model now: (jobs, models). `saved`: as if all had just saved."""
    policy = config.policy
    shapes = [trader.shape for trader in floor.traders]
    speeds = np.array(
        estimates.of_each(shapes, lambda speeds, _: [speeds.get(model, 0.0) for model in floor.models])
    )
    left_ms = np.maximum(np.array([trader.left_ms for trader in floor.traders]), 1000.0)
    # Work that is done soon first; who would end later than alone on a fair share is worth more, the more the
    # longer he waits, and what is long compared with all there is to do must not be the last to end.
    weight = left_ms**-policy.short_first
    served_ms = np.array([float(trader.job.served_ms) for trader in floor.traders])
    if policy.little_had:
        weight *= (1.0 + np.minimum(served_ms, left_ms) / _LITTLE_MS) ** -policy.little_had
    if policy.long_first:
        weight *= 1.0 + policy.long_first * (left_ms / max(estimates.horizon_ms(), 1.0)) ** 2
    asked = np.array([float(trader.shape.devices) for trader in floor.traders])
    weight *= asked**policy.for_gangs
    if policy.all_soonest:
        program = soonest(np.where(floor.unseated, 0.0, speeds), asked, left_ms, floor.capacity)
        weight *= asked * np.exp(_NEEDED * program.need)
        speeds = program.fit**_CHOOSY
    if policy.behind:
        speeds = speeds * _urgency(floor, estimates, now_ms, policy, speeds, left_ms)
    values: Floats = np.where(floor.unseated, 0.0, weight[:, None] * speeds)
    for at, trader in enumerate(floor.traders):
        running = trader.running
        if running is not None:
            cost_ms = trader.shape.restart_ms + (0 if saved else lost_work_ms(running, now_ms))
            gain = (
                (policy.move_for_gain or 0.0)
                * cost_ms
                / max(min(trader.left_ms, _LASTS_MS), config.min_run_ms)
            )
            values[at, floor.models.index(running.model)] *= 1.05 + gain
    return values


def _urgency(
    floor: Floor, estimates: Estimates, now_ms: int, policy: Policy, speeds: Floats, left_ms: Floats
) -> Floats:
    """How much each job weighs by its lateness, and while it is in time by what ends all soonest: (jobs, models).

    Late is who will have taken longer, if he goes on now, than alone on a fair share of every model. As surely as all
    are here who are to be through together, late is who is later than the others, and the end of all counts for those
    who are not. Where others go on to come there is no such end.
    """
    shapes = [trader.shape for trader in floor.traders]
    fair = dict(zip(floor.models, (floor.capacity / len(shapes)).tolist(), strict=True))
    fair_speeds = np.array(
        estimates.of_each(shapes, lambda speeds, devices: fair_speed(speeds, devices, fair))
    )
    submitted_ms = np.array([float(trader.job.submitted_ms) for trader in floor.traders])
    served_ms = np.array([float(trader.job.served_ms) for trader in floor.traders])
    late = (np.maximum(0.0, now_ms - submitted_ms) + left_ms) * fair_speeds / (served_ms + left_ms)
    in_time = np.full((len(shapes), 1), _IN_TIME)
    sure = estimates.all_here(now_ms)
    if sure >= _SURE_ENOUGH:
        asked = np.array([float(shape.devices) for shape in shapes])
        program = soonest(np.where(floor.unseated, 0.0, speeds), asked, left_ms, floor.capacity)
        late /= max(1.0, float(late.mean())) ** sure
        in_time = (
            in_time
            * np.exp(_PRESSING * sure * program.need**_PRESSED)[:, None]
            * program.fit ** (_CHOOSY * sure)
        )
    urgency: Floats = in_time + late[:, None] ** policy.behind
    return urgency

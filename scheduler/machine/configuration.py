"""What operators configured, as the machine keeps it: quotas, the calendar, prices, budgets."""

from collections.abc import Mapping

from scheduler.domain.jobs import JobState
from scheduler.machine import queueing
from scheduler.machine.messages import ConfigurationChanged
from scheduler.machine.state import ClusterState
from scheduler.planner.snapshot import Hole


def configure(state: ClusterState, message: ConfigurationChanged, now_ms: int) -> None:
    """Takes the configuration over, whole."""
    state.pools = dict(message.pools)
    state.queues = {queue.key: queue for queue in message.queues}
    state.cohorts = {cohort.name: cohort for cohort in message.cohorts}
    state.calendar = message.calendar
    state.prices = message.prices
    state.spending.configure(message.budgets, now_ms)
    for job in state.jobs.values():
        if (job.spec.budget is not None or job.attempts) and job.state is JobState.QUEUED:
            queueing.settle(state, job, now_ms)  # what it has cost, and may cost again, may be another sum
    if state.places != message.places:
        state.places = dict(message.places)
        for node in state.nodes.values():
            node.view = None


def calendar_at(state: ClusterState, now_ms: int) -> tuple[Hole, ...]:
    """What of the calendar is open or to come."""
    return tuple(hole for hole in state.calendar if hole.until_ms > now_ms)


def calendar_turns(state: ClusterState, since_ms: int, now_ms: int) -> bool:
    """Whether something begins, ends or has to be drained in (since, now]. Cost: O(calendar)."""
    return any(since_ms < at_ms <= now_ms for hole in state.calendar for at_ms in hole.edges_ms)


def prices_at(state: ClusterState, now_ms: int) -> Mapping[str, int]:
    """Nano CNY for a device-hour by model. Cost: O(price versions)."""
    return {price.model: price.price_nano_cny for price in state.prices if price.from_ms <= now_ms}

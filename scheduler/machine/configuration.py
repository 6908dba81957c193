"""What operators configured, as the machine keeps it."""

from scheduler.machine.messages import ConfigurationChanged
from scheduler.machine.state import ClusterState


def configure(state: ClusterState, message: ConfigurationChanged) -> None:
    """Takes the configuration over, whole."""
    state.pools = dict(message.pools)
    state.queues = {queue.key: queue for queue in message.queues}
    state.cohorts = {cohort.name: cohort for cohort in message.cohorts}

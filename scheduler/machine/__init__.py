"""The controller's state machine: messages in, changes out; the big state is changed in place.

Belongs here: every rule by which jobs, attempts, allocations and nodes move from state to state.
Does not belong here: I/O, clocks, randomness (times and ids come in as arguments), and decisions about
placement, which the planner makes and `apply_plan` carries out. When a commit fails or its outcome is
unknown, the state is thrown away and loaded again.
"""

from scheduler.machine.apply import announce, apply, apply_plan, tell_left_out
from scheduler.machine.changes import Changes, Event
from scheduler.machine.snapshots import take_snapshot, unseen
from scheduler.machine.state import ClusterState, MachineConfig

__all__ = [
    "Changes",
    "ClusterState",
    "Event",
    "MachineConfig",
    "announce",
    "apply",
    "apply_plan",
    "take_snapshot",
    "tell_left_out",
    "unseen",
]

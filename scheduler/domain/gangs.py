"""How many devices a job wants, in which shape, how close together, and which part of each."""

from dataclasses import dataclass
from enum import StrEnum

MOST_RANK = 10_000_000  # which no gang reaches


class Domain(StrEnum):
    """What devices may have in common, the closest first."""

    FAST_LINK_GROUP = "fast-link-group"  # joined by HCCS, MLU-Link, NVLink and the like
    NODE = "node"
    LEAF = "leaf"
    SUPERNODE = "supernode"
    ZONE = "zone"


@dataclass(frozen=True, slots=True)
class Elastic:
    """The gang may run with any number of nodes whose devices lie in this range."""

    min_devices: int  # a multiple of devices_per_node, at most the gang's devices
    max_devices: int  # a multiple of devices_per_node, at least the gang's devices


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """Tasks of one gang that are alike: learners and actors, trainers and reward models."""

    name: str
    tasks: int = 1
    devices_per_task: int = 1
    processes_per_task: int = 1
    command: tuple[str, ...] = ()  # empty: the variant's


@dataclass(frozen=True, slots=True)
class Gang:
    """Tasks that start together or not at all, each on a node of its own with the same number of devices.

    With `groups` the tasks differ: `devices` is then the sum, ranks go through the groups in order, and
    `devices_per_node` and `processes_per_node` are the largest of any group.
    """

    devices: int = 1
    devices_per_node: int = 1
    processes_per_node: int = 1
    elastic: Elastic | None = None
    groups: tuple[TaskGroup, ...] = ()
    spare_nodes: int = 0  # kept beside the gang, to go on at once when a node fails

    @property
    def tasks(self) -> int:
        """How many tasks, and therefore nodes."""
        if self.groups:
            return sum(group.tasks for group in self.groups)
        return self.devices // self.devices_per_node

    @property
    def sizes(self) -> range:
        """Numbers of tasks with which it may run, the least first."""
        if self.elastic is None:
            return range(self.tasks, self.tasks + 1)
        least, most = self.elastic.min_devices, self.elastic.max_devices
        return range(least // self.devices_per_node, most // self.devices_per_node + 1)

    @property
    def held_devices(self) -> int:
        """How many devices it holds at its own size, with its spare nodes."""
        return self.devices + self.spare_nodes * self.devices_per_node

    @property
    def held_sizes(self) -> range:
        """Numbers of devices that an elastic gang may hold, with its spare nodes; empty for another."""
        if self.elastic is None:
            return range(0)
        per_node, spare = self.devices_per_node, self.spare_nodes
        return range((self.sizes[0] + spare) * per_node, (self.sizes[-1] + spare) * per_node + 1, per_node)

    def group_of(self, rank: int) -> tuple[TaskGroup, int] | None:
        """The group of a task and its rank within it; None where all tasks are alike."""
        for group in self.groups:
            if rank < group.tasks:
                return group, rank
            rank -= group.tasks
        return None

    def devices_of(self, rank: int) -> int:
        """How many devices a task has; a spare has as many as the largest."""
        found = self.group_of(rank)
        return self.devices_per_node if found is None else found[0].devices_per_task

    def processes_of(self, rank: int) -> int:
        """How many processes a task has."""
        found = self.group_of(rank)
        return self.processes_per_node if found is None else found[0].processes_per_task

    def first_process(self, rank: int) -> int:
        """Rank in the whole gang of a task's first process; of the task after the last, how many there are."""
        if not self.groups:
            return rank * self.processes_per_node
        return sum(self.processes_of(earlier) for earlier in range(rank))

    def place_of(self, process: int) -> tuple[int, int]:
        """(rank of the task, local rank) of a process by its rank in the whole gang."""
        if not self.groups:
            return divmod(process, self.processes_per_node)
        for rank in range(self.tasks):
            if process < self.processes_of(rank):
                return rank, process
            process -= self.processes_of(rank)
        return self.tasks, process


@dataclass(frozen=True, slots=True)
class Topology:
    """How close the gang must or should be. Without either the planner looks for the smallest domain."""

    required: Domain | None = None  # all tasks inside one, or the job waits
    preferred: Domain | None = None  # tried first


@dataclass(frozen=True, slots=True)
class Share:
    """Each of the gang's devices is a part of a physical one. What is None follows from the other."""

    ppm: int | None = None  # of the device's compute, 1 to 1,000,000
    memory_bytes: int | None = None

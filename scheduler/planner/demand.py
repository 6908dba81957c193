"""What one task asks of one node, and which tasks are typical: a cluster is kept whole for them."""

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import NamedTuple

from scheduler.domain.devices import WHOLE_PPM
from scheduler.planner.snapshot import Shape, Snapshot

# Typical demands that are looked at; the rarest of more than these say little about what comes next.
MOST_TYPICAL = 48


class Demand(NamedTuple):
    """A task's needs on a node: so many devices, of each a share, and a part of the host."""

    devices: int
    ppm: int = WHOLE_PPM
    device_bytes: int = 0
    cpu_milli: int = 0
    memory_bytes: int = 0
    firm: str = ""  # whose; told of parts of devices only, as they are not for everybody

    @property
    def asked_ppm(self) -> int:
        """All device shares together."""
        return self.devices * self.ppm

    @property
    def whole(self) -> bool:
        """Whether it takes whole devices."""
        return bool(self.devices) and self.ppm >= WHOLE_PPM

    @property
    def of_host(self) -> bool:
        """Whether it counts host resources or device memory."""
        return bool(self.cpu_milli or self.memory_bytes or self.device_bytes)


def demand_of(shape: Shape, devices: int | None = None) -> Demand:
    """What a task of a shape asks for; the last task of an uneven gang has fewer devices."""
    count = min(shape.devices, shape.devices_per_node) if devices is None else devices
    firm = "" if shape.whole else shape.queue.firm_id
    return Demand(count, shape.share_ppm, shape.share_memory_bytes, shape.cpu_milli, shape.memory_bytes, firm)


def sizes_of(shape: Shape) -> tuple[tuple[int, int], ...]:
    """(tasks, devices of each) of a gang, the largest tasks first: those of its groups, or all and the rest."""
    sizes: dict[int, int] = {}
    for tasks, devices in shape.groups or _all_and_rest(shape):
        if tasks:
            sizes[devices] = sizes.get(devices, 0) + tasks
    return tuple((sizes[devices], devices) for devices in sorted(sizes, reverse=True))


def _all_and_rest(shape: Shape) -> tuple[tuple[int, int], ...]:
    count = min(shape.devices, shape.devices_per_node)
    rest = shape.devices % shape.devices_per_node if shape.tasks > 1 else 0
    return (shape.tasks - bool(rest), count), (bool(rest), rest)


class Typical(NamedTuple):
    """A demand that comes with some frequency, and the models that it may use."""

    demand: Demand
    models: frozenset[str] | None  # None: any
    weight: float


Mix = tuple[Typical, ...]

# What is expected where nobody has asked for anything yet.
USUAL_MIX: Mix = tuple(Typical(Demand(count), None, 0.25) for count in (1, 2, 4, 8))


def mix_of(snapshot: Snapshot) -> Mix:
    """The typical demands of what waits and runs. Cost: O(classes + running jobs)."""
    shapes = [item.shape for item in snapshot.classes]
    shapes += [running.shape for running in snapshot.running]
    if not any(map(_in_parts, shapes)):
        return USUAL_MIX  # whole devices alone: their sizes are known beforehand, and plans stay comparable
    counts: dict[tuple[Demand, frozenset[str]], float] = {}
    for shape, jobs in _alike(snapshot):
        _count(counts, shape, jobs)
    mix = mix_from(counts)
    if any(demand.whole for demand, _ in counts):
        return mix
    # Parts alone: devices are kept whole all the same, for who asks for them tomorrow.
    halved = [typical._replace(weight=typical.weight / 2) for typical in (*mix, *USUAL_MIX)]
    return tuple(halved[:MOST_TYPICAL])


def _alike(snapshot: Snapshot) -> Iterable[tuple[Shape, int]]:
    """One shape of all that ask for the same, and how many jobs do."""
    jobs: dict[tuple[object, ...], int] = {}
    shapes: dict[tuple[object, ...], Shape] = {}
    everybody = [(item.shape, len(item.jobs)) for item in snapshot.classes]
    everybody += [(running.shape, 1) for running in snapshot.running]
    for shape, number in everybody:
        key = _ASKED(shape)
        jobs[key] = jobs.get(key, 0) + number
        shapes.setdefault(key, shape)
    return [(shape, jobs[key]) for key, shape in shapes.items()]


_ASKED = attrgetter(
    "devices",
    "devices_per_node",
    "groups",
    "share_ppm",
    "cpu_milli",
    "memory_bytes",
    "share_memory_bytes",
    "models",
)


def _in_parts(shape: Shape) -> bool:
    """Whether it asks for more, or for less, than whole devices."""
    if shape.share_ppm < WHOLE_PPM or not shape.devices:
        return True
    return bool(shape.cpu_milli or shape.memory_bytes or shape.share_memory_bytes)


def mix_from(counts: Mapping[tuple[Demand, frozenset[str]], float]) -> Mix:
    """A mix from numbers of tasks; demands without devices do not need the cluster whole."""
    items = [(key, weight) for key, weight in counts.items() if key[0].devices]
    items.sort(key=lambda item: (-item[1], item[0][0], tuple(sorted(item[0][1]))))
    chosen = items[:MOST_TYPICAL]
    total = sum(weight for _, weight in chosen)
    return tuple(Typical(demand, models, weight / total) for (demand, models), weight in chosen)


def count_tasks(
    counts: dict[tuple[Demand, frozenset[str]], float], shapes: Iterable[tuple[Shape, int]]
) -> None:
    """Counts the tasks of so many jobs of each shape in."""
    for shape, jobs in shapes:
        _count(counts, shape, jobs)


def _count(counts: dict[tuple[Demand, frozenset[str]], float], shape: Shape, jobs: int) -> None:
    key = (demand_of(shape)._replace(firm=""), frozenset(shape.models))
    counts[key] = counts.get(key, 0.0) + jobs * shape.tasks

"""Whether an entry of the calendar may stand there: whose it is, its nodes, its times, and what is reserved already."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scheduler.domain.configuration_reading import CalendarEntry
from scheduler.domain.ids import FirmId, NodeId
from scheduler.domain.queues import QueueKey
from scheduler.domain.suggestions import one_of
from scheduler.domain.time import to_rfc3339

Refuse = Callable[[str, object, str], None]  # field, what stands there, what is wanted


@dataclass(frozen=True, slots=True)
class Planned:
    """A stretch of time in which nodes are not for everybody. `queue` None: maintenance."""

    from_ms: int
    until_ms: int
    nodes: frozenset[NodeId]
    queue: QueueKey | None = None


@dataclass(frozen=True, slots=True)
class MayReserve:
    """A queue as far as the calendar needs it."""

    firm_id: FirmId
    pools: Sequence[str]


@dataclass(frozen=True, slots=True)
class Known:
    """What an entry may name, and what is planned already."""

    nodes: Mapping[str, tuple[NodeId, str]]  # id and pool, by name
    pools: Sequence[str]
    queues: Mapping[tuple[str, str], MayReserve]  # by the names of firm and queue
    planned: Mapping[str, Planned]  # by name


def planned_by(entry: CalendarEntry, known: Known, now_ms: int, refuse: Refuse) -> Planned:
    """What the entry plans. What is wrong with it is refused by its field; then nobody may carry it out."""
    whose = _whose(entry, known, refuse)
    stretch = Planned(entry.from_ms, entry.until_ms, _node_ids(entry, known, refuse), whose)
    _check_times(entry, known.planned.get(entry.name), now_ms, refuse)
    _refuse_clash(entry, stretch, known.planned, refuse)
    return stretch


def _whose(entry: CalendarEntry, known: Known, refuse: Refuse) -> QueueKey | None:
    if entry.firm is None or entry.queue is None:
        return None
    queue = known.queues.get((entry.firm, entry.queue))
    if queue is None:
        firms = sorted({firm for firm, _ in known.queues})
        if entry.firm not in firms:
            refuse(f"{entry.where}.firm", entry.firm, one_of(entry.firm, firms))
        else:
            queues = sorted(name for firm, name in known.queues if firm == entry.firm)
            refuse(f"{entry.where}.queue", entry.queue, one_of(entry.queue, queues))
        return None
    # What a queue may not use nobody could use while it is reserved for it.
    want = f"in a pool of queue {entry.queue}: {', '.join(queue.pools)}"
    if entry.pool in known.pools and entry.pool not in queue.pools:
        refuse(f"{entry.where}.pool", entry.pool, want)
    for number, name in enumerate(entry.nodes):
        if name in known.nodes and known.nodes[name][1] not in queue.pools:
            refuse(f"{entry.where}.nodes[{number}]", name, want)
    return QueueKey(queue.firm_id, entry.queue)


def _node_ids(entry: CalendarEntry, known: Known, refuse: Refuse) -> frozenset[NodeId]:
    if entry.pool is not None:
        if entry.pool not in known.pools:
            refuse(f"{entry.where}.pool", entry.pool, one_of(entry.pool, known.pools))
        return frozenset(node_id for node_id, pool in known.nodes.values() if pool == entry.pool)
    for number, name in enumerate(entry.nodes):
        if name not in known.nodes:
            refuse(f"{entry.where}.nodes[{number}]", name, one_of(name, sorted(known.nodes)))
    return frozenset(known.nodes[name][0] for name in entry.nodes if name in known.nodes)


def _check_times(entry: CalendarEntry, was: Planned | None, now_ms: int, refuse: Refuse) -> None:
    """A file that is applied again later says the same of what has begun: that is no mistake."""
    if was is not None and (was.from_ms, was.until_ms) == (entry.from_ms, entry.until_ms):
        return
    now = to_rfc3339(now_ms)
    if entry.until_ms <= now_ms:
        refuse(f"{entry.where}.until", to_rfc3339(entry.until_ms), f"a time after now ({now})")
    elif entry.from_ms < now_ms and (was is None or was.from_ms != entry.from_ms):
        began = was is not None and was.from_ms <= now_ms
        want = f"{to_rfc3339(was.from_ms)}: it has begun" if was and began else f"a time from now on ({now})"
        refuse(f"{entry.where}.from", to_rfc3339(entry.from_ms), want)


def _refuse_clash(
    entry: CalendarEntry, stretch: Planned, planned: Mapping[str, Planned], refuse: Refuse
) -> None:
    """Two reservations of one node at one time cannot both hold."""
    for name, other in planned.items():
        if name == entry.name or stretch.queue is None or other.queue is None:
            continue  # maintenance goes before reservations
        meanwhile = stretch.from_ms < other.until_ms and other.from_ms < stretch.until_ms
        if meanwhile and stretch.nodes & other.nodes:
            want = f"nodes or times that {name} has not reserved"
            refuse(f"{entry.where}.nodes", ", ".join(entry.nodes) or entry.pool or "", want)

"""Puts into numbers and words why a job does not start, and what would let it start."""

from collections.abc import Iterable, Sequence

import numpy as np

from scheduler.catalogue import ShapeRule
from scheduler.domain.features import Feature
from scheduler.domain.queues import Queue
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import to_rfc3339
from scheduler.planner.cells import Cell
from scheduler.planner.demand import sizes_of
from scheduler.planner.feasibility import gang_too_large, plural, shape_not_allowed
from scheduler.planner.layouts import bits
from scheduler.planner.reach import with_room
from scheduler.planner.rows import Ints
from scheduler.planner.snapshot import Hole, Shape
from scheduler.planner.variants import Candidate


def why_no_room(
    shape: Shape, candidate: Candidate, cell: Cell | None, rule: ShapeRule, holes: Sequence[Hole] = ()
) -> WhyNot:
    """Why no devices of one model in one pool could be given. Cost: O(sizes of nodes + nodes held).

    `holes`: what of the calendar keeps nodes now.
    """
    model, pool = candidate
    count, tasks = min(shape.devices, shape.devices_per_node), shape.tasks
    if cell is None:
        return WhyNot(
            Reason.NO_SUCH_DEVICES, f"pool {pool} has no {model}", pool, model, shape.devices, 0
        )  # fmt: skip
    for _, size in sizes_of(shape) if rule.counts is not None else ():
        if not rule.allows_count(size):
            return shape_not_allowed(model, size, sorted(rule.counts or ()))
    if not shape.whole:
        return _no_part(shape, candidate, cell, holes)
    nodes = cell.nodes_with(count)
    if nodes < tasks:
        return gang_too_large(model, shape.devices, count, nodes, pool)
    healthy = cell.healthy_nodes_with(count)
    asks = f"asks for {tasks} x {count} {model}" if tasks > 1 else f"asks for {count} {model}"
    free, opened = cell.free_devices, cell.open_devices
    if healthy < tasks:
        reason, available = Reason.DEVICES_UNAVAILABLE, healthy * count
        sentence = f"{asks}; {_only(healthy)} of pool {pool} with {count} or more in service"
    elif (kept := _kept(shape, cell, cell.with_room(count), holes, asks)) is not None:
        (reason, sentence), available = kept, opened
    elif (told := _closed_or_apart(shape, cell, count, asks, pool)) is not None:
        reason, available, sentence = told
    elif free >= shape.devices:
        reason, available = Reason.DEVICES_FRAGMENTED, free
        room = cell.with_room(count)
        sentence = f"{asks}; {free} are free in pool {pool}, {_only(room)} with room for {count}"
        if room >= tasks:
            sentence = f"{asks}; {free} are free in pool {pool}, but not in sets that the job may take"
    else:
        reason, available = Reason.DEVICES_BUSY, free
        sentence = f"{asks}; {free} are free in pool {pool}"
    return WhyNot(reason, sentence, pool, model, shape.devices, available)


def _only(nodes: int) -> str:
    return f"only {plural(nodes, 'node')}" if nodes else "no node"


def _kept(shape: Shape, cell: Cell, room: int, holes: Sequence[Hole], asks: str) -> tuple[Reason, str] | None:
    """Where what is free is kept, for the calendar or an earlier job: without that more than `room` nodes had some."""
    count = min(shape.devices, shape.devices_per_node)
    free, kept, pool = cell.free_devices, cell.free_devices - cell.open_devices, cell.pool
    if (booked := _booked(shape, cell, count, holes)) is not None:
        return Reason.MAINTENANCE, f"{asks}; {free} are free in pool {pool}, {kept} of them {booked}"
    if not (cell.held_rows and cell.with_room_counting_held(count) >= shape.tasks > room):
        return None
    sentence = f"{asks}; {free} are free in pool {pool}, {kept} of them kept for earlier jobs"
    return Reason.DEVICES_RESERVED, sentence


def _booked(shape: Shape, cell: Cell, count: int, holes: Sequence[Hole]) -> str | None:
    """Where the calendar is what keeps the job from starting: until when, and why."""
    others = [h for h in holes if h.queue != shape.queue and not h.nodes.isdisjoint(cell.row_of)]
    if not others:
        return None
    rows = {cell.row_of[node_id] for hole in others for node_id in hole.nodes if node_id in cell.row_of}
    parts = [cell.parts[row] for row in rows]
    rooms = sum((part.free | part.kept).bit_count() >= count for part in parts)
    without = cell.with_room_counting_held(count) - rooms
    if not without < shape.tasks <= without + rooms:
        return None
    return _until(others)


def _until(others: Sequence[Hole]) -> str:
    """For how long the calendar keeps nodes, and why."""
    first = min(others, key=lambda hole: (hole.from_ms, hole.until_ms))
    begin, end = to_rfc3339(first.from_ms), to_rfc3339(first.until_ms)
    if len({(hole.from_ms, hole.until_ms, hole.queue) for hole in others}) > 1:
        return f"in maintenance or reserved, from {begin} on"
    if first.queue is not None:
        return f"reserved from {begin} to {end}"
    return f"in maintenance from {begin} to {end}" + (f" ({first.why})" if first.why else "")


def _kept_part(shape: Shape, cell: Cell, holes: Sequence[Hole], asks: str) -> tuple[Reason, str] | None:
    """Where enough was left of a shared device before the cycle, and is kept for the calendar or an earlier job.

    Cost: the devices of nodes that the cycle changed.
    """
    pool = cell.pool
    left = [
        (part.on_node.devices[at].room_ppm, -row)
        for row, part in ((row, cell.parts[row]) for row in cell.touched)
        for at in bits(part.reserved & part.shared)
        if not cell.ppm[row, at]
    ]
    most, row = max(left, default=(0, 0))
    if most < shape.share_ppm:
        return None
    node_id = cell.parts[-row].node_id
    others = [hole for hole in holes if hole.queue != shape.queue and node_id in hole.nodes]
    if others:
        how = _until(others)
        return Reason.MAINTENANCE, f"{asks}; at most {most} ppm of one device are free in pool {pool}, {how}"
    sentence = f"{asks}; at most {most} ppm of one device are free in pool {pool}, kept for earlier jobs"
    return Reason.DEVICES_RESERVED, sentence


def _no_part(shape: Shape, candidate: Candidate, cell: Cell, holes: Sequence[Hole]) -> WhyNot:
    """Why nowhere is so large a part of a device free."""
    model, pool = candidate
    open_to = cell.ppm >= shape.share_ppm
    room = int(np.count_nonzero(open_to))
    most = int(cell.ppm.max(initial=0))
    asks = f"asks for {shape.share_ppm} ppm of {plural(shape.devices, model)}"
    reason = Reason.DEVICES_BUSY
    sentence = f"{asks}; at most {most} ppm of one device are free in pool {pool}"
    if not most:
        sentence = f"{asks}; nothing of any device is free in pool {pool}"
    fits = np.flatnonzero(open_to.any(axis=1))
    if not len(fits):
        kept = _kept(shape, cell, 0, holes, asks) or _kept_part(shape, cell, holes, asks)
        if kept is not None:
            return WhyNot(*kept, pool, model, shape.devices, room)
    if len(fits) and np.isin(fits, cell.abilities.lacking(shape.needs_on(model))).all():
        reason, unable = _unable(shape, cell, fits, pool)
        return WhyNot(reason, f"{asks}; {unable}", pool, model, shape.devices, 0)
    if room:
        reason = Reason.ONE_FIRM_NODES
        sentence = (
            f"{asks}; what is free in pool {pool} is on devices or nodes that another firm has for itself"
        )
        if shape.tasks > 1:
            reason = Reason.DEVICES_FRAGMENTED
            sentence = (
                f"{asks}; {plural(room, 'device')} of pool {pool} have so much, on too few nodes for it"
            )
    return WhyNot(reason, sentence, pool, model, shape.devices, room)


def _closed_or_apart(
    shape: Shape, cell: Cell, count: int, asks: str, pool: str
) -> tuple[Reason, int, str] | None:
    """Where room is not what is missing: other firms have the nodes for themselves, or they are far apart."""
    room, able, ours, together = with_room(shape, cell, count)
    tasks = shape.tasks
    if room >= tasks > able:
        reason, sentence = _unable(shape, cell, np.flatnonzero(cell.whole >= count), pool)
        return reason, able * count, f"{asks}; {sentence}"
    if able >= tasks > ours:
        sentence = f"{asks}; {plural(able - ours, 'node')} of pool {pool} with room serve another firm alone"
        return Reason.ONE_FIRM_NODES, ours * count, sentence
    if ours >= tasks > together and shape.topology is not None:
        level = shape.topology.level
        sentence = f"{asks} in one {level}; {plural(ours, 'node')} of pool {pool} have room, at most {together} in one"
        return Reason.DEVICES_APART, together * count, sentence
    return None


def _unable(shape: Shape, cell: Cell, fits: Ints, pool: str) -> tuple[Reason, str]:
    """What most of the nodes with room cannot do of what the job needs."""
    needs = sorted(shape.needs_on(cell.model))
    lacking = [len(np.intersect1d(fits, cell.abilities.lacking(frozenset({need})))) for need in needs]
    most = max(lacking)
    feature = needs[lacking.index(most)]
    nodes = plural(most, "node")
    if feature is Feature.IMAGES:
        return Reason.NO_CONTAINER_ENGINE, f"{nodes} of pool {pool} with room run no container images"
    return Reason.AGENT_TOO_OLD, f"the agents of {nodes} of pool {pool} with room are older than {feature}"


def benched(shape: Shape) -> Iterable[WhyNot]:
    """Variants that are out because an earlier attempt could not be prepared with them."""
    for model, sentence in shape.benched:
        yield WhyNot(Reason.VARIANT_BENCHED, sentence, device_model=model, asked=shape.devices)


def by_money_alone(reasons: Sequence[WhyNot]) -> bool:
    """Whether nothing but money keeps a job."""
    return bool(reasons) and all(why.reason is Reason.BUDGET_EXHAUSTED for why in reasons)


def no_queue(shape: Shape, queue: Queue | None) -> WhyNot:
    """Why a job waits whose queue is not there, or has no pool."""
    if queue is None:
        return WhyNot(Reason.UNKNOWN_QUEUE, f"the firm has no queue {shape.queue.name}")
    return WhyNot(Reason.NO_POOL, f"the queue {shape.queue.name} may use no pool")

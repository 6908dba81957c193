"""The smallest change with which a job would have started at its turn: tried on what is free, never guessed."""

from collections.abc import Iterable, Sequence

from scheduler.domain.queues import COMPUTE, Queue, told_amount
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import MINUTE_MS
from scheduler.planner.budgets import Budgets
from scheduler.planner.cells import Cell
from scheduler.planner.config import PlannerConfig
from scheduler.planner.demand import demand_of
from scheduler.planner.feasibility import plural
from scheduler.planner.fleet import Fleet
from scheduler.planner.placement import find_seats, latest_start_end_ms
from scheduler.planner.reach import open_to, with_room
from scheduler.planner.sharing import Sharing
from scheduler.planner.snapshot import Shape
from scheduler.planner.variants import Candidate

# What a limit of time would help against: devices that somebody else needs later.
_KEPT = frozenset({Reason.DEVICES_RESERVED, Reason.MAINTENANCE})
# What keeps a job although its devices may be free.
_NOT_DEVICES = frozenset({Reason.QUOTA_REACHED, Reason.BUDGET_EXHAUSTED, Reason.FASTER_LATER})


class Counterfactuals:
    """Of one cycle. Jobs that differ only in what does not matter to it share an answer about devices."""

    def __init__(
        self, fleet: Fleet, sharing: Sharing, budgets: Budgets, now_ms: int, config: PlannerConfig
    ) -> None:
        self._fleet = fleet
        self._sharing = sharing
        self._budgets = budgets
        self._now_ms = now_ms
        self._config = config
        self._changes: dict[tuple[object, ...], str | None] = {}

    def of(
        self,
        shape: Shape,
        queue: Queue,
        reasons: Sequence[WhyNot],
        by_devices: Sequence[Candidate],
        *,
        paid: bool,
    ) -> str | None:
        """What would help: of devices, then of limits; the other way round where money may be what is short."""

        def of_limits() -> str | None:
            return _by_reasons(reasons, shape, queue, self._fleet, self._budgets, self._now_ms, self._config)

        def of_devices() -> str | None:
            return self._of_devices(shape, queue, by_devices, paid=paid)

        found = of_limits() or of_devices() if paid else of_devices() or of_limits()
        found = found or _in_service(reasons, shape)
        return found or _of_quota_and_devices(reasons, shape, queue, self._fleet, self._sharing)

    def _of_devices(
        self, shape: Shape, queue: Queue, options: Sequence[Candidate], *, paid: bool
    ) -> str | None:
        asked = (
            shape.queue, shape.models, demand_of(shape), shape.devices, shape.devices_per_node,
            shape.avoid_nodes, shape.topology, shape.groups, shape.needs, self._fleet.clock.now,
            tuple(options), shape if paid else None,
        )  # fmt: skip
        if asked not in self._changes:
            self._changes[asked] = _by_devices(
                shape, queue, self._fleet, self._sharing, self._budgets, options
            )
        return self._changes[asked]


def _by_devices(
    shape: Shape, queue: Queue, fleet: Fleet, sharing: Sharing, budgets: Budgets, options: Iterable[Candidate]
) -> str | None:
    """Another shape where devices are what is missing, or another model; None where that would not help.

    Asked at its turn: what is offered is free, and nobody before it in the order has a claim on it.
    """
    for candidate in options:
        cell = fleet.get(candidate.pool, candidate.model)
        where = f"pool {candidate.pool}, {candidate.model}"
        if cell is not None and shape.topology is not None and shape.topology.required:
            anywhere = shape._replace(topology=shape.topology._replace(required=False))
            if find_seats(anywhere, fleet, cell, None) is not None:
                return f"now, if it need not be inside one {shape.topology.level}: {where}"
        smaller = None if cell is None else _smaller(shape, cell)
        if cell is None or smaller is None or budgets.refusal(smaller, candidate.model):
            continue
        if find_seats(smaller, fleet, cell, None) is not None:
            fewer = plural(smaller.devices, "device")
            return f"now, with {fewer} instead of {shape.devices}: {where}"
    for pool in queue.pools:
        for model in fleet.models_in(pool):
            other = fleet.get(pool, model)
            if model in shape.models or other is None:
                continue
            if sharing.refusal(queue, model, sharing.devices_of(shape, model)) is not None:
                continue
            if budgets.refusal(shape, model) is None and find_seats(shape, fleet, other, None) is not None:
                free = open_to(shape.queue.firm_id, other)
                return f"now, with a variant for {model}: {free} are free in pool {pool}"
    return None


def _smaller(shape: Shape, cell: Cell) -> Shape | None:
    """The same on as many nodes as have room; of one node as many devices as are free by halves; None: no room.

    Halves are numbers that most vendors allow (where not, a smaller one is tried), and such jobs are known already.
    """
    if shape.groups or not shape.whole:
        return None
    if shape.tasks > 1:
        tasks = min(cell.with_room(shape.devices_per_node), shape.tasks - 1)
        return shape._replace(devices=tasks * shape.devices_per_node) if tasks else None
    count = shape.devices // 2
    while count and not cell.with_room(count):
        count //= 2
    return shape._replace(devices=count, devices_per_node=count) if count else None


def _by_reasons(
    reasons: Sequence[WhyNot],
    shape: Shape,
    queue: Queue,
    fleet: Fleet,
    budgets: Budgets,
    now_ms: int,
    config: PlannerConfig,
) -> str | None:
    """What would have to be different of limits, quota, money or the job itself; None where that would not help.

    Cost: what is held in a cell, or a placement that is tried, for each reason.
    """
    for why in reasons:
        if why.reason in _KEPT and why.pool is not None and why.device_model is not None:
            cell = fleet.get(why.pool, why.device_model)
            minutes = None if cell is None else _short_enough(shape, cell, now_ms, config)
            if minutes:
                where = f"pool {why.pool}, {why.device_model}"
                return f"now, with a time limit of at most {minutes} min: {where}"
    for why in reasons:
        model = why.device_model
        if why.reason not in _NOT_DEVICES or model is None:
            continue
        if not any(_has_room(shape, fleet, pool, model) for pool in queue.pools):
            continue
        if why.reason is Reason.QUOTA_REACHED and why.asked is not None and why.available is not None:
            # A quota of compute counts GFLOPS, of which one device has more than one.
            key = model if why.asked <= shape.devices else COMPUTE
            return f"now, if the queue had {_more(key, why.asked - why.available)} more of its quota left"
        if why.reason is Reason.BUDGET_EXHAUSTED:
            return budgets.change(shape, model)
        if why.reason is Reason.FASTER_LATER:
            return f"now on {model}, if it could go on from a model checkpoint and move later (resumable)"
    return None


def _in_service(reasons: Sequence[WhyNot], shape: Shape) -> str | None:
    """How many nodes have to come back, or to come, where too few are in service."""
    count = min(shape.devices, shape.devices_per_node)
    if count == 0:
        return None  # the reason counts devices
    for why in reasons:
        if why.reason is Reason.DEVICES_UNAVAILABLE and why.available is not None:
            nodes = plural(shape.tasks - why.available // count, "node")
            return f"when {nodes} more of pool {why.pool} with {count} free {why.device_model} can be used"
    return None


def _of_quota_and_devices(
    reasons: Sequence[WhyNot], shape: Shape, queue: Queue, fleet: Fleet, sharing: Sharing
) -> str | None:
    """How much more of the one quota that lacks something, and how many more nodes; None where more may be missing:
    where in the network the nodes are, which of them it may use, or a second quota.
    """
    count = min(shape.devices, shape.devices_per_node)
    bound = shape.topology is not None and shape.topology.required
    if not shape.whole or not count or shape.groups or shape.sizes or shape.avoid_nodes or bound:
        return None
    if queue.cohort is not None:
        return None  # what others hold of it comes back as theirs end, and to owners first
    for why in reasons:
        model = why.device_model
        if why.reason is not Reason.QUOTA_REACHED or model is None:
            continue
        lacks = sharing.lacks(queue, model, shape.devices)
        for pool in queue.pools if len(lacks) == 1 else ():
            cell = fleet.get(pool, model)
            if cell is None or cell.nodes_with(count) < shape.tasks:
                continue
            room = with_room(shape, cell, count).for_firm
            nodes = shape.tasks - room
            rest = shape._replace(devices=room * count)
            if nodes > 0 and (not room or find_seats(rest, fleet, cell, None) is not None):
                ((key, amount),) = lacks.items()
                more, which = _more(key, amount), f"{plural(nodes, 'node')} more of pool {pool}"
                return (
                    f"when the queue has {more} more of its quota left and {which} with {count} free {model} can"
                    " be used"
                )
    return None


def _more(key: str, amount: int) -> str:
    """So much of a quota."""
    return f"{told_amount(key, amount)} {'TFLOPS' if key == COMPUTE else key}"


def _has_room(shape: Shape, fleet: Fleet, pool: str, model: str) -> bool:
    cell = fleet.get(pool, model)
    return cell is not None and find_seats(shape, fleet, cell, None) is not None


def _short_enough(shape: Shape, cell: Cell, now_ms: int, config: PlannerConfig) -> int | None:
    """The longest time limit, in whole minutes, with which the job is done before held devices are needed."""
    ends_ms = latest_start_end_ms(shape, cell)
    if ends_ms is None:
        return None
    ends_ms = min(ends_ms, cell.held_until_ms)
    return max(0, (int(ends_ms) - now_ms - config.stop_margin_ms) // MINUTE_MS) or None

"""Could the job ever start on this installation, were everything idle? Asked at submission."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from scheduler.catalogue import Catalogue, ShapeRule
from scheduler.domain.features import Feature, needs_of
from scheduler.domain.gangs import Domain, Gang
from scheduler.domain.jobs import JobSpec, Variant
from scheduler.domain.queues import COMPUTE, Queue, told_amount
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.planner.snapshot import LEVELS, DeviceView
from scheduler.planner.topology import choose_devices


class Stock(NamedTuple):
    """The devices of one model on one node, and where the node hangs in the network."""

    devices: tuple[DeviceView, ...]
    domains: tuple[str | None, ...]  # of LEVELS
    features: frozenset[Feature] = frozenset()  # what the node can do that not all can


# (pool, device model) -> the stock of each node that has some
Inventory = Mapping[tuple[str, str], list[Stock]]


def ever_fits(spec: JobSpec, queue: Queue, inventory: Inventory, catalogue: Catalogue) -> WhyNot | None:
    """None when some variant fits into some pool of the queue when all is idle; else the most telling reason.

    Only reasons that never change by waiting (domain/reasons.py). Cost: O(tasks)
    where it fits, O(nodes) of the models asked for where it does not.
    """
    if not queue.pools:
        return WhyNot(Reason.NO_POOL, f"the queue {queue.key.name} may use no pool")
    refusals = []
    for variant in spec.variants:
        refusal = _refusal(variant, spec, queue, inventory, catalogue)
        if refusal is None:
            return None
        refusals.append(refusal)
    return max(refusals, key=_closeness)


# A job that fails in several variants or pools is told first the reason that is closest to a start: one that may change
# by waiting, then the later of these.
_NEVER_CHANGE = (
    Reason.UNKNOWN_MODEL,
    Reason.NO_SUCH_DEVICES,
    Reason.NO_NODE_FOR_IMAGES,
    Reason.ALL_AGENTS_TOO_OLD,
    Reason.SHAPE_NOT_ALLOWED,
    Reason.GANG_TOO_LARGE,
    Reason.QUOTA_TOO_SMALL,
)


def most_telling_first(reasons: Iterable[WhyNot]) -> tuple[WhyNot, ...]:
    """Those of pools and models on which the job could never start last, else as they come."""
    return tuple(sorted(reasons, key=_closeness, reverse=True))


def _closeness(why: WhyNot) -> int:
    never = _NEVER_CHANGE
    return never.index(why.reason) if why.reason in never else len(never)


def _refusal(
    variant: Variant, spec: JobSpec, queue: Queue, inventory: Inventory, catalogue: Catalogue
) -> WhyNot | None:
    gang, model = spec.gang, variant.model
    count, needed = gang.devices_per_node, least_of(gang)
    if catalogue.get(model) is None:
        return unknown_model(model)
    pools = [pool for pool in queue.pools if (pool, model) in inventory]
    if not pools:
        names = ", ".join(queue.pools)
        return WhyNot(
            Reason.NO_SUCH_DEVICES, f"no pool of the queue ({names}) has {model}", device_model=model,
            asked=gang.devices, available=0,
        )  # fmt: skip
    stocks_of = {pool: inventory[pool, model] for pool in pools}
    for feature in sorted(needs_of(spec, variant)):
        stocks_of = {pool: [s for s in stocks if feature in s.features] for pool, stocks in stocks_of.items()}
        if not any(stocks_of.values()):
            return _nowhere(feature, model, pools, gang.devices)
    rule = catalogue.shape(model)
    if not rule.allows_count(count):
        return shape_not_allowed(model, count, sorted(rule.counts or ()))
    domain = spec.topology.required
    for count, tasks in needed:
        best = max(
            _room(rule, stocks, count, tasks, domain)
            for pool in pools
            for stocks in _together(stocks_of[pool], domain if tasks > 1 else None)
        )
        if best < tasks and domain is Domain.FAST_LINK_GROUP:
            return _nowhere_joined(model, count)
        if best < tasks:
            where = None if domain is None or domain.value not in LEVELS else domain.value
            return gang_too_large(model, tasks * count, count, best, domain=where)
    least = gang.devices if gang.elastic is None else gang.elastic.min_devices
    return _beyond_quota(model, least, queue, catalogue)


def _nowhere(feature: Feature, model: str, pools: Sequence[str], asked: int) -> WhyNot:
    names = ", ".join(pools)
    reason = Reason.ALL_AGENTS_TOO_OLD
    sentence = f"the agents of all nodes with {model} in the queue's pools ({names}) are older than {feature}"
    if feature is Feature.IMAGES:
        reason = Reason.NO_NODE_FOR_IMAGES
        sentence = f"no node of the queue's pools ({names}) with {model} runs container images"
    return WhyNot(reason, sentence, device_model=model, asked=asked, available=0)


def _nowhere_joined(model: str, count: int) -> WhyNot:
    wanted = f"{count} {model}"
    sentence = f"asks for {wanted} joined by fast links; no node of the queue's pools has so many that are"
    return WhyNot(Reason.GANG_TOO_LARGE, sentence, device_model=model, asked=count, available=0)


def _beyond_quota(model: str, devices: int, queue: Queue, catalogue: Catalogue) -> WhyNot | None:
    nominal, compute = queue.nominal.get(model), queue.nominal.get(COMPUTE)
    sentence = f"asks for {devices} {model}; the queue's whole quota is {nominal}"
    if compute is not None and (gflops := catalogue.fp16_gflops(model)):
        most = compute // gflops
        if nominal is None or most < nominal:
            nominal = most
            asked, quota = told_amount(COMPUTE, devices * gflops), told_amount(COMPUTE, compute)
            sentence = f"asks for {asked} TFLOPS; the queue's whole quota is {quota} TFLOPS"
    if nominal is None or devices <= nominal:
        return None
    return WhyNot(
        Reason.QUOTA_TOO_SMALL, sentence, device_model=model, asked=devices, available=nominal
    )  # fmt: skip


def least_of(gang: Gang) -> list[tuple[int, int]]:
    """(devices, tasks): so many tasks want at least so many devices each, the most devices first."""
    if not gang.groups:
        return [(gang.devices_per_node, gang.sizes[0] + gang.spare_nodes)]
    needed: list[tuple[int, int]] = []
    tasks = 0
    for group in sorted(gang.groups, key=lambda group: -group.devices_per_task):
        tasks += group.tasks
        needed.append((group.devices_per_task, tasks))
    return needed


def _together(stocks: Sequence[Stock], domain: Domain | None) -> list[list[Stock]]:
    """The nodes of each domain inside which the gang must be; all of them where it need not. Never empty."""
    if domain is None or domain.value not in LEVELS:
        return [list(stocks)]
    inside: dict[str, list[Stock]] = {}
    for stock in stocks:
        name = stock.domains[LEVELS.index(domain.value)]
        if name is not None:
            inside.setdefault(name, []).append(stock)
    return list(inside.values()) or [[]]


def _room(rule: ShapeRule, stocks: Iterable[Stock], count: int, enough: int, domain: Domain | None) -> int:
    """How many of the nodes have room for a task of `count` devices; counts no further than `enough`."""

    def fits(devices: Sequence[DeviceView]) -> bool:
        if domain is not Domain.FAST_LINK_GROUP:
            return choose_devices(rule, devices, count) is not None
        groups = {device.group for device in devices}
        return any(
            choose_devices(rule, [d for d in devices if d.group == group], count) is not None
            for group in groups
        )

    return sum(islice((1 for stock in stocks if fits(stock.devices)), enough))


def unknown_model(model: str) -> WhyNot:
    """Not in the catalogue."""
    return WhyNot(Reason.UNKNOWN_MODEL, f"the catalogue knows no device model {model}", device_model=model)


def shape_not_allowed(model: str, count: int, allowed: list[int]) -> WhyNot:
    """The vendor does not allow this number of devices on a node."""
    return WhyNot(
        Reason.SHAPE_NOT_ALLOWED,
        f"{count} {model} on one node are not allowed; allowed are {', '.join(map(str, allowed))}",
        device_model=model,
        asked=count,
        available=max((number for number in allowed if number <= count), default=0),
    )


def gang_too_large(
    model: str, devices: int, per_node: int, nodes: int, pool: str | None = None, domain: str | None = None
) -> WhyNot:
    """Not even when idle."""
    where = "the largest pool of the queue" if pool is None else f"pool {pool}"
    if domain is not None:
        where = f"the largest {domain} of the queue's pools"
    return WhyNot(
        Reason.GANG_TOO_LARGE,
        f"asks for {plural(devices // per_node, 'node')} with {per_node} {model}; {where} has {nodes} such",
        pool=pool,
        device_model=model,
        asked=devices,
        available=nodes * per_node,
    )


def plural(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""Small virtual clusters and jobs for tests of the simulator and the cases."""

from collections.abc import Mapping, Sequence

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner import PlannerConfig, Shape
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.jobs import Work
from scheduler.simulator.models import catalogue_of
from scheduler.simulator.rounds import RoundWorld
from scheduler.simulator.world import Options, Outage, World

FAST, SLOW, POOL = "fast", "slow", "pool"
QUEUE = QueueKey(FirmId("firm-a"), "default")


def a_cluster(
    nodes: int = 2, devices: int = 4, *, slow_nodes: int = 0, firms: Sequence[str] = ("firm-a",)
) -> VirtualCluster:
    """Nodes of a fast and of a slow model."""
    specs = [NodeSpec(f"f{n}", FAST, devices, POOL) for n in range(nodes)]
    specs += [NodeSpec(f"s{n}", SLOW, devices, POOL) for n in range(slow_nodes)]
    queues = [Queue(QueueKey(FirmId(firm), "default"), (POOL,)) for firm in firms]
    return VirtualCluster(catalogue_of({FAST: 100_000, SLOW: 50_000}), specs, queues)


def a_work(
    name: str,
    *,
    at_s: float = 0.0,
    steps: float = 100.0,
    devices: int = 1,
    per_node: int | None = None,
    firm: str = "firm-a",
    rates: Mapping[str, float] | None = None,
    limit_s: float | None = None,
    checkpoint_s: float | None = 0.0,
    restart_s: float = 0.0,
    resumable: bool = False,
    known: bool = False,
) -> Work:
    """A job that does a step a second on the fast model."""
    rates = {FAST: 1.0} if rates is None else rates
    limit_ms = None if limit_s is None else round(limit_s * 1000)
    shape = Shape(
        queue=QueueKey(FirmId(firm), "default"),
        priority=Priority.NORMAL,
        devices=devices,
        devices_per_node=devices if per_node is None else per_node,
        models=tuple(rates),
        time_limit_ms=limit_ms,
        rates=tuple(sorted(rates.items())),
        resumable=resumable,
        restart_ms=round(restart_s * 1000),
        kind="test",
    )
    checkpoint_ms = None if checkpoint_s is None else round(checkpoint_s * 1000)
    return Work(JobId(name), shape, round(at_s * 1000), steps, rates, known, checkpoint_ms, limit_ms)


def a_run(
    works: Sequence[Work],
    cluster: VirtualCluster | None = None,
    *,
    options: Options | None = None,
    outages: Sequence[Outage] = (),
    rounds: bool = False,
    profile: str = "balanced",
) -> World:
    """Runs the jobs to their end under the shipped planner."""
    made = RoundWorld if rounds else World
    world = made(cluster or a_cluster(), works, PlannerConfig(profile=profile), options, outages=outages)
    world.run()
    return world

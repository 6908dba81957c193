"""Single decisions through the shipped planner: a job waits, a snapshot is taken, a plan is made and carried out."""

from collections.abc import Sequence

from benchmarks.planner.settings import config
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner import WHOLE_PPM, RunningJob, Shape, WaitingJob, plan
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.models import catalogue_of
from scheduler.simulator.traces.pods import Pod, TraceNode

QUEUE = QueueKey(FirmId("firm"), "default")
POOL = "pool"
MIB = 1 << 20
PPM_A_MILLI = WHOLE_PPM // 1000


class PodPlacer:
    """A cluster to which jobs come one at a time; each is placed at once or goes away."""

    def __init__(self, nodes: Sequence[TraceNode], profile: str) -> None:
        self._models = tuple(sorted({node.model for node in nodes}))
        known = any(node.memory_mib for node in nodes)
        specs = [
            NodeSpec(
                node.name,
                node.model,
                node.devices,
                POOL,
                node.cpu_milli,
                node.memory_mib * MIB if known else None,
            )
            for node in nodes
        ]
        self.cluster = VirtualCluster(
            catalogue_of(dict.fromkeys(self._models, 0)), specs, [Queue(QUEUE, (POOL,))]
        )
        self._config = config(profile)
        self._count_memory = known
        self._now_ms = 0
        self._shapes: dict[Pod, Shape] = {}

    def place(self, pod: Pod) -> RunningJob | None:
        """One decision, from the changed node to the changed node."""
        self._now_ms += 1
        job = WaitingJob(self._now_ms, JobId(f"job-{self._now_ms}"))
        self.cluster.submit(self.shape(pod), job)
        decided, _ = plan(self.cluster.snapshot(), self._now_ms, self._config)
        for placement in decided.placements:
            return self.cluster.start(placement, self._now_ms)
        self.cluster.withdraw(job.job_id)
        return None

    def leave(self, job_id: JobId) -> None:
        """A placed job ends."""
        self._now_ms += 1
        self.cluster.free(job_id)

    def shape(self, pod: Pod) -> Shape:
        """What the pod asks for, in the planner's words."""
        shape = self._shapes.get(pod)
        if shape is None:
            shape = self._shapes[pod] = Shape(
                queue=QUEUE,
                priority=Priority.NORMAL,
                devices=pod.devices,
                devices_per_node=max(pod.devices, 1),
                models=pod.models or self._models,
                share_ppm=pod.device_milli * PPM_A_MILLI if pod.devices == 1 else WHOLE_PPM,
                cpu_milli=pod.cpu_milli,
                memory_bytes=pod.memory_mib * MIB if self._count_memory else 0,
            )
        return shape

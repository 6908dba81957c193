"""Single decisions through the shipped planner, and the proof that each could be carried out."""

from collections.abc import Sequence

from benchmarks.planner.settings import config
from scheduler import machine_code
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.planner import Shape, WaitingJob
from scheduler.planner.placer import Placer
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.models import catalogue_of
from scheduler.simulator.traces.pods import Pod, TraceNode

QUEUE = QueueKey(FirmId("firm"), "default")
POOL = "pool"
MIB = 1 << 20
PPM_A_MILLI = WHOLE_PPM // 1000


class PodPlacer:
    """A cluster to which jobs come one at a time; each is placed at once or goes away.

    The planner's public call for single decisions does it. With `proved`, a virtual cluster beside it carries
    out every placement and raises NotPossible for one that takes what is not free.
    """

    def __init__(self, nodes: Sequence[TraceNode], profile: str, *, proved: bool) -> None:
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
        catalogue = catalogue_of(dict.fromkeys(self._models, 0))
        self.cluster = VirtualCluster(catalogue, specs, [Queue(QUEUE, (POOL,))])
        self._placer = Placer(self.cluster.snapshot(), config(profile))
        machine_code.want(len(specs))
        self._proved = proved
        self._count_memory = known
        self._now_ms = 0
        self._shapes: dict[Pod, Shape] = {}

    def place(self, pod: Pod) -> JobId | None:
        """One decision."""
        self._now_ms += 1
        job_id = JobId(f"job-{self._now_ms}")
        shape = self.shape(pod)
        placement = self._placer.place(shape, job_id)
        if placement is None:
            return None
        if self._proved:
            self.cluster.submit(shape, WaitingJob(self._now_ms, job_id))
            self.cluster.start(placement, self._now_ms)
        return job_id

    def leave(self, job_id: JobId) -> None:
        """A placed job ends."""
        self._placer.free(job_id)
        if self._proved:
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

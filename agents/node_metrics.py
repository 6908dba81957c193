"""PURE: what the agent tells Prometheus of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.core.readings import DeviceSample, Health
from agents.core.tasks import Phase
from agents.exporter import Metric

PPM = 1_000_000


@dataclass(frozen=True)
class NodeFigures:
    """One look at the agent; totals are since its start."""

    connected: bool
    tasks: Sequence[Phase]
    tasks_ended: Mapping[str, int]
    samples: Mapping[int, DeviceSample]
    utilisation_ppm: Mapping[int, int]
    windows_waiting: int
    windows_acknowledged: int
    samples_taken: int
    log_bytes: int
    desired_obeyed: int
    desired_refused: int


def node_metrics(figures: NodeFigures) -> list[Metric]:
    """The metric families."""

    def one(name: str, kind: str, text: str, value: int) -> Metric:
        return Metric(f"suanli_agent_{name}", kind, text, (({}, value),))

    devices = [({"device": str(index)}, sample) for index, sample in sorted(figures.samples.items())]
    phases = tuple(({"phase": phase.value}, sum(p is phase for p in figures.tasks)) for phase in Phase)
    ended = tuple(({"reason": reason}, count) for reason, count in sorted(figures.tasks_ended.items()))
    return [
        one("connected", "gauge", "1 while the control stream is up.", int(figures.connected)),
        Metric("suanli_agent_tasks", "gauge", "Tasks by phase.", phases),
        Metric("suanli_agent_tasks_ended_total", "counter", "Tasks that ended, by reason.", ended),
        Metric(
            "suanli_agent_device_healthy",
            "gauge",
            "1 where the device says that it is well.",
            tuple((labels, int(sample.health is Health.OK)) for labels, sample in devices),
        ),
        Metric(
            "suanli_agent_device_utilisation_ratio",
            "gauge",
            "As accounted: by the vendor's library, or of simulated devices by their processes' processor time.",
            tuple(({"device": str(i)}, ppm / PPM) for i, ppm in sorted(figures.utilisation_ppm.items())),
        ),
        one("windows_waiting", "gauge", "Signed windows not yet in the log.", figures.windows_waiting),
        one(
            "windows_acknowledged", "gauge", "Highest window number in the log.", figures.windows_acknowledged
        ),
        one("samples_total", "counter", "Readings of the devices.", figures.samples_taken),
        one("log_bytes_total", "counter", "Bytes of output sent.", figures.log_bytes),
        one("desired_obeyed_total", "counter", "Desired states obeyed.", figures.desired_obeyed),
        one("desired_refused_total", "counter", "Desired states refused as stale.", figures.desired_refused),
    ]

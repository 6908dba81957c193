"""The state as the planner may see it."""

from scheduler.domain.devices import Health
from scheduler.domain.nodes import NodeState
from scheduler.machine.state import ClusterState, NodeRecord
from scheduler.planner.snapshot import DeviceView, NodeView, Resting, Snapshot, WaitingJob


def take_snapshot(state: ClusterState, now_ms: int) -> Snapshot:
    """An immutable picture. Cost: O(nodes) pointers, and the devices of nodes that changed."""
    return Snapshot(
        catalogue=state.catalogue,
        nodes=tuple(_view(node) for node in state.nodes_in_order()),
        queues=dict(state.queues),
        classes=state.waiting.classes(),
        held={key: dict(models) for key, models in state.held.items()},
        usage=state.usage.decayed(now_ms),
        resting=_resting(state),
    )


def _view(node: NodeRecord) -> NodeView:
    if node.view is None:
        node.view = NodeView(
            node_id=node.node.node_id,
            name=node.node.name,
            pool=node.node.pool,
            usable=node.state is NodeState.CONNECTED and not node.cordoned,
            devices=tuple(_devices(node)),
        )
    return node.view


def _devices(node: NodeRecord) -> list[DeviceView]:
    views = []
    for device in node.node.devices:
        health = node.unhealthy.get(device.device_id, Health.OK)
        holder = node.holders.get(device.device_id)
        faulty = health is Health.FAULTY
        ends_by_ms = None if holder is None or holder.lost else holder.owner.ends_by_ms
        views.append(
            DeviceView(
                number=device.index,
                device_id=device.device_id,
                model=device.model,
                group=device.fast_link_group,
                free=holder is None and not faulty,
                faulty=faulty,
                degraded=health is Health.DEGRADED,
                ends_by_ms=ends_by_ms,
            )
        )
    return views


def _resting(state: ClusterState) -> tuple[Resting, ...]:
    resting = []
    for job_id in sorted(state.resting):
        job = state.jobs[job_id]
        if job.shape is not None:
            resting.append(Resting(job.shape, WaitingJob(job.submitted_ms, job_id), state.resting[job_id]))
    return tuple(resting)

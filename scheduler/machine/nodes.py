"""Rules of nodes: enrolled, connected, silent, lost, cordoned; and what their agents report."""

from scheduler.domain.allocations import AttemptState, Goal, Phase
from scheduler.domain.ids import FirmId
from scheduler.domain.nodes import NodeState
from scheduler.domain.reasons import Ending, EndReason, StopReason
from scheduler.machine import learning
from scheduler.machine.attempts import lose_task, start_when_ready, stop_attempt, task_ended, task_started
from scheduler.machine.messages import (
    CordonRequested,
    GatewayLost,
    GatewaySeen,
    GatewayStarted,
    NodeConnected,
    NodeDisconnected,
    NodeEnrolled,
    NodeReported,
    ObservedTask,
)
from scheduler.machine.served import BELIEVED_UNTIL_MS
from scheduler.machine.state import AllocationRecord, AttemptRecord, NodeRecord
from scheduler.machine.transition import Transition

# Phases in which what an agent says of a task is how far its inputs or outputs are.
_MOVES_FILES = frozenset({Phase.PREPARING, Phase.READY, Phase.RUNNING})


def enrol(t: Transition, message: NodeEnrolled) -> None:
    """A new node, silent until its agent connects. Known already: nothing happens."""
    if message.node.node_id in t.state.nodes:
        return
    node = NodeRecord(message.node, silent_since_ms=t.now_ms)
    t.state.add_node(node)
    t.touch_node(node)
    models = sorted({device.model for device in node.node.devices})
    t.emit_node("NodeEnrolled", node, pool=node.node.pool, models=models, devices=len(node.node.devices))
    t.changes.replan = True


def connect(t: Transition, message: NodeConnected) -> None:
    """An agent opened its stream. What a gateway says late or twice is ignored."""
    node = t.state.nodes.get(message.node_id)
    if node is None or _said_before(node, message):
        return
    news = node.state is not NodeState.CONNECTED or node.boot_id != message.boot_id
    node.connected_ms = message.at_ms
    node.state = NodeState.CONNECTED
    node.silent_since_ms = None
    node.gateway_id = message.gateway_id
    node.boot_id = message.boot_id
    node.agent_version = message.agent_version
    node.isolation = message.isolation
    node.rendezvous_address = message.rendezvous_address or None
    node.place = message.place
    node.one_firm = message.one_firm
    node.firm_id = _one_firm(node, message)
    node.container_engine = message.container_engine
    node.understands = message.understands
    node.unhealthy = dict(message.unhealthy)
    _in_view(t, node)
    if node.allocations:
        # A new generation: an agent that began anew may report what it has left before it has been told what
        # it should have; only a report that obeys this generation shows that a task is absent.
        t.change_desired(node.node.node_id)
    if news:
        t.emit_node("NodeConnected", node, boot_id=node.boot_id, agent_version=node.agent_version)


def _one_firm(node: NodeRecord, message: NodeConnected) -> FirmId | None:
    """Whose tasks alone the node takes. A task that is here already decides it, also before its agent knows."""
    if not message.one_firm:
        return None
    here = [allocation.owner.firm_id for allocation in node.allocations.values()]
    return message.firm_id or (here[0] if here else None)


def _said_before(node: NodeRecord, message: NodeConnected) -> bool:
    """Times are compared only where one clock made them: gateways' clocks differ."""
    if node.gateway_id != message.gateway_id or message.at_ms > node.connected_ms:
        return False
    return message.at_ms < node.connected_ms or node.state is NodeState.CONNECTED


def disconnect(t: Transition, message: NodeDisconnected) -> None:
    """The stream broke. Ignored when the agent has since gone to another gateway."""
    node = t.state.nodes.get(message.node_id)
    if node is None or node.gateway_id != message.gateway_id or message.at_ms < node.connected_ms:
        return
    node.gateway_id = None
    _silence(t, node)


def gateway_lost(t: Transition, message: GatewayLost) -> None:
    """Its nodes are silent from now."""
    for node in t.state.nodes_in_order():
        if node.gateway_id == message.gateway_id:
            _silence(t, node)


def gateway_seen(t: Transition, message: GatewaySeen) -> None:
    """It never lost its streams: its nodes are there again."""
    for node in t.state.nodes_in_order():
        if node.gateway_id == message.gateway_id and node.state is not NodeState.CONNECTED:
            node.state = NodeState.CONNECTED
            node.silent_since_ms = None
            _in_view(t, node)
            t.emit_node("NodeConnected", node, boot_id=node.boot_id, agent_version=node.agent_version)


def gateway_started(t: Transition, message: GatewayStarted) -> None:
    """A new process has none of the streams of the old one."""
    for node in t.state.nodes_in_order():
        if node.gateway_id == message.gateway_id:
            node.gateway_id = None
            _silence(t, node)


def cordon(t: Transition, message: CordonRequested) -> None:
    """No new work here, or again."""
    node = t.state.nodes.get(message.node_id)
    if node is None or node.cordoned == message.cordoned:
        return
    node.cordoned = message.cordoned
    _in_view(t, node)
    t.emit_node("NodeCordoned", node, cordoned=message.cordoned)


def lose(t: Transition, node: NodeRecord) -> None:
    """Silent for longer than the pool's patience: its tasks count as lost."""
    node.state = NodeState.LOST
    _in_view(t, node)
    t.emit_node("NodeLost", node, tasks=len(node.allocations))
    for allocation in list(node.allocations.values()):
        lose_task(t, allocation)


def report(t: Transition, message: NodeReported) -> None:
    """Takes in what an agent sees; an older report than the newest is ignored. Cost: O(tasks of the node)."""
    node = t.state.nodes.get(message.node_id)
    if node is None or message.report_seq <= node.report_seq:
        return
    node.report_seq = message.report_seq
    t.changes.nodes[node.node.node_id] = node
    if node.unhealthy != message.unhealthy:
        node.unhealthy = dict(message.unhealthy)
        _in_view(t, node)
    # Read before the tasks are taken in: they may bring a new generation, and with it tasks that cannot be reported.
    expected = list(node.allocations.values())
    obeyed = (message.leader_term, message.generation) == (node.leader_term, node.generation)
    seen: dict[tuple[str, int], AttemptRecord] = {}
    reported = set()
    for task in message.tasks:
        reported.add(task.allocation_id)
        allocation = node.allocations.get(task.allocation_id)
        if allocation is not None and not allocation.spare:
            _observe(t, allocation, task)
            seen[allocation.owner.job_id, allocation.owner.number] = allocation.owner
    if obeyed:
        for allocation in expected:
            if allocation.live and not allocation.spare and allocation.allocation_id not in reported:
                _absent(t, allocation)
    for attempt in seen.values():
        start_when_ready(t, attempt)


def _observe(t: Transition, allocation: AllocationRecord, task: ObservedTask) -> None:
    if allocation.phase is not task.phase or (
        task.rendezvous_port and allocation.rendezvous_port != task.rendezvous_port
    ):
        allocation.phase = task.phase
        allocation.rendezvous_port = task.rendezvous_port or allocation.rendezvous_port
        t.touch_allocation(allocation)
    _preparing(t, allocation, task)
    if task.started_ms or task.phase is Phase.RUNNING or task.end_reason is EndReason.EXITED:
        task_started(t, allocation)
    if task.step_report is not None:
        _progress(t, allocation, task)
    if task.phase is Phase.ENDED:
        allocation.log_pattern = task.log_pattern
        task_ended(t, allocation, task.end_reason or EndReason.LOST, task.exit_code, task.detail or None)


def _preparing(t: Transition, allocation: AllocationRecord, task: ObservedTask) -> None:
    """What is being done to make the task ready or to write its outputs, and which image was found for its attempt."""
    if task.phase in _MOVES_FILES:
        _moves(t, allocation, task.phase, task.detail or None)
    attempt = allocation.owner
    if task.image_digest and task.phase is not Phase.ENDED and attempt.image_digest != task.image_digest:
        if attempt.image_digest is None:
            attempt.image_digest = task.image_digest
            t.touch_attempt(attempt)
            t.emit_task("ImageFound", allocation, image_digest=task.image_digest)
        elif attempt.state is AttemptState.PREPARING:
            # The tag was moved while the nodes asked: a gang runs in one image or not at all.
            allocation.detail = (
                f"its image is {task.image_digest}; that of other tasks is {attempt.image_digest}"
            )
            t.touch_allocation(allocation)
            stop_attempt(t, attempt, Ending.IMAGE_FAILED, StopReason.GANG_FAILED)


def _moves(t: Transition, allocation: AllocationRecord, phase: Phase, said: str | None) -> None:
    """How far its image, inputs or outputs are; the row and an event follow at most once a second."""
    if allocation.goal is Goal.STOP or allocation.detail == said:
        return
    if said is not None:
        if t.now_ms - allocation.moved_ms < t.state.config.progress_event_ms:
            return
        allocation.moved_ms = t.now_ms
        kind = "TaskWritesOutputs" if phase is Phase.RUNNING else "TaskPreparing"
        t.emit_task(kind, allocation, detail=said)
    allocation.detail = said
    t.touch_allocation(allocation)


def _absent(t: Transition, allocation: AllocationRecord) -> None:
    """The agent has obeyed a desired set with the task in it, and has no such task: it is gone."""
    stopped = allocation.goal is Goal.STOP
    detail = None if stopped else "the node's agent no longer knows the task"
    task_ended(t, allocation, EndReason.STOPPED if stopped else EndReason.LOST, detail=detail)


def _progress(t: Transition, allocation: AllocationRecord, task: ObservedTask) -> None:
    """Keeps a job's newest step report; the event and the row follow at most once a second."""
    job = t.state.jobs.get(allocation.owner.job_id)
    if job is None or job.attempt is not allocation.owner or task.step_report is None:
        return
    new = dict(task.step_report)
    if job.step_report is not None and _at_ms(new) <= _at_ms(job.step_report):
        return
    before, job.step_report = job.step_report, new
    learning.reported(t.state, job, allocation.owner, before, t.now_ms)
    t.state.progress_pending.add(job.job_id)
    flush_progress(t, only_due=True)


def flush_progress(t: Transition, *, only_due: bool) -> None:
    """Emits JobProgressed for jobs with news whose last one is long enough ago."""
    for job_id in sorted(t.state.progress_pending):
        job = t.state.jobs[job_id]
        if only_due and t.now_ms - job.progress_ms < t.state.config.progress_event_ms:
            continue
        t.state.progress_pending.discard(job_id)
        job.progress_ms = t.now_ms
        t.touch_job(job)
        said = {name: value for name, value in (job.step_report or {}).items() if name != BELIEVED_UNTIL_MS}
        t.emit_job("JobProgressed", job, **said)


def _at_ms(step_report: dict[str, object]) -> int:
    at_ms = step_report.get("at_ms")
    return at_ms if isinstance(at_ms, int) else 0


def _silence(t: Transition, node: NodeRecord) -> None:
    if node.state is not NodeState.CONNECTED:
        t.touch_node(node)
        return
    node.state = NodeState.SILENT
    node.silent_since_ms = t.now_ms
    _in_view(t, node)
    t.emit_node("NodeSilent", node)


def _in_view(t: Transition, node: NodeRecord) -> None:
    """The planner has to look at the node again."""
    node.view = None
    t.touch_node(node)
    t.changes.replan = True

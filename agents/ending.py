"""What became of a task whose shim has gone."""

from agents.core.messages import Ended
from agents.core.tasks import EndReason
from agents.live_task import Live
from agents.runtime import task_files
from agents.runtime.log_patterns import first_match
from agents.runtime.task_files import ShimState


def end_of(live: Live, state: ShimState | None, now_ms: int) -> Ended:
    """By the shim's last word; a shim without one was lost, and its task with it. May read megabytes of output."""
    allocation_id = live.spec.allocation_id
    if state is None or state["phase"] != "ended":
        sentence = (
            "the task's shim was killed or the host was started anew; what was left of the task was ended"
        )
        return Ended(allocation_id, now_ms, None, EndReason.LOST, sentence)
    return Ended(
        allocation_id,
        state["ended_ms"] or now_ms,
        state["exit_code"],
        EndReason(state["end_reason"]),
        state["detail"],
        _matched(live, state),
    )


def _matched(live: Live, state: ShimState) -> int | None:
    """Which of the job's patterns stands in the output of a task that ended badly."""
    patterns = live.spec.log_patterns
    if not patterns or (state["end_reason"] == EndReason.EXITED and not state["exit_code"]):
        return None
    return first_match(live.folder / task_files.OUTPUT, live.spec.processes, patterns)

"""The planner: a pure function `(Snapshot, now_ms, config) -> (Plan, Report)`.

Belongs here: which waiting job starts now, on which model and devices, and why the others wait.
Does not belong here: I/O, clocks, randomness, and anything that changes the cluster: a plan is a value
that `machine` applies after `plan_checks` has found nothing against it.
"""

from scheduler.planner.config import PlannerConfig
from scheduler.planner.cycle import plan
from scheduler.planner.plan import JobPlacement, Plan, TaskPlacement
from scheduler.planner.report import ClassReport, Report
from scheduler.planner.snapshot import DeviceView, JobClass, NodeView, Shape, Snapshot, WaitingJob

__all__ = [
    "ClassReport",
    "DeviceView",
    "JobClass",
    "JobPlacement",
    "NodeView",
    "Plan",
    "PlannerConfig",
    "Report",
    "Shape",
    "Snapshot",
    "TaskPlacement",
    "WaitingJob",
    "plan",
]

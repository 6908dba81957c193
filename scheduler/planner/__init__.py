"""The planner: a pure function `(Snapshot, now_ms, config) -> (Plan, Report)`.

Belongs here: which waiting job starts now, on which model and devices, and why the others wait.
Does not belong here: I/O, clocks, randomness, and anything that changes the cluster: a plan is a value
that `machine` applies after `plan_checks` has found nothing against it.

Here are its nouns, which everybody may hold. `cycle` (`plan`, `Planner`) and `placer` load numpy: only who plans
imports them.
"""

from scheduler.planner.config import PlannerConfig
from scheduler.planner.experience import Experience, Learning
from scheduler.planner.forecast import StartInterval
from scheduler.planner.plan import JobPlacement, Plan, Stop, StopCause, TaskPlacement
from scheduler.planner.report import ClassReport, Report
from scheduler.planner.snapshot import (
    LEVELS,
    DeviceView,
    Hole,
    JobClass,
    NodeView,
    RunningJob,
    Shape,
    Snapshot,
    Topology,
    WaitingJob,
    limit_class_ms,
)

__all__ = [
    "LEVELS",
    "ClassReport",
    "DeviceView",
    "Experience",
    "Hole",
    "JobClass",
    "JobPlacement",
    "Learning",
    "NodeView",
    "Plan",
    "PlannerConfig",
    "Report",
    "RunningJob",
    "Shape",
    "Snapshot",
    "StartInterval",
    "Stop",
    "StopCause",
    "TaskPlacement",
    "Topology",
    "WaitingJob",
    "limit_class_ms",
]

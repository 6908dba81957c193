"""What the controller tells Prometheus. Gauges are set from memory once a period, never by a query."""

from collections import Counter as Count
from collections import deque
from collections.abc import Iterable, Mapping, Set
from math import nan

from prometheus_client import Counter, Gauge, Histogram

from scheduler.domain.budgets import BudgetKey, ProjectBudget
from scheduler.domain.devices import Health
from scheduler.domain.ids import FirmId, NodeId
from scheduler.domain.nodes import NodeState
from scheduler.machine.configuration import calendar_at
from scheduler.machine.snapshots import budgets_at
from scheduler.machine.state import ClusterState, NodeRecord
from scheduler.planner import Report
from scheduler.planner.snapshot import Money

CYCLE_SECONDS = Histogram(
    "suanli_controller_cycle_seconds",
    "One cycle: inbox taken, applied, planned and committed.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
PLAN_SECONDS = Histogram(
    "suanli_controller_plan_seconds",
    "Snapshot, plan and its checks.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
INBOX_LAG_SECONDS = Gauge("suanli_controller_inbox_lag_seconds", "Age of the oldest message just taken.")
MESSAGES = Counter("suanli_controller_messages", "Messages applied.", ["kind"])
BAD_MESSAGES = Counter("suanli_controller_bad_messages", "Inbox rows that were no messages.", ["kind"])
PLACEMENTS = Counter("suanli_controller_placements", "Gangs placed.")
REFUSED_PLANS = Counter(
    "suanli_controller_refused_plans", "Plans that failed, or that plan_checks refused in part: a defect."
)
RELOADS = Counter("suanli_controller_reloads", "State thrown away and loaded again.")
TERM = Gauge("suanli_controller_leader_term", "Term of this leader; 0 while another leads.")
JOBS = Gauge("suanli_jobs", "Jobs that have not ended.", ["state"])
WAITING = Gauge("suanli_waiting_jobs", "Waiting jobs by their first reason.", ["queue", "reason"])
DEVICES = Gauge("suanli_devices", "Devices.", ["pool", "model", "state"])
STARTS = Counter(
    "suanli_announced_starts", "First starts of jobs that were told an interval (80 %).", ["inside"]
)
COVERAGE = Gauge(
    "suanli_announced_starts_coverage_ratio",
    "Share of the newest 500 announced starts that came inside their interval; 0.8 is what was promised.",
)
COVERAGE.set(nan)  # until there is one
_NEWEST_STARTS: deque[bool] = deque(maxlen=500)
NODES = Gauge("suanli_nodes", "Nodes.", ["pool", "state"])
_BUDGET_LABELS = ["firm", "project", "period"]
BUDGET = Gauge(
    "suanli_budget_cny",
    "What may be spent in the present period; project empty: by the firm. 200 of them: of each firm the one that is "
    "used up most, then of each the next.",
    _BUDGET_LABELS,
)
BUDGET_SPENT = Gauge("suanli_budget_spent_cny", "The most that can be charged for it so far.", _BUDGET_LABELS)
BUDGET_HELD = Gauge(
    "suanli_budget_held_cny",
    "What running jobs, and those that were stopped for others, may still cost of it.",
    _BUDGET_LABELS,
)
MOST_BUDGETS = 200  # a firm's administrator sets as many as the firm has projects
_NANO = 10**9


def show_starts(kept_word: Iterable[bool]) -> None:
    """Counts first starts by whether their announced interval held, and the share of the newest that did."""
    for inside in kept_word:
        STARTS.labels("true" if inside else "false").inc()
        _NEWEST_STARTS.append(inside)
    if _NEWEST_STARTS:
        COVERAGE.set(sum(_NEWEST_STARTS) / len(_NEWEST_STARTS))


def show_state(state: ClusterState, now_ms: int) -> None:
    """Sets the gauges of jobs, nodes, devices and budgets.

    Cost: O(jobs + nodes + budgets), and the devices in use; the controller paces it.
    """
    _set(JOBS, Count((job.state.value,) for job in state.jobs.values()))
    nodes = state.nodes_in_order()
    _set(NODES, Count((node.node.pool, "cordoned" if node.cordoned else node.state.value) for node in nodes))
    closed, reserved = _booked(state, now_ms)
    _set(DEVICES, _devices(nodes, closed, reserved))
    _show_budgets({budget.key: budget for budget in state.spending.budgets}, budgets_at(state, now_ms))


def _show_budgets(budgets: Mapping[BudgetKey, ProjectBudget], money: Mapping[BudgetKey, Money]) -> None:
    """Amounts are whole nano CNY everywhere else; a picture may have them as floats."""
    shown = {
        (budgets[key].firm, key.project, budgets[key].period.value): money[key] for key in fullest(money)
    }
    _set(BUDGET, {labels: of.amount_nano / _NANO for labels, of in shown.items()})
    _set(BUDGET_SPENT, {labels: of.spent_nano / _NANO for labels, of in shown.items()})
    _set(BUDGET_HELD, {labels: of.held_nano / _NANO for labels, of in shown.items()})


def fullest(money: Mapping[BudgetKey, Money]) -> list[BudgetKey]:
    """Those that are shown. A firm with many projects crowds nobody out: the second of any comes after all firsts."""
    place: Count[FirmId] = Count()
    ranked = []
    for key in sorted(money, key=lambda key: -_share_used(money[key])):
        place[key.firm_id] += 1
        ranked.append((place[key.firm_id], key))
    return [key for _, key in sorted(ranked, key=lambda ranked_one: ranked_one[0])[:MOST_BUDGETS]]


def _share_used(money: Money) -> float:
    """Of a budget, spent and held; of one of nothing all is used."""
    return (money.spent_nano + money.held_nano) / money.amount_nano if money.amount_nano else 1.0


def show_report(report: Report) -> None:
    """Sets the lengths of queues by reason."""
    waiting: Count[tuple[str, ...]] = Count()
    for item in report.classes:
        reason = item.reasons[0].reason.value if item.reasons else "none"
        waiting[item.shape.queue.name, reason] += len(item.jobs)
    _set(WAITING, waiting)


def _booked(state: ClusterState, now_ms: int) -> tuple[set[NodeId], set[NodeId]]:
    """Nodes in maintenance now, and nodes that are reserved now."""
    closed: set[NodeId] = set()
    reserved: set[NodeId] = set()
    for hole in calendar_at(state, now_ms):
        if hole.from_ms <= now_ms:
            (closed if hole.queue is None else reserved).update(hole.nodes)
    return closed, reserved


def _devices(
    nodes: Iterable[NodeRecord], closed: Set[NodeId], reserved: Set[NodeId]
) -> Count[tuple[str, ...]]:
    """Devices by pool, model and state. A node whose devices are alike and all free is counted at once."""
    counts: Count[tuple[str, ...]] = Count()
    for node in nodes:
        pool, devices = node.node.pool, node.node.devices
        free = _state_of_free(node, closed, reserved)
        models = {device.model for device in devices}
        if len(models) == 1 and not node.holders and not node.unhealthy:
            counts[pool, models.pop(), free] += len(devices)
            continue
        for device in devices:
            if node.unhealthy.get(device.device_id) is Health.FAULTY:
                counts[pool, device.model, "faulty"] += 1
            else:
                counts[pool, device.model, "allocated" if device.device_id in node.holders else free] += 1
    return counts


def _state_of_free(node: NodeRecord, closed: Set[NodeId], reserved: Set[NodeId]) -> str:
    """What a device is called that nobody holds and that works."""
    if node.node.node_id in closed:
        return "maintenance"
    if node.state is not NodeState.CONNECTED:
        return "unknown"
    return "reserved" if node.cordoned or node.node.node_id in reserved else "idle"


def _set(gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
    gauge.clear()
    for labels, value in values.items():
        gauge.labels(*labels).set(value)

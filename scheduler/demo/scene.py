"""What the demo shows at one moment, read over REST and from the agents' own metrics pages."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scheduler.planner.feasibility import plural

ENDED = frozenset({"succeeded", "failed", "cancelled"})
_SAMPLE = re.compile(
    r"^suanli_agent_device_utilisation_ratio\{(?P<labels>[^}]*)\} (?P<value>[0-9.e+-]+)$", re.M
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class JobView:
    """A job as its row is drawn."""

    job_id: str
    name: str
    firm: str
    state: str
    devices: int
    where: str  # "ascend-01[0-3] ascend-02[0-3]", or why it waits
    why: str
    step: int
    of: int
    loss: float | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED


@dataclass(frozen=True)
class DeviceView:
    """A device as its cell is drawn."""

    index: int
    firm: str | None
    busy: float | None


@dataclass(frozen=True)
class NodeView:
    """A node as its line is drawn."""

    name: str
    pool: str
    model: str
    state: str
    isolation: str
    devices: tuple[DeviceView, ...]


@dataclass
class Scene:
    """Everything at one moment, and the losses seen so far of each job."""

    jobs: list[JobView] = field(default_factory=list)
    nodes: list[NodeView] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    log_size: int = 0
    cosigned: bool = False

    @property
    def all_ended(self) -> bool:
        """Whether every job has ended."""
        return bool(self.jobs) and all(job.ended for job in self.jobs)


def job_view(
    job: Mapping[str, Any], explanation: Mapping[str, Any], attempt: Mapping[str, Any] | None
) -> JobView:
    """Draw a job from `GET /v1/jobs/{id}`, its `/explain`, and its newest attempt."""
    tasks = attempt["tasks"] if attempt else []
    report = job.get("step_report") or {}
    placed = " ".join(f"{task['node']}[{_ranges(task['devices'])}]" for task in tasks)
    return JobView(
        job_id=job["job_id"],
        name=job["name"],
        firm=job["firm"],
        state=job["state"],
        devices=job["devices"],
        where=placed or "-",
        why=_why_here(attempt["why_here"]) if attempt else str(explanation.get("sentence") or ""),
        step=report.get("step") or 0,
        of=report.get("of") or 0,
        loss=report.get("loss"),
    )


def _why_here(account: Mapping[str, Any]) -> str:
    """The planner's account of a placement in one line."""
    choice = account["model_choice"]
    refused = [
        f"not {item['device_model']}: {item['sentence']}" for item in choice["preferred_but_not_possible"]
    ]
    best = f"{account['device_model']} is the fastest of {len(choice['variants'])} variants that can run now"
    room = f"{plural(account['nodes_with_room'], 'node')} of pool {account['pool']} had room"
    return "; ".join([best, room, *refused])


def node_views(
    nodes: Sequence[Mapping[str, Any]], firms: Mapping[str, str], busy: Mapping[str, Mapping[int, float]]
) -> list[NodeView]:
    """Draw the nodes; `firms` names the firm of each job id, `busy` the utilisation by node and device."""
    return [
        NodeView(
            name=node["name"],
            pool=node["pool"],
            model=node["devices"][0]["model"] if node["devices"] else "-",
            state=node["state"],
            isolation=node["isolation"] or "?",
            devices=tuple(
                DeviceView(
                    index=device["index"],
                    firm=firms.get(device["held_by"]["job_id"]) if device["held_by"] else None,
                    busy=busy.get(node["name"], {}).get(device["index"]),
                )
                for device in node["devices"]
            ),
        )
        for node in sorted(nodes, key=lambda node: str(node["name"]))
    ]


def busy_ratios(exposition: str) -> dict[int, float]:
    """Read the utilisation of each device, by its index, from an agent's metrics page."""
    found = {}
    for sample in _SAMPLE.finditer(exposition):
        labels = dict(_LABEL.findall(sample["labels"]))
        found[int(labels["device"])] = float(sample["value"])
    return found


def _ranges(indices: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and index == parts[-1][-1] + 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ",".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)

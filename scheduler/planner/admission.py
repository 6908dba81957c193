"""Quota: how many devices of a model a queue may hold at once."""

from collections.abc import Mapping

from scheduler.domain.queues import Queue, QueueKey
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.planner.snapshot import Shape, Snapshot


class Quotas:
    """What the queues hold while a plan is being made."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._held = {key: dict(models) for key, models in snapshot.held.items()}
        self._kept: set[tuple[QueueKey, str]] = set()

    def refusal(self, shape: Shape, queue: Queue, model: str) -> WhyNot | None:
        """Why the quota does not let the gang start on the model, or None."""
        nominal = queue.nominal.get(model)
        if nominal is None:
            return None
        if shape.devices > nominal:
            return WhyNot(
                Reason.QUOTA_TOO_SMALL,
                f"asks for {shape.devices} {model}; the queue's whole quota is {nominal}",
                device_model=model,
                asked=shape.devices,
                available=nominal,
            )
        left = max(0, nominal - self.held(shape.queue, model))
        if shape.devices > left:
            return WhyNot(
                Reason.QUOTA_REACHED,
                f"asks for {shape.devices} {model}; the queue holds {nominal - left} of its {nominal}",
                device_model=model,
                asked=shape.devices,
                available=left,
            )
        if (shape.queue, model) in self._kept:
            return WhyNot(
                Reason.QUOTA_RESERVED,
                f"{left} {model} are left of the queue's quota; they are kept for a job that waits longer",
                device_model=model,
                asked=shape.devices,
                available=left,
            )
        return None

    def held(self, queue: QueueKey, model: str) -> int:
        """Devices of a model that a queue holds or was given in this plan."""
        return self._held.get(queue, _NOTHING).get(model, 0)

    def take(self, queue: QueueKey, model: str, devices: int) -> None:
        """Counts a placement."""
        held = self._held.setdefault(queue, {})
        held[model] = held.get(model, 0) + devices

    def keep(self, queue: QueueKey, model: str) -> None:
        """Lets nobody else of the queue use what is left of the quota in this cycle."""
        self._kept.add((queue, model))


_NOTHING: Mapping[str, int] = {}

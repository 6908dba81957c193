"""Money: a project that cannot pay for the time limit of a job does not start it."""

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import HOUR_MS
from scheduler.planner.snapshot import Shape, Snapshot

_NANO = 1_000_000_000


class Budgets:
    """What projects may still spend, less what this cycle has started. Integers, rounded up."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._left = dict(snapshot.budgets)
        self._prices = snapshot.prices

    def hold_nano(self, shape: Shape, model: str) -> int:
        """What the job may cost at most; an hour's worth where it has no time limit."""
        time_ms = HOUR_MS if shape.time_limit_ms is None else shape.time_limit_ms
        ppm = (shape.devices - shape.spares * shape.devices_per_node) * shape.share_ppm
        return -(-self._prices.get(model, 0) * ppm * time_ms // (WHOLE_PPM * HOUR_MS))

    def refusal(self, shape: Shape, model: str) -> WhyNot | None:
        """Why the project cannot pay for the job on a model, or None."""
        own = self._refusal_of_its_own(shape, model)
        if own is not None:
            return own
        left = self._left.get((shape.queue.firm_id, shape.project))
        if left is None:
            return None
        asked = self.hold_nano(shape, model)
        if asked <= left:
            return None
        cost, rest = asked / _NANO, max(0, left) / _NANO
        sentence = f"may cost {cost:.2f} CNY on {model}; project {shape.project} has {rest:.2f} left"
        return WhyNot(Reason.BUDGET_EXHAUSTED, sentence, None, model, shape.devices, 0)

    def _refusal_of_its_own(self, shape: Shape, model: str) -> WhyNot | None:
        """A job with a time limit starts when that can be paid; one without, as long as anything is left."""
        if shape.left_nano is None:
            return None
        asked = 1 if shape.time_limit_ms is None else self.hold_nano(shape, model)
        if asked <= shape.left_nano:
            return None
        cost, rest = asked / _NANO, max(0, shape.left_nano) / _NANO
        sentence = f"may cost {cost:.2f} CNY on {model} within its time limit; its budget has {rest:.2f} left"
        if shape.time_limit_ms is None:
            sentence = "its budget is used up"
        return WhyNot(Reason.BUDGET_EXHAUSTED, sentence, None, model, shape.devices, 0)

    def take(self, shape: Shape, model: str) -> None:
        """Holds the money of a job that starts."""
        key = (shape.queue.firm_id, shape.project)
        if key in self._left:
            self._left[key] -= self.hold_nano(shape, model)

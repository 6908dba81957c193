"""Money: a job whose time limit its own budget, its project's or its firm's cannot pay for does not start."""

from collections.abc import Iterator

from scheduler.domain.budgets import WHOLE_FIRM, BudgetKey, BudgetPeriod, budget_keys
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.reasons import Reason, WhyNot
from scheduler.domain.time import HOUR_MS, MINUTE_MS, to_rfc3339
from scheduler.planner.snapshot import Shape, Snapshot

_NANO_OF_FEN = 10_000_000
_PERIODS = {BudgetPeriod.MONTH: "a month", BudgetPeriod.YEAR: "a year", BudgetPeriod.TOTAL: "in all"}


class Budgets:
    """What may still be spent, less what this cycle has started. Integers, rounded up."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._budgets = snapshot.budgets
        self._left = {key: money.left_nano for key, money in snapshot.budgets.items()}
        self._prices = snapshot.prices

    def binds(self, shape: Shape) -> bool:
        """Whether anything limits what the job may cost."""
        return shape.left_nano is not None or (bool(self._budgets) and any(True for _ in self._keys(shape)))

    def hold_nano(self, shape: Shape, model: str) -> int:
        """What the job may cost at most; an hour's worth where it has no time limit."""
        time_ms = HOUR_MS if shape.time_limit_ms is None else shape.time_limit_ms
        return -(-self._rate(shape, model) * time_ms // (WHOLE_PPM * HOUR_MS))

    def asked_nano(self, shape: Shape, model: str) -> int:
        """The same beyond what is held for it already; below zero where it starts at less than it was promised."""
        return self.hold_nano(shape, model) - shape.promised_nano

    def refusal(self, shape: Shape, model: str) -> WhyNot | None:
        """Why the job cannot be paid for on a model, or None."""
        if shape.left_nano is None and not self._budgets:
            return None
        sentence = self._refusal_of_its_own(shape, model)
        key = self._short(shape, model)
        if sentence is None and key is not None:
            money, left = self._budgets[key], max(0, self._left[key])
            cost = _fen_up(self.hold_nano(shape, model))
            span = "in an hour" if shape.time_limit_ms is None else "within its time limit"
            amount = f"{_cny(money.amount_nano // _NANO_OF_FEN)} CNY {_PERIODS[money.period]}"
            gone = _fen_up(money.amount_nano - self._left[key])
            sentence = (
                f"may cost {cost} CNY on {model} {span}; {_whose(key)} has {_cny(left // _NANO_OF_FEN)} left of"
                f" {amount}, {gone} are spent or held"
            )
        if sentence is None:
            return None
        return WhyNot(Reason.BUDGET_EXHAUSTED, sentence, None, model, shape.devices, 0)

    def pays(self, shape: Shape, model: str) -> bool:
        """Whether firm and project can pay for a start; of a job that runs: anew, before it gives anything back."""
        return self._short(shape, model) is None

    def change(self, shape: Shape, model: str) -> str:
        """What would let the job start on a model that has room for it."""
        key = self._short(shape, model)
        if key is None or self._refusal_of_its_own(shape, model) is not None:
            return f"now on {model}, with a shorter time limit or more money: its devices are free"
        left, ends_ms = self._left[key], self._budgets[key].ends_ms
        missing = _fen_up(self.asked_nano(shape, model) - left)
        minutes = (
            (max(0, left) + shape.promised_nano)
            * WHOLE_PPM
            * HOUR_MS
            // (max(1, self._rate(shape, model)) * MINUTE_MS)
        )
        change = f"now on {model}, with {missing} CNY more for {_whose(key)}"
        if minutes and shape.time_limit_ms is not None:
            change = (
                f"now on {model}, with a time limit of at most {minutes} min"
                f" or with {missing} CNY more for {_whose(key)}"
            )
        return change if ends_ms is None else f"{change}; its next budget begins at {to_rfc3339(ends_ms)}"

    def take(self, shape: Shape, model: str, *, back: bool = False) -> None:
        """Holds the money of a job that starts, or gives it back."""
        for key in self._keys(shape):
            self._left[key] -= self.asked_nano(shape, model) * (-1 if back else 1)

    def _keys(self, shape: Shape) -> Iterator[BudgetKey]:
        if self._budgets:
            for key in budget_keys(shape.queue.firm_id, shape.project):
                if key in self._budgets:
                    yield key

    def _short(self, shape: Shape, model: str) -> BudgetKey | None:
        """Whose budget cannot pay for the job."""
        keys = list(self._keys(shape))
        asked = self.asked_nano(shape, model) if keys else 0
        return next((key for key in keys if asked > max(0, self._left[key])), None)

    def _refusal_of_its_own(self, shape: Shape, model: str) -> str | None:
        """A job with a time limit starts when that can be paid; one without, as long as anything is left."""
        if shape.left_nano is None:
            return None
        if shape.time_limit_ms is None:
            return None if shape.left_nano > 0 else "its budget is used up"
        asked = self.hold_nano(shape, model)
        if asked <= shape.left_nano:
            return None
        rest = _cny(max(0, shape.left_nano) // _NANO_OF_FEN)
        return f"may cost {_fen_up(asked)} CNY on {model} within its time limit; its budget has {rest} left"

    def _rate(self, shape: Shape, model: str) -> int:
        """What an hour of the job costs, nano CNY x ppm; what is only kept for it costs nothing."""
        devices = shape.devices - shape.spares * shape.devices_per_node
        return self._prices.get(model, 0) * devices * shape.share_ppm


def _whose(key: BudgetKey) -> str:
    return "its firm" if key.project == WHOLE_FIRM else f"project {key.project}"


def _fen_up(nano: int) -> str:
    return _cny(-(-nano // _NANO_OF_FEN))


def _cny(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"

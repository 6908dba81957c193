"""Budgets in a virtual run, counted by the machine's own ledger. Prices stay as they are."""

from collections.abc import Collection, Iterable, Mapping

from scheduler.domain.budgets import BudgetKey
from scheduler.machine.messages import BudgetSpent, PriceFrom
from scheduler.machine.money import reserved_nano
from scheduler.machine.spending import SpendingLedger, hold, money_of
from scheduler.planner import RunningJob, Shape
from scheduler.planner.snapshot import Money


class VirtualBudgets:
    """What is spent, held and left. Virtual time 0 is `origin_ms` (UTC): months are those of the bills."""

    def __init__(
        self, budgets: Iterable[BudgetSpent], prices_nano_cny: Mapping[str, int], origin_ms: int
    ) -> None:
        self.prices = dict(prices_nano_cny)
        self._origin_ms = origin_ms
        self._ledger = SpendingLedger()
        self._ledger.configure(budgets, origin_ms)
        self._versions = tuple(PriceFrom(model, 0, price) for model, price in sorted(self.prices.items()))

    def change(self, running: RunningJob, sign: int, now_ms: int) -> None:
        """A job has started (1) or stopped (-1)."""
        shape, held = running.shape, (running.model, sign * _ppm(running))
        self._ledger.change(
            shape.queue.firm_id, shape.project, held, self._versions, self._origin_ms + now_ms
        )

    def promised_nano(self, running: RunningJob) -> int:
        """What a job that is stopped for others may cost when it goes on as it runs."""
        return reserved_nano(self._per_hour(running), running.shape.time_limit_ms, None, 0)

    def money(
        self, running: Iterable[RunningJob], waiting: Iterable[Shape], now_ms: int
    ) -> Mapping[BudgetKey, Money]:
        """Every budget with what is gone of it. Cost: O(budgets + running + waiting)."""
        wall_ms = self._origin_ms + now_ms
        spent = self._ledger.spent(self._versions, wall_ms)
        held = dict.fromkeys(spent, 0)
        for job in running:
            nano = reserved_nano(self._per_hour(job), job.shape.time_limit_ms, job.started_ms, now_ms)
            hold(held, job.shape.queue.firm_id, job.shape.project, nano)
        for shape in waiting:
            hold(held, shape.queue.firm_id, shape.project, shape.promised_nano)
        return {
            budget.key: money_of(budget, spent[budget.key], held[budget.key], wall_ms)
            for budget in self._ledger.budgets
        }

    def turns_ms(self, now_ms: int) -> Collection[int]:
        """When the next period of each budget that has periods begins, in virtual time."""
        ends = [budget.period.end_ms(self._origin_ms + now_ms) for budget in self._ledger.budgets]
        return {end - self._origin_ms for end in ends if end is not None}

    def _per_hour(self, running: RunningJob) -> int:
        return self.prices.get(running.model, 0) * _ppm(running)


def _ppm(running: RunningJob) -> int:
    """Of devices that cost: what is only kept does not."""
    shape = running.shape
    return (running.devices - shape.spares * shape.devices_per_node) * shape.share_ppm

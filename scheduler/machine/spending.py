"""What projects and firms with a budget have spent in its period, by what their grants cost.

Unit: nano CNY x ms x ppm of a device-hour, exact, so that a reload agrees. What lies before the configuration was
read comes with it; from then on every grant and every end is counted here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduler.domain.budgets import BudgetKey, ProjectBudget, budget_keys
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import FirmId
from scheduler.domain.time import HOUR_MS
from scheduler.machine.messages import BudgetSpent, PriceFrom
from scheduler.planner.snapshot import Money


def cost_of(prices: Iterable[PriceFrom], model: str, from_ms: int, to_ms: int) -> int:
    """Of one whole device for a stretch of time, nano CNY x ms; `prices` by model and beginning.

    Cost: O(price versions).
    """
    total = 0
    versions = [price for price in prices if price.model == model]
    for number, price in enumerate(versions):
        until_ms = versions[number + 1].from_ms if number + 1 < len(versions) else to_ms
        total += max(min(until_ms, to_ms) - max(price.from_ms, from_ms), 0) * price.price_nano_cny
    return total


def to_nano(spent: int) -> int:
    """A sum of this file in nano CNY, rounded up."""
    return -(-spent // (HOUR_MS * WHOLE_PPM))


def hold(held_nano: dict[BudgetKey, int], firm_id: FirmId, project: str, nano: int) -> None:
    """Adds what a job may still cost to what is held of the budgets that pay for it, where there are any."""
    for key in budget_keys(firm_id, project):
        if key in held_nano:
            held_nano[key] += nano


def money_of(budget: ProjectBudget, spent: int, held_nano: int, now_ms: int) -> Money:
    """A budget with what is gone of it in its present period; `spent` is a sum of this file."""
    period = budget.period
    return Money(budget.amount_nano, to_nano(spent), held_nano, period, period.end_ms(now_ms))


@dataclass(slots=True)
class _Account:
    budget: ProjectBudget
    begin_ms: int  # of the period in which `spent` was
    until_ms: int  # up to which it is counted
    spent: int


class SpendingLedger:
    """Sums by budget. Cost of a grant or an end: the models that its project and its firm hold now."""

    def __init__(self) -> None:
        self._held: dict[BudgetKey, dict[str, int]] = {}  # ppm of devices by model, of all projects and firms
        self._accounts: dict[BudgetKey, _Account] = {}

    @property
    def budgets(self) -> Iterable[ProjectBudget]:
        """Those that are set now."""
        return [account.budget for account in self._accounts.values()]

    def configure(self, budgets: Iterable[BudgetSpent], now_ms: int) -> None:
        """Takes all budgets over, with what was spent of each up to now."""
        self._accounts = {
            item.budget.key: _Account(item.budget, item.budget.period.begin_ms(now_ms), now_ms, item.spent)
            for item in budgets
        }

    def change(
        self,
        firm_id: FirmId,
        project: str,
        held: tuple[str, int],
        prices: tuple[PriceFrom, ...],
        now_ms: int,
    ) -> None:
        """So many more (or, below zero, fewer) millionths of devices of a model are held from now: (model, ppm)."""
        model, ppm = held
        for key in budget_keys(firm_id, project):
            if key in self._accounts:
                self._advance(self._accounts[key], prices, now_ms)
            models = self._held.setdefault(key, {})
            models[model] = models.get(model, 0) + ppm
            if not models[model]:
                del models[model]
            if not models:
                del self._held[key]

    def spent(self, prices: tuple[PriceFrom, ...], now_ms: int) -> Mapping[BudgetKey, int]:
        """Of each budget in its present period. Cost: O(budgets x models held x price versions)."""
        for account in self._accounts.values():
            self._advance(account, prices, now_ms)
        return {key: account.spent for key, account in self._accounts.items()}

    def _advance(self, account: _Account, prices: tuple[PriceFrom, ...], now_ms: int) -> None:
        begin_ms = account.budget.period.begin_ms(now_ms)
        if begin_ms > account.begin_ms:
            account.begin_ms, account.spent = begin_ms, 0
        from_ms = max(account.until_ms, begin_ms)
        account.spent += sum(
            ppm * cost_of(prices, model, from_ms, now_ms)
            for model, ppm in self._held.get(account.budget.key, {}).items()
        )
        account.until_ms = max(account.until_ms, now_ms)

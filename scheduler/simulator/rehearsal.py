"""Side by side: the same jobs under the policy as it is and under proposed ones; who wins, who loses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.planner import Hole, PlannerConfig
from scheduler.planner.comparison import part, word_of
from scheduler.simulator.alone import against_alone
from scheduler.simulator.budgets import VirtualBudgets
from scheduler.simulator.cluster import VirtualCluster
from scheduler.simulator.situations import Situation
from scheduler.simulator.summary import HOUR_MS, Summary, summarise
from scheduler.simulator.workload import Draft, works_of
from scheduler.simulator.world import Options, World


@dataclass(frozen=True)
class Outcome:
    """One run of a situation."""

    situation: Situation
    summary: Summary
    subsidy_cny: Mapping[str, float]  # by firm
    left_out: int  # jobs that nothing there can run
    world: World
    # Completion time over that alone on its nominal quota, by firm that has one; None: not asked for.
    against_alone: Mapping[str, float] | None = None


def rehearse(
    situation: Situation,
    drafts: Sequence[Draft],
    seed: int,
    *,
    alone: bool = False,
    tick_ms: int = 600_000,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> Outcome:
    """Runs the jobs to their end; with `alone` each firm's once more on its own quota."""
    devices: dict[str, int] = {}
    for node in situation.nodes:
        devices[node.model] = devices.get(node.model, 0) + node.devices
    works, left_out = works_of(drafts, devices, seed)
    if not works:
        least = min(draft.devices for draft in drafts)
        there = ", ".join(f"{number} {model}" for model, number in devices.items())
        got = f"{len(drafts)} jobs, each of {least} devices or more"
        raise Invalid([FieldProblem("jobs", got, f"at least one that the cluster can run ({there})")])
    cohorts = {cohort.name: cohort for cohort in situation.cohorts}
    cluster = VirtualCluster(
        situation.catalogue, situation.nodes, situation.queues,
        cohorts=cohorts, calendar=_virtual_calendar(situation), budgets=_virtual(situation),
    )  # fmt: skip
    config = PlannerConfig(profile=situation.profile, moves=situation.moves)
    options = Options(tick_ms=tick_ms, keep_gantt=True, keep_curve=True)
    of = len(works) * (2 if alone else 1)
    world = World(cluster, works, config, options, on_progress=lambda done, _: on_progress(done, of))
    world.run()
    ratios = None
    if alone:
        ratios = against_alone(
            world, situation.catalogue, situation.nodes, config, Options(tick_ms=tick_ms),
            lambda done: on_progress(len(works) + done, of), lambda: _virtual(situation),
        )  # fmt: skip
    return Outcome(
        situation,
        summarise(world, situation.prices_nano_cny),
        _subsidies(situation, world),
        left_out,
        world,
        ratios,
    )


def _virtual(situation: Situation) -> VirtualBudgets | None:
    if not situation.budgets:
        return None
    return VirtualBudgets(situation.budgets, situation.prices_nano_cny, situation.origin_ms)


def _virtual_calendar(situation: Situation) -> tuple[Hole, ...]:
    """Its holes in virtual time, which begins at 0."""
    began_ms = situation.origin_ms
    holes = situation.calendar.values()
    return tuple(
        replace(hole, from_ms=hole.from_ms - began_ms, until_ms=hole.until_ms - began_ms) for hole in holes
    )


def _subsidies(situation: Situation, world: World) -> dict[str, float]:
    """What the programs pay each firm: rate x eligible cost, at most the cap. Rounded once a run, not a line."""
    totals: dict[tuple[str, str], float] = {}
    for record in world.records.values():
        for key, paid_ms in record.paid_device_ms.items():
            model = situation.catalogue.get(key)
            cost = paid_ms / HOUR_MS * situation.prices_nano_cny.get(key, 0) / 1e9
            for program in situation.programs:
                if not program.domestic_only or (model is not None and model.domestic):
                    line = (record.work.shape.queue.firm_id, program.program_id)
                    totals[line] = totals.get(line, 0.0) + cost * program.rate_ppm / 1e6
    caps = {program.program_id: program.per_firm_cap_fen for program in situation.programs}
    result: dict[str, float] = {}
    for (firm, program_id), amount in totals.items():
        cap = caps[program_id]
        result[firm] = result.get(firm, 0.0) + (amount if cap is None else min(amount, cap / 100))
    return result


@dataclass(frozen=True, slots=True)
class Verdict:
    """One firm in one situation against the first one."""

    firm: str
    situation: str
    jct_change: float  # -0.1: a tenth sooner
    cost_change_cny: float  # net of subsidies
    verdict: str  # wins, loses, mixed, same


def verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    """Every firm in every situation but the first."""
    base = outcomes[0]
    found = []
    for other in outcomes[1:]:
        for firm, before in base.summary.firms.items():
            after = other.summary.firms.get(firm)
            if after is None:
                continue
            both = before.jct.mean_s and after.jct.mean_s  # else nobody was done, there or here
            jct = after.jct.mean_s / before.jct.mean_s - 1 if both else 0.0
            net_before = before.cost_cny - base.subsidy_cny.get(firm, 0.0)
            net_after = after.cost_cny - other.subsidy_cny.get(firm, 0.0)
            money = net_after - net_before
            word = word_of((-jct, part(-money, net_before)))
            if after.unfinished != before.unfinished:  # who is never done is in no average, and costs nothing
                word = "loses" if after.unfinished > before.unfinished else "wins"
            found.append(Verdict(firm, other.situation.name, jct, money, word))
    return found

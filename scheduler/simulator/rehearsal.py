"""Side by side: the same jobs under the policy as it is and under proposed ones; who wins, who loses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from scheduler.catalogue import Catalogue
from scheduler.domain.budgets import WHOLE_FIRM, BudgetKey, ProjectBudget
from scheduler.domain.configuration_reading import BudgetEntry, configuration_from_json
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.ids import FirmId
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.domain.quotas import contradictions
from scheduler.domain.suggestions import one_of
from scheduler.machine.messages import BudgetSpent
from scheduler.planner import PlannerConfig
from scheduler.planner.config import POLICIES
from scheduler.simulator.alone import against_alone
from scheduler.simulator.budgets import VirtualBudgets
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.clusters import ClusterFile, cluster_from
from scheduler.simulator.history import PastProgram, cohort_noun
from scheduler.simulator.summary import HOUR_MS, Summary, summarise
from scheduler.simulator.workload import Draft, works_of
from scheduler.simulator.world import Options, World

BASE = "as-it-is"  # the first situation's name; others are named after a file, or after a profile that ships
NOTICED = 0.02  # a firm wins or loses where its completion time or net cost changes by more


@dataclass(frozen=True)
class Situation:
    """An installation under one policy."""

    name: str
    catalogue: Catalogue
    nodes: tuple[NodeSpec, ...]
    queues: tuple[Queue, ...]
    cohorts: tuple[Cohort, ...] = ()
    prices_nano_cny: Mapping[str, int] = field(default_factory=dict)
    programs: tuple[PastProgram, ...] = ()
    profile: str = "balanced"
    moves: bool = True
    budgets: tuple[BudgetSpent, ...] = ()  # spent before the run begins
    origin_ms: int = 0  # when virtual time begins, UTC


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
        raise Invalid([FieldProblem("jobs", f"{len(drafts)} jobs", "at least one that the cluster can run")])
    cohorts = {cohort.name: cohort for cohort in situation.cohorts}
    cluster = VirtualCluster(
        situation.catalogue, situation.nodes, situation.queues, cohorts=cohorts, budgets=_virtual(situation)
    )
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


def changed(base: Situation, path: Path) -> Situation:
    """The base with a file's changes. Raises Invalid with every problem.

    The file is one that `suanli apply -f` takes (firms with queues, prices, programs, budgets); beside that it may have
    `profile`, `moves` (whether running jobs that resume may be moved), and `cluster` with more nodes (as in a
    cluster file).
    """
    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(
            [FieldProblem(str(path), error.strerror or str(error), "a file that can be read")]
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid([FieldProblem(str(path), str(error), "YAML")]) from None
    if not isinstance(value, dict):
        raise Invalid([FieldProblem(str(path), repr(value)[:60], "an object with text keys")])
    profile, moves = value.get("profile", base.profile), value.get("moves", base.moves)
    if not isinstance(moves, bool):
        raise Invalid([FieldProblem("moves", repr(moves), "true or false")])
    more = value.get("cluster")
    wanted = configuration_from_json(value, ("cluster", "moves", "profile"))
    result = replace(base, name=path.stem, moves=moves)
    if more is not None:
        added: ClusterFile = cluster_from(more, "cluster")
        models = {**added.catalogue.models, **base.catalogue.models}
        nodes = [replace(node, name=f"{path.stem}-{node.name}") for node in added.nodes]
        result = replace(
            result,
            catalogue=Catalogue({**added.catalogue.vendors, **base.catalogue.vendors}, models),
            nodes=(*base.nodes, *nodes),
            prices_nano_cny={**base.prices_nano_cny, **added.prices_nano_cny},
        )
    prices = dict(result.prices_nano_cny)
    for price in sorted(wanted.prices, key=lambda price: price.effective_from_ms):
        prices[price.model] = price.price_nano_cny
    programs = {program.program_id: program for program in base.programs}
    for new in sorted(wanted.programs, key=lambda program: program.version):
        programs[new.program_id] = PastProgram(
            new.program_id, new.rate_ppm, new.domestic_only, new.per_firm_cap_fen
        )
    return with_profile(
        _require_quotas(
            replace(
                result,
                prices_nano_cny=prices,
                programs=tuple(programs.values()),
                queues=_queues(result, wanted.firms),
                budgets=_budgets(result, wanted.budgets),
                cohorts=tuple(
                    {**_by_name(base.cohorts), **_by_name(map(cohort_noun, wanted.cohorts))}.values()
                ),
            )
        ),
        profile,
        result.name,
        "profile",
    )


def with_profile(base: Situation, profile: object, name: str, field: str = "--profile") -> Situation:
    """The base under another profile, which `field` names. Raises Invalid for one that is not there."""
    if not isinstance(profile, str) or profile not in POLICIES:
        raise Invalid([FieldProblem(field, repr(profile), f"one of {', '.join(POLICIES)}")])
    return replace(base, name=name, profile=profile)


def _by_name(cohorts: Iterable[Cohort]) -> dict[str, Cohort]:
    return {cohort.name: cohort for cohort in cohorts}


def _require_quotas(situation: Situation) -> Situation:
    cohorts = _by_name(situation.cohorts)
    found = contradictions(situation.queues, cohorts, situation.catalogue.models)
    problems = [
        FieldProblem(f"{type(wrong.member).__name__.lower()}: {wrong.field}", str(wrong.got), wrong.want)
        for wrong in found
    ]
    if problems:
        raise Invalid(problems)
    return situation


def _queues(base: Situation, firms: Sequence[Any]) -> tuple[Queue, ...]:
    queues = {queue.key: queue for queue in base.queues}
    pools = sorted(
        {node.pool for node in base.nodes} | {pool for queue in base.queues for pool in queue.pools}
    )
    for firm in firms:
        for entry in firm.queues:
            key = QueueKey(FirmId(firm.name), entry.name)
            if key not in queues:
                known = ", ".join(f"{k.firm_id}/{k.name}" for k in queues)
                raise Invalid(
                    [FieldProblem(f"firms: {firm.name}/{entry.name}", "no jobs there", f"one of {known}")]
                )
            for pool in entry.pools or ():
                if pool not in pools:
                    where = f"firms: {firm.name}/{entry.name}.pools"
                    raise Invalid([FieldProblem(where, pool, f"one of {', '.join(pools)}")])
            old = queues[key]
            queues[key] = replace(
                old,
                pools=old.pools if entry.pools is None else entry.pools,
                nominal=entry.quota.nominal,
                weight=entry.weight,
                cohort=entry.cohort,
                borrowing=entry.quota.borrowing,
                lending=entry.quota.lending,
            )
    return tuple(queues.values())


def _budgets(base: Situation, entries: Sequence[BudgetEntry]) -> tuple[BudgetSpent, ...]:
    budgets = {item.budget.key: item for item in base.budgets}
    firms = sorted({queue.key.firm_id for queue in base.queues})
    for number, entry in enumerate(entries):
        if entry.firm not in firms:
            raise Invalid([FieldProblem(f"budgets[{number}].firm", entry.firm, one_of(entry.firm, firms))])
        key = BudgetKey(FirmId(entry.firm), entry.project or WHOLE_FIRM)
        was = budgets.get(key)
        spent = was.spent if was is not None and was.budget.period is entry.period else 0
        budgets[key] = BudgetSpent(ProjectBudget(key, entry.amount_nano, entry.period), spent)
    return tuple(budgets.values())


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
            jct = after.jct.mean_s / before.jct.mean_s - 1 if before.jct.mean_s else 0.0
            net_before = before.cost_cny - base.subsidy_cny.get(firm, 0.0)
            net_after = after.cost_cny - other.subsidy_cny.get(firm, 0.0)
            money = net_after - net_before
            noticed = abs(money) > NOTICED * max(net_before, 1e-9)
            signs = {_sign(jct if abs(jct) > NOTICED else 0.0), _sign(money if noticed else 0.0)} - {0}
            word = {frozenset(): "same", frozenset({-1}): "wins", frozenset({1}): "loses"}
            found.append(Verdict(firm, other.situation.name, jct, money, word.get(frozenset(signs), "mixed")))
    return found


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)

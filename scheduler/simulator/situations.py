"""An installation under one policy, and the same with what a change file proposes: for rehearsals and for what-if."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scheduler import machine_code
from scheduler.catalogue import Catalogue
from scheduler.domain.budgets import WHOLE_FIRM, BudgetKey, ProjectBudget
from scheduler.domain.calendar import Known, MayReserve, Planned, planned_by
from scheduler.domain.configuration_reading import (
    CalendarEntry,
    Configuration,
    FirmEntry,
    configuration_from_json,
)
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.ids import FirmId, NodeId
from scheduler.domain.queues import Cohort, Queue, QueueKey, told_amount
from scheduler.domain.quotas import Contradiction, beyond_devices, contradictions
from scheduler.domain.suggestions import one_of
from scheduler.domain.time import to_rfc3339
from scheduler.machine.messages import BudgetSpent
from scheduler.planner import Hole, PlannerConfig
from scheduler.planner.config import POLICIES
from scheduler.simulator.cluster import NodeSpec
from scheduler.simulator.clusters import DEFAULT_POOL, ClusterFile, cluster_from, content_of
from scheduler.simulator.history import PastProgram, cohort_noun

BASE = "as-it-is"  # the first situation's name; others are named after a file, or after a profile that ships
_LEFT = ("nodes", "users", "pools")  # of a file for `suanli apply`: changes neither a rehearsal nor a what-if
BESIDE = ("cluster", "moves", "profile")  # what a change file may have beside what `suanli apply` takes


@dataclass(frozen=True)
class Situation:
    """An installation under one policy. Firms go by their names, nodes of the calendar too."""

    name: str
    catalogue: Catalogue
    nodes: tuple[NodeSpec, ...]
    queues: tuple[Queue, ...]
    cohorts: tuple[Cohort, ...] = ()
    prices_nano_cny: Mapping[str, int] = field(default_factory=dict)
    programs: tuple[PastProgram, ...] = ()
    profile: str = "balanced"
    moves: bool = True
    budgets: tuple[BudgetSpent, ...] = ()  # spent before it begins
    calendar: Mapping[str, Hole] = field(default_factory=dict)  # by name, in UTC
    origin_ms: int = 0  # when it begins, UTC; 0: its jobs have no dates
    prices_begin_ms: int | None = None  # when the last of the proposed prices begins, UTC: they count at once
    projects: Mapping[str, Collection[str]] = field(default_factory=dict)  # of firms of which they are known
    left: tuple[str, ...] = ()  # what its change file says that changes nothing here


def changed(base: Situation, path: Path) -> Situation:
    """The base with a file's changes. Raises BadFile, and Invalid with every problem of a section, by the file.

    The file is one that `suanli apply -f` takes (firms with queues, cohorts, pools, maintenance, reservations, prices,
    programs, budgets; prices and programs count at once); beside that it may have `profile`, `moves` (whether running
    jobs that resume may be moved), and `cluster` with more nodes (as in a cluster file).
    """
    value = content_of(path)
    try:
        return _changed(base, value, path.stem)
    except Invalid as error:
        raise Invalid([replace(p, field=f"{path}: {p.field}") for p in error.problems]) from None


def _changed(base: Situation, value: dict[str, Any], name: str) -> Situation:
    profile, moves = value.get("profile", base.profile), value.get("moves", base.moves)
    if not isinstance(moves, bool):
        raise Invalid([FieldProblem("moves", repr(moves)[:60], "true or false")])
    wanted = configuration_from_json(value, BESIDE)
    left = [key for key in _LEFT if value.get(key)]
    if any("projects" in firm for firm in value.get("firms") or ()):
        left.append("firms.projects")
    result = replace(base, name=name, moves=moves, left=tuple(left))
    if value.get("cluster") is not None:
        result = _with_nodes(result, cluster_from(value["cluster"], "cluster"))
    _require_models(wanted, result.catalogue)
    prices = dict(result.prices_nano_cny)
    for price in sorted(wanted.prices, key=lambda price: price.effective_from_ms):
        prices[price.model] = price.price_nano_cny
    programs = {program.program_id: program for program in base.programs}
    for new in sorted(wanted.programs, key=lambda program: program.version):
        programs[new.program_id] = PastProgram(
            new.program_id, new.rate_ppm, new.domestic_only, new.per_firm_cap_fen
        )
    pools = {node.pool for node in result.nodes} | {pool for queue in base.queues for pool in queue.pools}
    pools |= {pool.name for pool in wanted.pools}
    queues = _queues(result, wanted.firms, sorted(pools))
    cohorts = {**_by_name(base.cohorts), **_by_name(map(cohort_noun, wanted.cohorts))}
    _require_quotas(queues, cohorts, result.catalogue)
    _require_used(value.get("cluster"), queues)
    result = replace(
        result,
        prices_nano_cny=prices,
        prices_begin_ms=max((price.effective_from_ms for price in wanted.prices), default=None),
        programs=tuple(programs.values()),
        queues=queues,
        budgets=_budgets(result, wanted),
        cohorts=tuple(cohorts.values()),
    )
    result = replace(result, calendar=_calendar(result, wanted.calendar, sorted(pools)))
    return with_profile(result, profile, result.name, "profile")


def _with_nodes(base: Situation, added: ClusterFile) -> Situation:
    nodes = tuple(replace(node, name=f"{base.name}-{node.name}") for node in added.nodes)
    return replace(
        base,
        catalogue=Catalogue(
            {**added.catalogue.vendors, **base.catalogue.vendors},
            {**added.catalogue.models, **base.catalogue.models},
        ),
        nodes=(*base.nodes, *nodes),
        prices_nano_cny={**base.prices_nano_cny, **added.prices_nano_cny},
    )


def with_profile(base: Situation, profile: object, name: str, field: str = "--profile") -> Situation:
    """The base under another profile, which `field` names. Raises Invalid for one that is not there."""
    if not isinstance(profile, str) or profile not in POLICIES:
        raise Invalid([FieldProblem(field, repr(profile)[:60], f"one of {', '.join(POLICIES)}")])
    return replace(base, name=name, profile=profile)


def notes_of(situations: Sequence[Situation]) -> Iterator[str]:
    """What the change files set in queues, which of their quotas are more than there is, what of them changes nothing
    here, and whose prices are of another time.

    A sentence each. As `suanli apply` does, a file sets its queues as a whole: what it leaves out of one is unset.
    """
    base = {queue.key: queue for queue in situations[0].queues}
    as_it_was = set(_beyond(situations[0]))
    for one in situations[1:]:
        for queue in one.queues:
            for was_and_is in _set_in(base[queue.key], queue):
                yield f"{one.name}: queue {queue.key.firm_id}/{queue.key.name}: {was_and_is}"
        for told in _beyond(one):
            if told not in as_it_was:
                yield f"{one.name}: {told}"
    for one in situations:
        if one.left:
            yield f"{one.name}: changes nothing here: {', '.join(one.left)}"
        if one.prices_begin_ms is not None and one.prices_begin_ms > one.origin_ms:
            yield f"{one.name}: prices that begin by {to_rfc3339(one.prices_begin_ms)} count from the beginning"


def waits_of(situations: Sequence[Situation]) -> Iterator[str]:
    """What a person waits for before the first plan: a sentence, or none."""
    if any(machine_code.wanted(len(one.nodes)) for one in situations):
        yield "machine code for large clusters is made first, where none is kept yet (some 20 s of CPU, once)"


def _beyond(one: Situation) -> Iterator[str]:
    devices: dict[str, Counter[str]] = {}
    for node in one.nodes:
        devices.setdefault(node.pool, Counter())[node.model] += node.devices
    cohorts, unknown = _by_name(one.cohorts), PlannerConfig().unknown_fp16_gflops
    for wrong in beyond_devices(
        one.queues, cohorts, devices, lambda model: one.catalogue.fp16_gflops(model) or unknown
    ):
        yield f"{_told(wrong)}.{wrong.field}: got {wrong.got}, want {wrong.want}"


def _set_in(was: Queue, now: Queue) -> Iterator[str]:
    for limit in ("nominal", "borrowing", "lending"):
        before, after = getattr(was, limit), getattr(now, limit)
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                was_amount, is_amount = (
                    told_amount(key, of[key]) if key in of else None for of in (before, after)
                )
                yield _from_to(f"{limit}.{key}", was_amount, is_amount)
    if was.weight != now.weight:
        yield _from_to("weight", str(was.weight), str(now.weight))
    if was.cohort != now.cohort:
        yield _from_to("cohort", was.cohort, now.cohort)
    if was.pools != now.pools:
        yield _from_to("pools", ", ".join(was.pools), ", ".join(now.pools))


def _from_to(field: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"{field} none -> {after}"
    return f"{field} {before} -> none" if after is None else f"{field} {before} -> {after}"


def require_different_names(situations: Sequence[Situation]) -> None:
    """Raises Invalid where two columns would have one name."""
    names = [situation.name for situation in situations]
    if len(set(names)) != len(names):
        raise Invalid([FieldProblem("--change", ", ".join(names), "files with different names")])


def _by_name(cohorts: Iterable[Cohort]) -> dict[str, Cohort]:
    return {cohort.name: cohort for cohort in cohorts}


def _require_models(wanted: Configuration, catalogue: Catalogue) -> None:
    problems = [
        FieldProblem(
            f"prices[{number}].model",
            price.model,
            one_of(price.model, sorted(catalogue.models), "a device model of the catalogue"),
        )
        for number, price in enumerate(wanted.prices)
        if catalogue.get(price.model) is None
    ]
    if problems:
        raise Invalid(problems)


def _require_quotas(queues: Iterable[Queue], cohorts: Mapping[str, Cohort], catalogue: Catalogue) -> None:
    found = contradictions(queues, cohorts, catalogue.models)
    problems = [FieldProblem(f"{_told(wrong)}.{wrong.field}", str(wrong.got), wrong.want) for wrong in found]
    if problems:
        raise Invalid(problems)


def _told(wrong: Contradiction) -> str:
    member = wrong.member
    if isinstance(member, Queue):
        return f"firms: {member.key.firm_id}/{member.key.name}"
    return f"cohorts: {member.name}"


def _require_used(added: Any, queues: Iterable[Queue]) -> None:
    """Nodes in a pool that no queue may use would change nothing, and nobody would see why."""
    pools = sorted({pool for queue in queues for pool in queue.pools})
    want = "a pool of a queue (of one in this file under firms, too)"
    want += f": {', '.join(pools)}" if pools else ""
    entries = added["nodes"] if added is not None else ()
    problems = [
        FieldProblem(f"cluster.nodes[{number}].pool", entry.get("pool") or "nothing", want)
        for number, entry in enumerate(entries)
        if (entry.get("pool") or DEFAULT_POOL) not in pools
    ]
    if problems:
        raise Invalid(problems)


def _queues(base: Situation, firms: Sequence[FirmEntry], pools: Sequence[str]) -> tuple[Queue, ...]:
    queues = {queue.key: queue for queue in base.queues}
    for firm in firms:
        for entry in firm.queues or ():
            key = QueueKey(FirmId(firm.name), entry.name)
            where = f"firms: {firm.name}/{entry.name}"
            if key not in queues:
                known = sorted(f"{k.firm_id}/{k.name}" for k in queues)
                raise Invalid(
                    [FieldProblem(where, "no such queue", one_of(f"{firm.name}/{entry.name}", known))]
                )
            for pool in entry.pools or ():
                if pool not in pools:
                    raise Invalid([FieldProblem(f"{where}.pools", pool, one_of(pool, pools))])
            queues[key] = Queue(
                key,
                tuple(pools) if entry.pools is None else entry.pools,  # as `suanli apply` does
                entry.quota.nominal,
                entry.weight,
                entry.cohort,
                entry.quota.borrowing,
                entry.quota.lending,
            )
    return tuple(queues.values())


def _budgets(base: Situation, wanted: Configuration) -> tuple[BudgetSpent, ...]:
    budgets = {item.budget.key: item for item in base.budgets}
    firms = sorted({queue.key.firm_id for queue in base.queues})
    new = {firm.name: firm.projects or () for firm in wanted.firms}
    for number, entry in enumerate(wanted.budgets):
        if entry.firm not in firms:
            raise Invalid([FieldProblem(f"budgets[{number}].firm", entry.firm, one_of(entry.firm, firms))])
        known = sorted({*base.projects.get(entry.firm, ()), *new.get(entry.firm, ())})
        if entry.firm in base.projects and entry.project is not None and entry.project not in known:
            want = one_of(entry.project, known)
            raise Invalid([FieldProblem(f"budgets[{number}].project", entry.project, want)])
        key = BudgetKey(FirmId(entry.firm), entry.project or WHOLE_FIRM)
        was = budgets.get(key)
        spent = was.spent if was is not None and was.budget.period is entry.period else 0
        budgets[key] = BudgetSpent(ProjectBudget(key, entry.amount_nano, entry.period), spent)
    return tuple(budgets.values())


def _calendar(base: Situation, entries: Sequence[CalendarEntry], pools: Collection[str]) -> dict[str, Hole]:
    holes = dict(base.calendar)
    if entries and not base.origin_ms:
        want = "nothing: jobs of a table have no dates"
        raise Invalid([FieldProblem(entry.where, entry.name, want) for entry in entries])
    planned = {
        name: Planned(hole.from_ms, hole.until_ms, hole.nodes, hole.queue) for name, hole in holes.items()
    }
    known = Known(
        {node.name: (NodeId(node.name), node.pool) for node in base.nodes},
        sorted(pools),
        {queue.key: MayReserve(queue.key.firm_id, queue.pools) for queue in base.queues},
        planned,
    )
    problems: list[FieldProblem] = []
    for entry in entries:
        made = planned[entry.name] = planned_by(
            entry,
            known,
            base.origin_ms,
            lambda *said: problems.append(FieldProblem(said[0], str(said[1]), said[2])),
        )
        holes[entry.name] = Hole(made.from_ms, made.until_ms, made.nodes, made.queue, entry.why)
    if problems:
        raise Invalid(problems)
    return holes

"""Whether quotas of queues and cohorts agree with each other: asked when they are configured, not when they bite."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from scheduler.domain.configuration_reading import COMPUTE_TFLOPS
from scheduler.domain.queues import COMPUTE, Cohort, Queue, told_amount

MOST_LEVELS = 32
"""Cohorts that lie in one another at most: who asks what a queue may take walks to the top of its tree."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One field of a queue or cohort that cannot be."""

    member: Queue | Cohort
    field: str
    got: object
    want: str


def contradictions(
    queues: Iterable[Queue], cohorts: Mapping[str, Cohort], models: Collection[str]
) -> list[Contradiction]:
    """Everything that is wrong in the whole tree; nothing is said of what hangs on a broken branch.

    Cost: members x keys x depth of the tree.
    """
    members: list[Queue | Cohort] = [*cohorts.values(), *queues]
    found = [wrong for member in members for wrong in _tree(member, cohorts)]
    found.extend(wrong for member in members for wrong in _models(member, models))
    if found:
        return found
    total = _totals(members, cohorts)
    return [wrong for member in members for wrong in _limits(member, total)]


def beyond_devices(
    queues: Collection[Queue],
    cohorts: Mapping[str, Cohort],
    devices: Mapping[str, Mapping[str, int]],
    gflops: Callable[[str], int],
) -> list[Contradiction]:
    """Nominal quotas above all that their pools have: of queues; where these are right, of cohorts with what is below.

    They may be configured, since nodes may come later; of pools without any nodes nothing is said. `devices`: by pool
    and model; `gflops`: of one device of a model. Cost: as `contradictions`, and members x pools x models.
    """
    total = _totals([*cohorts.values(), *queues], cohorts)
    pools: dict[tuple[str, str], set[str]] = {}
    for queue in queues:
        at: Queue | Cohort | None = queue
        while at is not None:
            pools.setdefault(_name(at), set()).update(queue.pools)
            at = cohorts.get(parent_of(at) or "")
    for members in (queues, cohorts.values()):
        found = [
            wrong
            for member in members
            for wrong in _beyond(
                member, total.get(_name(member), {}), pools.get(_name(member), ()), devices, gflops
            )
        ]
        if found:
            return found
    return []


def _beyond(
    member: Queue | Cohort,
    quota: Mapping[str, int],
    pools: Iterable[str],
    devices: Mapping[str, Mapping[str, int]],
    gflops: Callable[[str], int],
) -> Iterator[Contradiction]:
    there: dict[str, int] = {}
    for pool in pools:
        for model, count in devices.get(pool, {}).items():
            there[model] = there.get(model, 0) + count
            there[COMPUTE] = there.get(COMPUTE, 0) + count * gflops(model)
    for key, amount in quota.items() if there else ():
        have = there.get(key, 0)
        if amount > have:
            told = told_amount(key, amount)
            got = told if isinstance(member, Queue) else f"{told} with all that is below it"
            want = f"at most {told_amount(key, have)}, as its pools have no more (nodes may come later)"
            yield Contradiction(member, f"nominal.{_in_file(key)}", got, want)


def parent_of(member: Queue | Cohort) -> str | None:
    """The cohort above."""
    return member.cohort if isinstance(member, Queue) else member.parent


def _tree(member: Queue | Cohort, cohorts: Mapping[str, Cohort]) -> Iterator[Contradiction]:
    at = "cohort" if isinstance(member, Queue) else "parent"
    parent = parent_of(member)
    if parent is None:
        for limit in ("borrowing", "lending"):
            if getattr(member, limit):
                want = f"nothing, or a {at}: where there is no {at}, nobody borrows and nobody lends"
                yield Contradiction(member, limit, dict(getattr(member, limit)), want)
        return
    if parent not in cohorts:
        yield Contradiction(member, at, parent, "a cohort of this file or one that exists")
        return
    if isinstance(member, Cohort):
        path = dict.fromkeys([member.name])  # in order
        while parent is not None and parent not in path:
            path[parent] = None
            above = cohorts.get(parent)
            parent = None if above is None else above.parent
        if parent == member.name:
            circle = " -> ".join([*path, parent])
            yield Contradiction(
                member, at, member.parent, f"a cohort that is not below it: {circle} is a circle"
            )
        elif parent is None and len(path) == MOST_LEVELS + 1:  # those below it need not be named, too
            want = (
                f"a cohort further up: {member.name} would be on level {len(path)},"
                f" and a tree has {MOST_LEVELS} at most"
            )
            yield Contradiction(member, at, member.parent, want)


def _models(member: Queue | Cohort, models: Collection[str]) -> Iterator[Contradiction]:
    for field in ("nominal", "borrowing", "lending"):
        for key in getattr(member, field):
            if key != COMPUTE and key not in models:
                yield Contradiction(member, f"{field}.{key}", key, "a device model of the catalogue")


def _totals(
    members: Iterable[Queue | Cohort], cohorts: Mapping[str, Cohort]
) -> dict[tuple[str, str] | None, dict[str, int]]:
    """Quota of every member with all that is below it, and of the tree that it hangs in (under its root)."""
    total: dict[tuple[str, str] | None, dict[str, int]] = {}
    for member in members:
        at: Queue | Cohort | None = member
        while at is not None:
            sums = total.setdefault(_name(at), {})
            for key, amount in member.nominal.items():
                sums[key] = sums.get(key, 0) + amount
            at = cohorts.get(parent_of(at) or "")
    for member in members:
        at = member
        while (above := cohorts.get(parent_of(at) or "")) is not None:
            at = above
        total[("tree", str(_name(member)))] = total[_name(at)]
    return total


def _limits(
    member: Queue | Cohort, total: Mapping[tuple[str, str] | None, Mapping[str, int]]
) -> Iterator[Contradiction]:
    own, tree = total.get(_name(member), {}), total[("tree", str(_name(member)))]
    for key, amount in member.lending.items():
        if key not in own:
            want = f"a nominal quota of {_in_file(key)} beside it: nothing can be lent of what is not there"
            yield Contradiction(member, f"lending.{_in_file(key)}", told_amount(key, amount), want)
        elif amount > own[key]:
            want = f"at most {told_amount(key, own[key])}, its nominal quota"
            yield Contradiction(member, f"lending.{_in_file(key)}", told_amount(key, amount), want)
    for key, amount in member.borrowing.items():
        if key not in tree:
            want = f"a nominal quota of {_in_file(key)} somewhere in its tree: without one {_in_file(key)} has no limit"
            yield Contradiction(member, f"borrowing.{_in_file(key)}", told_amount(key, amount), want)
        elif amount > tree[key] - own.get(key, 0):
            most = told_amount(key, tree[key] - own.get(key, 0))
            want = f"at most {most}: the others of its tree have no more to lend"
            yield Contradiction(member, f"borrowing.{_in_file(key)}", told_amount(key, amount), want)


def _in_file(key: str) -> str:
    """The key of an amount as a file has it: compute is set in TFLOPS."""
    return COMPUTE_TFLOPS if key == COMPUTE else key


def _name(member: Queue | Cohort) -> tuple[str, str]:
    if isinstance(member, Queue):
        return "queue", f"{member.key.firm_id}/{member.key.name}"
    return "cohort", member.name

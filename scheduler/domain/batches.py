"""Jobs that are submitted together: names become ids, arrays become jobs, and no job waits for itself."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from scheduler.domain.errors import FieldProblem
from scheduler.domain.ids import JobId
from scheduler.domain.jobs import Dependencies, JobSpec

MOST_JOBS = 10_000
_SHOWN = 10  # names of a cycle


@dataclass(frozen=True, slots=True)
class NewJob:
    """One job to be inserted."""

    item: int  # of the batch
    job_id: JobId
    spec: JobSpec
    array_id: JobId | None = None
    array_index: int | None = None


@dataclass(frozen=True, slots=True)
class Arranged:
    """A batch as it will be inserted: every job, and what is wrong, by item."""

    jobs: tuple[NewJob, ...]
    problems: Mapping[int, tuple[FieldProblem, ...]]


def references_beyond(specs: Mapping[int, JobSpec]) -> set[str]:
    """References that are no name of the batch: ids of jobs or arrays that must exist already."""
    names = {spec.name for spec in specs.values()}
    return {ref for spec in specs.values() for ref in spec.dependencies.all if ref not in names}


def arrange(specs: Mapping[int, JobSpec], existing: frozenset[str], new_id: Callable[[], str]) -> Arranged:
    """Resolves names and unfolds arrays. `existing` are the references beyond the batch that are there.

    A name that several items have, a reference to nothing, and a cycle are problems of the items that refer.
    Cost: O(items + references + jobs).
    """
    items, problems = _named(specs), wrong_references(specs, existing)
    ids = {item: JobId(new_id()) for item in specs}
    jobs = [job for item in specs if item not in problems for job in _unfold(item, specs, items, ids, new_id)]
    return Arranged(tuple(jobs), {item: tuple(found) for item, found in problems.items()})


def wrong_references(specs: Mapping[int, JobSpec], existing: frozenset[str]) -> dict[int, list[FieldProblem]]:
    """What is wrong with what the items wait for, by item. Cost: O(items + references)."""
    items = _named(specs)
    problems: dict[int, list[FieldProblem]] = {}
    for item, spec in specs.items():
        for field, reference in _fields(spec.dependencies):
            named = items.get(reference, [])
            if len(named) > 1:
                want = f"a name that one job of the batch has ({len(named)} have it), or an id"
            elif not named and reference not in existing:
                want = "the id of a job or array of this firm, or the name of a job of this batch"
            else:
                continue
            problems.setdefault(item, []).append(FieldProblem(field, reference, want))
    for item, path in _cycles(specs, items).items():
        shown = " -> ".join(path[:_SHOWN]) + (" -> …" if len(path) > _SHOWN else "")
        problems.setdefault(item, []).append(
            FieldProblem("dependencies", shown, "no job that waits for itself")
        )
    return problems


def _named(specs: Mapping[int, JobSpec]) -> dict[str, list[int]]:
    items: dict[str, list[int]] = {}
    for item, spec in specs.items():
        items.setdefault(spec.name, []).append(item)
    return items


def _fields(dependencies: Dependencies) -> list[tuple[str, str]]:
    return [
        (f"dependencies.{kind}[{number}]", reference)
        for kind in ("after", "after_ok", "after_any")
        for number, reference in enumerate(getattr(dependencies, kind))
    ]


def _unfold(
    item: int,
    specs: Mapping[int, JobSpec],
    items: Mapping[str, Sequence[int]],
    ids: Mapping[int, JobId],
    new_id: Callable[[], str],
) -> list[NewJob]:
    def resolve(references: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(ids[items[ref][0]] if ref in items else ref for ref in references)

    spec = specs[item]
    old = spec.dependencies
    after, after_ok, after_any = resolve(old.after), resolve(old.after_ok), resolve(old.after_any)
    spec = replace(spec, dependencies=Dependencies(after, after_ok, after_any))
    if spec.array is None:
        return [NewJob(item, ids[item], spec)]
    return [NewJob(item, JobId(new_id()), spec, ids[item], index) for index in range(spec.array.count)]


def _cycles(specs: Mapping[int, JobSpec], items: Mapping[str, Sequence[int]]) -> dict[int, list[str]]:
    """Items that wait for themselves, each with the names on its way. Cost: O(items + references).

    What is left when everything that waits for nothing left has been taken away lies on a cycle or behind one;
    from each such item a walk along the first open reference ends in a cycle.
    """
    before = {
        item: [items[ref][0] for ref in spec.dependencies.all if len(items.get(ref, ())) == 1]
        for item, spec in specs.items()
    }
    after: dict[int, list[int]] = {}
    for item, earlier in before.items():
        for one in earlier:
            after.setdefault(one, []).append(item)
    open_references = {item: len(earlier) for item, earlier in before.items()}
    free = [item for item, count in open_references.items() if not count]
    while free:
        for later in after.get(free.pop(), ()):
            open_references[later] -= 1
            if not open_references[later]:
                free.append(later)
    left = {item for item, count in open_references.items() if count}
    found: dict[int, list[str]] = {}
    seen: set[int] = set()
    for start in sorted(left):
        path: list[int] = []
        on_path: dict[int, int] = {}
        item = start
        while item not in seen and item not in on_path:
            on_path[item] = len(path)
            path.append(item)
            item = next(one for one in before[item] if one in left)
        if item in on_path:
            cycle = path[on_path[item] :]
            for number, member in enumerate(cycle):
                way = [*cycle[number:], *cycle[:number], member]
                found[member] = [specs[one].name for one in way[: _SHOWN + 1]]
        seen.update(path)
    return found


def followers(specs: Mapping[int, JobSpec], refused: Set[int], unread: Set[str]) -> set[int]:
    """Items that wait, over any number of others, for a refused one, or one of those `unread` that no spec was made
    of, by their names; the refused ones are not among them.
    """
    after: dict[str, list[int]] = {}
    for item, spec in specs.items():
        for reference in spec.dependencies.all:
            after.setdefault(reference, []).append(item)
    found: set[int] = set()
    waiting = [*(specs[item].name for item in refused), *(unread - {spec.name for spec in specs.values()})]
    while waiting:
        for item in after.get(waiting.pop(), ()):
            if item not in found and item not in refused:
                found.add(item)
                waiting.append(specs[item].name)
    return found

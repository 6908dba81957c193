"""Jobs that are submitted together."""

import itertools
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.batches import arrange, references_beyond
from scheduler.domain.jobs import Array, Dependencies, JobSpec
from tests.builders.jobs import a_spec


def ids() -> "itertools.count[int]":
    """A source of numbers."""
    return itertools.count()


def arranged(specs: Mapping[int, JobSpec], *existing: str):  # type: ignore[no-untyped-def]
    """With ids that say their order."""
    numbers = ids()
    return arrange(specs, frozenset(existing), lambda: f"id-{next(numbers)}")


def after_ok(name: str, *references: str, array: int | None = None) -> JobSpec:
    """A job that follows others."""
    return a_spec(
        name, dependencies=Dependencies(after_ok=references), array=None if array is None else Array(array)
    )


def test_names_of_the_batch_become_ids_and_forward_references_are_fine() -> None:
    specs = dict(
        enumerate([after_ok("train", "prepare"), after_ok("prepare"), after_ok("judge", "train", "old")])
    )
    assert references_beyond(specs) == {"old"}
    found = arranged(specs, "old")
    assert found.problems == {}
    by_name = {job.spec.name: job for job in found.jobs}
    assert by_name["train"].spec.dependencies.after_ok == (by_name["prepare"].job_id,)
    assert by_name["judge"].spec.dependencies.after_ok == (by_name["train"].job_id, "old")


def test_an_array_becomes_jobs_and_whoever_waits_for_its_name_waits_for_all_of_them() -> None:
    found = arranged({0: after_ok("shard", array=3), 1: after_ok("merge", "shard")})
    shards = [job for job in found.jobs if job.item == 0]
    assert [job.array_index for job in shards] == [0, 1, 2]
    (array_id,) = {job.array_id for job in shards}
    assert found.jobs[-1].spec.dependencies.after_ok == (array_id,)
    assert array_id not in {job.job_id for job in found.jobs}


def test_unknown_and_ambiguous_references_are_problems_of_those_who_refer() -> None:
    found = arranged({0: after_ok("a"), 1: after_ok("a"), 2: after_ok("b", "a", "nowhere")})
    assert {item: [p.field for p in problems] for item, problems in found.problems.items()} == {
        2: ["dependencies.after_ok[0]", "dependencies.after_ok[1]"]
    }
    assert {job.item for job in found.jobs} == {0, 1}


def test_a_cycle_is_named_and_what_is_behind_it_is_not_blamed() -> None:
    found = arranged(
        {0: after_ok("a", "c"), 1: after_ok("b", "a"), 2: after_ok("c", "b"), 3: after_ok("d", "a")}
    )
    assert set(found.problems) == {0, 1, 2}
    assert found.problems[0][0].got == "a -> c -> b -> a"
    assert arranged({0: after_ok("me", "me")}).problems[0][0].got == "me -> me"


@given(st.integers(1, 12), st.data())
def test_a_batch_has_problems_exactly_where_a_job_can_reach_itself(size: int, data: st.DataObject) -> None:
    edges = data.draw(
        st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=2 * size)
    )
    specs = {n: after_ok(f"j{n}", *(f"j{b}" for a, b in sorted(edges) if a == n)) for n in range(size)}
    reach = {n: {b for a, b in edges if a == n} for n in range(size)}
    for _ in range(size):
        reach = {n: reach[n].union(*(reach[m] for m in reach[n])) for n in range(size)}
    cyclic = {n for n in range(size) if n in reach[n]}
    found = arranged(specs)
    # Of two cycles that share jobs one is named at a time; a batch with a cycle is never without a problem.
    assert set(found.problems) <= cyclic
    assert bool(found.problems) is bool(cyclic)

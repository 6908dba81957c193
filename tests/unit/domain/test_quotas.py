"""What a tree of cohorts cannot be: it is refused when it is configured, and nothing fails on it later."""

from scheduler.catalogue import load_catalogue
from scheduler.domain.ids import FirmId
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.domain.quotas import MOST_LEVELS, Contradiction, contradictions
from scheduler.planner.sharing import sharing_of
from tests.builders.jobs import MODEL


def chain(levels: int) -> tuple[Queue, dict[str, Cohort]]:
    """A queue under so many cohorts: c1 at the top, its own at the bottom."""
    names = [f"c{level}" for level in range(1, levels + 1)]
    above = [None, *names[:-1]]
    cohorts = {name: Cohort(name, parent) for name, parent in zip(names, above, strict=True)}
    return Queue(QueueKey(FirmId("firm"), "q"), ("pool",), {MODEL: 4}, cohort=names[-1]), cohorts


def wrong_with(levels: int) -> list[Contradiction]:
    queue, cohorts = chain(levels)
    return contradictions([queue], cohorts, {MODEL})


def test_a_tree_of_as_many_levels_as_there_may_be_is_planned_with() -> None:
    assert wrong_with(MOST_LEVELS) == []
    queue, cohorts = chain(MOST_LEVELS)
    sharing = sharing_of([queue], cohorts.values(), load_catalogue())
    assert sharing.refusal(queue, MODEL, 4) is None
    assert sharing.refusal(queue, MODEL, 5) is not None


def test_a_deeper_tree_is_refused_once_however_deep_it_is() -> None:
    for levels in (MOST_LEVELS + 1, 1_000):
        (wrong,) = wrong_with(levels)
        assert (wrong.member, wrong.field, wrong.got) == (Cohort("c33", "c32"), "parent", "c32")
        assert wrong.want == "a cohort further up: c33 would be on level 33, and a tree has 32 at most"


def test_a_circle_of_more_levels_than_there_may_be_is_told_as_a_circle() -> None:
    _, cohorts = chain(MOST_LEVELS + 8)
    cohorts["c1"] = Cohort("c1", f"c{MOST_LEVELS + 8}")
    found = contradictions([], cohorts, {MODEL})
    assert [wrong.member.name for wrong in found if isinstance(wrong.member, Cohort)] == list(cohorts)
    assert all(wrong.want.endswith("is a circle") for wrong in found)

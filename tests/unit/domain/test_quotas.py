"""What a tree of cohorts cannot be: it is refused when it is configured, and nothing fails on it later."""

from scheduler.catalogue import load_catalogue
from scheduler.domain.ids import FirmId
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.domain.quotas import MOST_LEVELS, Contradiction, beyond_devices, contradictions
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


def beyond(
    *nominal: dict[str, int], pools: tuple[str, ...] = ("pool",), own: int = 0
) -> list[tuple[str, object, str]]:
    """What is said of queues of one cohort, where `pool` has 16 devices of 100 GFLOPS, and `empty` has no nodes."""
    queues = [
        Queue(QueueKey(FirmId("firm"), f"q{n}"), pools, amounts, cohort="c")
        for n, amounts in enumerate(nominal)
    ]
    cohorts = {"c": Cohort("c", nominal={MODEL: own} if own else {})}
    found = beyond_devices(queues, cohorts, {"pool": {MODEL: 16}}, lambda _: 100)
    return [(wrong.field, wrong.got, wrong.want) for wrong in found]


def test_a_quota_of_more_devices_than_its_pools_have_is_told_with_both_numbers() -> None:
    assert beyond({MODEL: 16}) == []
    ((field, got, want),) = beyond({MODEL: 17})
    assert (field, got) == (f"nominal.{MODEL}", "17")
    assert want == "at most 16, as its pools have no more (nodes may come later)"
    assert beyond({"other": 1})[0][1:] == ("1", want.replace("16", "0"))
    assert beyond({COMPUTE: 1600}) == []
    assert beyond({COMPUTE: 1700}) == [("nominal.compute_tflops", "1.7", want.replace("16", "1.6"))]


def test_quotas_that_are_too_much_together_are_told_of_their_cohort() -> None:
    assert beyond({MODEL: 8}, {MODEL: 8}) == []
    ((field, got, _),) = beyond({MODEL: 16}, {MODEL: 8})
    assert (field, got) == (f"nominal.{MODEL}", "24 with all that is below it")
    assert [got for _, got, _ in beyond({MODEL: 8}, {MODEL: 4}, own=8)] == ["20 with all that is below it"]
    assert [got for _, got, _ in beyond({MODEL: 99}, {MODEL: 8})] == ["99"]


def test_of_pools_without_nodes_nothing_is_told() -> None:
    assert beyond({MODEL: 99}, pools=("empty",)) == []
    assert [got for _, got, _ in beyond({MODEL: 99}, pools=("empty", "pool"))] == ["99"]


def test_what_is_wrong_with_compute_is_told_as_a_file_has_it() -> None:
    queue = Queue(
        QueueKey(FirmId("firm"), "q"), ("pool",), {COMPUTE: 2000}, cohort="c", lending={COMPUTE: 3000}
    )
    (wrong,) = contradictions([queue], {"c": Cohort("c")}, {MODEL})
    assert (wrong.field, wrong.got, wrong.want) == (
        "lending.compute_tflops",
        "3",
        "at most 2, its nominal quota",
    )

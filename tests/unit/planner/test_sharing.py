"""Quota in a cohort tree: nominal, borrowing, lending, and what a queue gets back."""

from collections.abc import Mapping

from scheduler.catalogue import load_catalogue
from scheduler.domain.ids import FirmId
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.planner import PlannerConfig, Snapshot
from scheduler.planner.sharing import Sharing
from tests.builders.jobs import MODEL

A, B = QueueKey(FirmId("firm-a"), "q"), QueueKey(FirmId("firm-b"), "q")


def a_queue(
    key: QueueKey,
    nominal: int,
    *,
    cohort: str | None = "all",
    borrowing: Mapping[str, int] | None = None,
    lending: Mapping[str, int] | None = None,
) -> Queue:
    return Queue(key, ("pool",), {MODEL: nominal}, 1, cohort, borrowing or {}, lending or {})


def sharing(*queues: Queue, held: Mapping[QueueKey, int] | None = None, **cohorts: Cohort) -> Sharing:
    snapshot = Snapshot(
        load_catalogue(),
        (),
        {queue.key: queue for queue in queues},
        (),
        held={key: {MODEL: devices} for key, devices in (held or {}).items()},
        cohorts=cohorts or {"all": Cohort("all")},
    )
    return Sharing(snapshot, PlannerConfig())


def may_start(share: Sharing, queue: Queue, devices: int) -> bool:
    return share.refusal(queue, MODEL, devices) is None


def test_without_a_cohort_the_nominal_quota_is_the_limit() -> None:
    queue = a_queue(A, 8, cohort=None)
    assert may_start(sharing(queue, held={A: 4}), queue, 4)
    assert not may_start(sharing(queue, held={A: 4}), queue, 5)


def test_a_queue_borrows_what_others_do_not_use_and_no_more() -> None:
    a, b = a_queue(A, 8), a_queue(B, 8)
    assert may_start(sharing(a, b), a, 16)
    assert may_start(sharing(a, b, held={B: 6}), a, 10)
    assert not may_start(sharing(a, b, held={B: 6}), a, 11)


def test_a_borrowing_limit_and_a_lending_limit_hold() -> None:
    a, b = a_queue(A, 8, borrowing={MODEL: 2}), a_queue(B, 8)
    assert may_start(sharing(a, b), a, 10)
    assert not may_start(sharing(a, b), a, 11)
    a, b = a_queue(A, 8), a_queue(B, 8, lending={MODEL: 3})
    assert may_start(sharing(a, b), a, 11)
    assert not may_start(sharing(a, b), a, 12)
    assert may_start(sharing(a, b, held={A: 11}), b, 5)  # what it does not lend nobody can take


def test_a_tree_lends_across_its_branches_within_their_limits() -> None:
    a, b = a_queue(A, 4, cohort="left"), a_queue(B, 4, cohort="right")
    tree = {
        "root": Cohort("root"),
        "left": Cohort("left", "root", borrowing={MODEL: 2}),
        "right": Cohort("right", "root"),
    }
    assert may_start(sharing(a, b, **tree), a, 6)
    assert not may_start(sharing(a, b, **tree), a, 7)
    assert may_start(sharing(a, b, **tree), b, 8)


def test_quota_in_compute_units_counts_over_all_models() -> None:
    gflops = load_catalogue().fp16_gflops(MODEL)
    queue = Queue(A, ("pool",), {COMPUTE: 10 * gflops})
    assert may_start(sharing(queue, held={A: 6}), queue, 4)
    assert not may_start(sharing(queue, held={A: 6}), queue, 5)


def test_a_quota_in_compute_units_is_told_in_the_unit_in_which_it_is_set() -> None:
    gflops = load_catalogue().fp16_gflops(MODEL)
    assert gflops == 313_000
    queue = Queue(A, ("pool",), {COMPUTE: 2 * gflops + 500})
    too_much = sharing(queue).refusal(queue, MODEL, 3)
    assert too_much is not None
    assert too_much.sentence == "asks for 939 TFLOPS; the queue's whole quota is 626.5 TFLOPS"
    reached = sharing(queue, held={A: 2}).refusal(queue, MODEL, 1)
    assert reached is not None
    assert reached.sentence == "asks for 313 TFLOPS; the queue holds 626 of its 626.5"


def test_only_what_is_held_beyond_the_nominal_quota_is_borrowed() -> None:
    a, b = a_queue(A, 8), a_queue(B, 8)
    share = sharing(a, b, held={A: 11})
    assert share.over_nominal(a, MODEL) == 3
    assert share.borrows(a, MODEL, 1)
    assert not share.borrows(b, MODEL, 8)
    assert share.root(A) == share.root(B) is not None


def test_taking_and_giving_back_leaves_everything_as_it_was() -> None:
    a, b = a_queue(A, 8), a_queue(B, 8)
    share = sharing(a, b, held={A: 2})
    share.take(A, MODEL, 9)
    assert not may_start(share, b, 6)
    share.take(A, MODEL, -9)
    assert may_start(share, b, 14)
    assert share.held(A, MODEL) == 2

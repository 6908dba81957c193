"""What must stay 0 is counted: device time given to two at once, and use that nobody had been given."""

from dataclasses import replace
from fractions import Fraction

import pytest
from prometheus_client import REGISTRY

from scheduler.ledger.attribution import Attribution, count_overrun, count_use
from scheduler.ledger.charging import Charge, Place
from suanli.evidence.records import AllocationEvent, DeviceShare
from suanli.evidence.verify import verify
from suanli.evidence.windows import parse_segment
from suanli.rating.attribution import CLOCK_TOLERANCE_MS, NODE_LOST
from tests.builders.evidence import GRID, T0, Operator, Use, honest_operator


def event(kind: str, allocation_id: str, at_ms: int, *devices: str) -> AllocationEvent:
    """An allocation event of some job."""
    shares = tuple(DeviceShare(name, 1_000_000) for name in devices or ("d-1",))
    return AllocationEvent(kind, allocation_id, "job", 1, 0, "firm", "p", shares, "node", at_ms, 1, "", None)


def double_ms(*events: AllocationEvent) -> int:
    """What is counted over these events."""
    attribution = Attribution()
    for item in events:
        attribution.take(item)
    return attribution.double_ms


def test_one_after_the_other_is_not_twice() -> None:
    assert double_ms(event("granted", "a", 0), event("ended", "a", 10), event("granted", "b", 10)) == 0


def test_an_overlap_is_counted_at_the_first_end() -> None:
    first_ends = [event("granted", "a", 0), event("granted", "b", 4), event("ended", "a", 10)]
    assert double_ms(*first_ends) == 6
    assert double_ms(*first_ends, event("ended", "b", 20)) == 6
    inner = [
        event("granted", "a", 0),
        event("granted", "b", 4),
        event("ended", "b", 7),
        event("ended", "a", 10),
    ]
    assert double_ms(*inner) == 3


def test_other_devices_and_repeated_ends_do_not_count() -> None:
    assert double_ms(event("granted", "a", 0), event("granted", "b", 0, "d-2"), event("ended", "a", 9)) == 0
    twice = [
        event("granted", "a", 0),
        event("granted", "b", 0),
        event("ended", "a", 5),
        event("ended", "a", 9),
    ]
    assert double_ms(*twice) == 5


def test_open_allocations_are_known_by_device() -> None:
    attribution = Attribution()
    attribution.take(event("granted", "a", 0, "d-1", "d-2"))
    attribution.take(event("ended", "a", 5, "d-1"))
    assert attribution.open_now() == {"d-2": 1}


END_MS = T0 + 2 * GRID + 18_000


def ended(at_ms: int = END_MS, used_until_ms: int = T0 + 2 * GRID + 17_000, reason: str = "") -> Operator:
    """al-1, granted at T0 + 60,000 ms, ends and is used until then; five windows."""
    operator = honest_operator(2)
    operator.nodes["node-a"].uses[0].end_ms = used_until_ms
    operator.allocation("ended", "al-1", at_ms, reason=reason)
    operator.all_cut(5, start=3)
    return operator


def misused(**changes: object) -> Operator:
    """Somebody else's use of node-a's second device."""
    operator = honest_operator(4)
    operator.nodes["node-a"].uses.append(Use("d-2", T0 + 4 * GRID, T0 + 5 * GRID, **changes))  # type: ignore[arg-type]
    operator.all_cut(5, start=5)
    return operator


def counted(name: str) -> float:
    """A counter of the ledger as it stands."""
    return REGISTRY.get_sample_value(f"suanli_ledger_{name}_device_ms_total") or 0.0


def counted_over(operator: Operator) -> tuple[float, float]:
    """Unattributed and after a loss, over every segment of an operator's log."""
    before = counted("unattributed"), counted("after_loss")
    authorisations = operator.collector().inputs(len(operator.log)).authorisations
    for item in operator.log:
        for salted in item.window.segments if item.window else ():
            segment = parse_segment(salted.body)
            authorisation = authorisations.get(segment.allocation_id or "")
            if segment.observed == "in_use" and authorisation is not None:
                given = segment.device.device_id in authorisation.share_ppm_of
                count_use(segment, authorisation if given else None)
            else:
                count_use(segment, None)
    return counted("unattributed") - before[0], counted("after_loss") - before[1]


LATE_MS = 60_000


@pytest.mark.parametrize(
    ("operator", "codes", "unattributed_ms", "after_loss_ms"),
    [
        (lambda: honest_operator(5), set(), 0, 0),
        (lambda: ended(used_until_ms=END_MS + CLOCK_TOLERANCE_MS), set(), 0, 0),
        (lambda: ended(used_until_ms=END_MS + LATE_MS), {"attribution.outside"}, LATE_MS, 0),
        (
            lambda: ended(used_until_ms=END_MS + LATE_MS, reason=NODE_LOST),
            {"attribution.after_loss"},
            0,
            LATE_MS,
        ),
        (
            lambda: ended(used_until_ms=END_MS + CLOCK_TOLERANCE_MS, reason=NODE_LOST),
            set(),
            0,
            0,
        ),
        (lambda: misused(allocation_id="al-ghost"), {"attribution.unauthorised"}, GRID, 0),
        (lambda: misused(allocation_id="al-1"), {"attribution.unauthorised"}, GRID, 0),
    ],
    ids=["honest", "within the tolerance", "padded", "lost", "lost, tolerance", "of nobody", "of another"],
)
def test_the_metrics_count_what_the_verifier_names(operator, codes, unattributed_ms, after_loss_ms):
    made = operator()
    verdict = verify(made.bundle((T0, T0 + 5 * GRID)), policy=made.policy())
    rated = {"attribution.outside", "attribution.unauthorised", "attribution.share", "attribution.after_loss"}
    assert {finding.code for finding in verdict.findings} & rated == codes
    assert counted_over(made) == (unattributed_ms, after_loss_ms)


def test_more_of_a_device_than_was_given_is_counted_by_its_share():
    made = honest_operator(5)
    inputs = made.collector().inputs(len(made.log))
    half = replace(inputs.authorisations["al-1"], share_ppm_of={"d-1": 500_000})
    segments = [parse_segment(s.body) for item in made.log if item.window for s in item.window.segments]
    used = [segment for segment in segments if segment.allocation_id == "al-1"]
    before = counted("unattributed")
    for segment in used:
        count_use(segment, half)
    assert counted("unattributed") - before == sum(s.end_ms - s.start_ms for s in used) / 2


@pytest.mark.parametrize(("reason", "name"), [("", "unattributed"), (NODE_LOST, "after_loss")])
def test_what_was_charged_beyond_an_end_that_came_late_is_counted_when_it_comes(reason, name):
    charge = Charge(
        place=Place(1, 0), firm_id="firm", job_id="job", allocation_id="a", device_id="d-1",
        device_model="m", from_ms=0, to_ms=300_000, billable_ms=300_000, live_ms=0, worked_ms=0,
        share_ppm=1_000_000, price_id=None, amount_fen=Fraction(0),
    )  # fmt: skip
    before = counted(name)
    count_overrun(charge, replace(event("ended", "a", 299_000), reason=reason))
    assert counted(name) == before
    count_overrun(charge, replace(event("ended", "a", 200_000), reason=reason))
    assert counted(name) - before == 100_000

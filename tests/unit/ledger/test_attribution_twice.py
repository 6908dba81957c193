"""Device time given to two allocations at once is counted, once."""

from scheduler.ledger.attribution import Attribution
from suanli.evidence.records import AllocationEvent, DeviceShare


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

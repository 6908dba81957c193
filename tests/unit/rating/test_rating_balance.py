"""The balance: every millisecond of every device in exactly one bucket (R3)."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from suanli.rating.balance import collect_balance, device_balance
from suanli.rating.held import HeldTime, state_held
from suanli.rating.inputs import WHOLE_PPM, RegisteredDevice
from suanli.rating.intervals import length_ms, merge, subtract
from suanli.rating.usage import collect_usage
from tests.builders.rating import HOUR, MODEL, T0, authorisation, inputs, use

DAY = (T0, T0 + 24 * HOUR)


def _buckets(*pieces, grants=(), **changes):
    return device_balance(inputs(pieces, grants, **changes), *DAY)["d-1"]


def _held(given_inputs, period=DAY):
    return state_held(collect_usage(given_inputs, *period), collect_balance(given_inputs, *period))


def _hours(value):
    return value / WHOLE_PPM / HOUR


def test_each_observation_falls_into_its_bucket():
    buckets = _buckets(
        use(0, HOUR),
        use(HOUR, 2 * HOUR, state="free", allocation_id=None),
        use(2 * HOUR, 3 * HOUR, state="free", allocation_id=None),
        use(3 * HOUR, 4 * HOUR, state="faulty", allocation_id=None),
        use(4 * HOUR, 5 * HOUR, state="unknown", allocation_id=None),
        grants=[authorisation(ended_ms=T0 + 2 * HOUR)],
    )
    assert _hours(buckets.allocated) == 1
    assert _hours(buckets.reserved) == 1
    assert _hours(buckets.idle) == 1
    assert _hours(buckets.faulty) == 1
    assert _hours(buckets.unknown) == 1 + 19


def test_use_without_authority_is_unknown():
    buckets = _buckets(
        use(0, HOUR, allocation_id="al-ghost"), use(HOUR, 2 * HOUR), grants=[authorisation(ended_ms=T0)]
    )
    assert buckets.allocated == 0
    assert _hours(buckets.unknown) == 24


def test_time_out_of_service_is_maintenance_only_where_it_was_free():
    buckets = _buckets(
        use(0, 4 * HOUR, state="free", allocation_id=None),
        grants=[authorisation(ended_ms=T0 + HOUR)],
        maintenance={"d-1": [(T0, T0 + 2 * HOUR)]},
    )
    assert (_hours(buckets.reserved), _hours(buckets.maintenance), _hours(buckets.idle)) == (1, 1, 2)


def test_a_device_counts_from_enrolment_to_retirement():
    devices = [RegisteredDevice("d-1", MODEL, T0 + HOUR, T0 + 3 * HOUR)]
    buckets = _buckets(use(0, 2 * HOUR), devices=devices)
    assert (_hours(buckets.allocated), _hours(buckets.unknown)) == (1, 1)


STATES = st.sampled_from(["in_use", "free", "faulty", "unknown"])
EDGES = st.lists(st.integers(0, 30 * HOUR), min_size=2, max_size=20, unique=True).map(sorted)


@given(EDGES, st.data())
def test_the_buckets_always_sum_to_the_time_in_the_register(edges, data):
    pieces = []
    for start, end in itertools.pairwise(edges):
        state = data.draw(STATES)
        if data.draw(st.booleans()):
            pieces.append(use(start, end, state=state, allocation_id="al-1" if state == "in_use" else None))
    first, last = sorted(data.draw(st.tuples(st.integers(0, 30 * HOUR), st.integers(0, 30 * HOUR))))
    grants = [authorisation(granted_ms=T0 + first, ended_ms=T0 + last)]
    retired = data.draw(st.one_of(st.none(), st.integers(T0 + HOUR, T0 + 26 * HOUR)))
    device = RegisteredDevice("d-1", MODEL, T0 + HOUR, retired)
    given_inputs = inputs(pieces, grants, devices=[device])
    balance = device_balance(given_inputs, *DAY)
    registered_ms = min(DAY[1], retired or DAY[1]) - max(DAY[0], device.enrolled_ms)
    assert sum(b.total() for b in balance.values()) == max(registered_ms, 0) * 1_000_000
    # What the only firm held and nobody used is what the balance reserved, or what was faulty or unknown meanwhile.
    for held in _held(given_inputs).get("firm-a", ()):
        assert held.held_ms == held.allocated_ms + held.unused_ms
        assert held.reserved_ms * 1_000_000 == balance["d-1"].reserved if balance else held.reserved_ms == 0
        assert held.faulty_ms * 1_000_000 <= (balance["d-1"].faulty if balance else 0)


STRETCH = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(lambda pair: (min(pair), max(pair)))


@given(STRETCH, st.lists(STRETCH, max_size=8))
def test_what_is_left_and_what_was_taken_make_the_whole(stretch, taken):
    left = subtract(stretch, taken)
    points = set(range(*stretch)) - {t for start, end in taken for t in range(start, end)}
    assert {t for start, end in left for t in range(start, end)} == points
    assert length_ms(left) == len(points)
    assert merge(left) == left


def test_parts_of_a_device_are_allocated_reserved_and_idle_side_by_side():
    """al-1 runs on a quarter; al-2 was given a half later and does not run yet; a quarter is nobody's."""
    given = [
        authorisation(share_ppm_of={"d-1": 250_000}),
        authorisation(allocation_id="al-2", share_ppm_of={"d-1": 500_000}, granted_ms=T0 + HOUR // 2),
    ]
    free = {"state": "free", "allocation_id": None, "live_ms": 0, "busy_ms": 0}
    observed = [use(share_ppm=250_000), use(share_ppm=750_000, **free)]
    buckets = device_balance(inputs(observed, given), T0, T0 + HOUR)["d-1"]
    assert buckets.allocated == HOUR * 250_000
    assert buckets.reserved == HOUR // 2 * 500_000
    assert buckets.idle == HOUR // 2 * 750_000 + HOUR // 2 * 250_000
    assert buckets.total() == HOUR * WHOLE_PPM


def test_each_firm_is_told_what_the_time_was_that_it_held():
    given = [
        authorisation(ended_ms=T0 + 3 * HOUR),
        authorisation(
            allocation_id="al-2", firm_id="firm-b", granted_ms=T0 + 3 * HOUR, ended_ms=T0 + 5 * HOUR
        ),
    ]
    nobody = {"allocation_id": None, "live_ms": 0, "busy_ms": 0}
    observed = [
        use(0, HOUR, state="free", **nobody),
        use(HOUR, 2 * HOUR, live_ms=HOUR // 2, busy_ms=HOUR // 4),
        use(2 * HOUR, 3 * HOUR, state="unknown", **nobody),
        use(3 * HOUR, 4 * HOUR, state="faulty", **nobody),
        use(4 * HOUR, 6 * HOUR, state="free", **nobody),
    ]
    held = _held(inputs(observed, given))
    assert held == {
        "firm-a": (HeldTime(MODEL, 3 * HOUR, HOUR, HOUR // 2, HOUR // 4, HOUR, 0, HOUR),),
        "firm-b": (HeldTime(MODEL, 2 * HOUR, 0, 0, 0, HOUR, HOUR, 0),),
    }


def test_of_a_part_of_a_device_nobody_tells_whose_was_not_used():
    nobody = {"state": "free", "allocation_id": None, "live_ms": 0, "busy_ms": 0}
    observed = [use(share_ppm=500_000), use(share_ppm=500_000, **nobody)]
    for firm_id, share_ppm, reserved_ms in (
        ("firm-a", 500_000, HOUR // 2),
        ("firm-a", 250_000, 0),
        ("firm-b", 500_000, 0),
    ):
        parts = [
            authorisation(share_ppm_of={"d-1": 500_000}),
            authorisation(allocation_id="al-2", firm_id=firm_id, share_ppm_of={"d-1": share_ppm}),
        ]
        held = _held(inputs(observed, parts), (T0, T0 + HOUR))
        (of,) = held[firm_id]
        assert of.reserved_ms == reserved_ms
        assert of.held_ms == of.allocated_ms + of.unused_ms

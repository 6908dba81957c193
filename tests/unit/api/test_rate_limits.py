"""How fast one principal may ask."""

import pytest

from scheduler.api.rate_limits import BURST_S, MOST_PRINCIPALS, RateLimits
from scheduler.domain.errors import TooManyRequests


class Clock:
    def __init__(self) -> None:
        self.now_ns = 100_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    clock = Clock()
    limits = RateLimits(5, clock)
    left = []
    for _ in range(5 * BURST_S):
        allowance = limits.take("ana")
        assert allowance is not None
        left.append(allowance.left)
    assert left == list(range(49, -1, -1))
    with pytest.raises(TooManyRequests) as caught:
        limits.take("ana")
    assert caught.value.fields == {"per_second": 5, "burst": 50, "retry_after_s": 1}
    clock.now_ns += 200_000_000
    assert limits.take("ana") is not None
    with pytest.raises(TooManyRequests):
        limits.take("ana")


def test_refused_requests_cost_nothing_and_others_are_not_meant() -> None:
    clock = Clock()
    limits = RateLimits(1, clock)
    for _ in range(BURST_S):
        limits.take("ana")
    for _ in range(100):
        with pytest.raises(TooManyRequests):
            limits.take("ana")
    assert limits.take("ben") is not None
    clock.now_ns += 1_000_000_000
    assert limits.take("ana") is not None


def test_a_rate_of_none_limits_nothing() -> None:
    limits = RateLimits(0)
    assert {limits.take("ana") for _ in range(1000)} == {None}


def test_memory_is_bounded_however_many_ask() -> None:
    limits = RateLimits(1, Clock())
    for number in range(MOST_PRINCIPALS + 10):
        limits.take(str(number))
    assert len(limits._used_until_ns) == MOST_PRINCIPALS


def test_headers_say_what_is_left() -> None:
    allowance = RateLimits(5, Clock()).take("ana")
    assert allowance is not None
    assert dict(allowance.headers()) == {
        b"ratelimit-policy": b'"principal";q=50;w=10',
        b"ratelimit": b'"principal";r=49;t=1',
    }

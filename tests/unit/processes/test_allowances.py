"""What one node may send: bursts, rates, forgiveness, and that a node's streams share one allowance."""

import pytest

from scheduler.domain.errors import TooManyRequests
from scheduler.rpc.allowances import SECOND_NS, Allowances, StreamLimits

LIMITS = StreamLimits(
    messages_per_s=10, messages_burst=5, bytes_per_s=1_000, bytes_burst=2_000, refused_burst=3, streams=2
)


class Clock:
    """Stands still until it is moved."""

    now_ns = 7 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def allowances(clock: Clock) -> Allowances:
    return Allowances(LIMITS, clock)


def test_a_burst_passes_and_then_the_rate_holds(allowances: Allowances, clock: Clock) -> None:
    assert [allowances.pace_s("n", 1) for _ in range(7)] == [0, 0, 0, 0, 0, 0.1, 0.2]
    clock.now_ns += SECOND_NS
    assert allowances.pace_s("n", 1) == 0


def test_bytes_count_as_well_as_windows(allowances: Allowances) -> None:
    assert allowances.pace_s("n", 2_000) == 0
    assert allowances.pace_s("n", 500) == 0.5


def test_one_nodes_flood_is_not_anothers(allowances: Allowances) -> None:
    for _ in range(50):
        allowances.pace_s("n", 1_000)
    assert allowances.pace_s("m", 1) == 0


def test_too_many_refused_windows_are_named_and_forgiven_in_time(
    allowances: Allowances, clock: Clock
) -> None:
    allowances.refused("n", 2)
    with pytest.raises(TooManyRequests, match="refused: more than 3 windows of node n were refused"):
        allowances.refused("n", 2)
    with pytest.raises(TooManyRequests, match="come back in 2 s"):
        allowances.open("n")
    clock.now_ns += 2 * SECOND_NS
    allowances.open("n")


def test_streams_of_a_node_are_counted(allowances: Allowances) -> None:
    allowances.open("n")
    allowances.open("n")
    with pytest.raises(TooManyRequests, match="streams: node n has 2 such streams open"):
        allowances.open("n")
    allowances.open("m")
    allowances.close("n")
    allowances.open("n")

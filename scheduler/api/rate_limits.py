"""How fast one principal may ask this process: so many requests at once, and so many a second after that.

Headers as in draft-ietf-httpapi-ratelimit-headers (RateLimit-Policy, RateLimit), and Retry-After with 429.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from scheduler.domain.errors import TooManyRequests

MOST_PRINCIPALS = 10_000
BURST_S = 10
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a principal after a request."""

    burst: int
    left: int
    full_after_s: int

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """It as headers of an answer."""
        return (
            (b"ratelimit-policy", b'"principal";q=%d;w=%d' % (self.burst, BURST_S)),
            (b"ratelimit", b'"principal";r=%d;t=%d' % (self.left, self.full_after_s)),
        )


class RateLimits:
    """Generic cell rate algorithm: one number a principal, the time until which it has used its allowance."""

    def __init__(self, per_second: int, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._per_second = per_second
        self._burst = per_second * BURST_S
        self._clock_ns = clock_ns
        self._used_until_ns: OrderedDict[str, int] = OrderedDict()

    def take(self, principal_id: str) -> Allowance | None:
        """Count a request; None where nothing is limited. Raises TooManyRequests, which says when to come back."""
        if self._per_second == 0:
            return None
        now_ns, each_ns = self._clock_ns(), SECOND_NS // self._per_second
        until_ns = max(self._used_until_ns.get(principal_id, now_ns), now_ns) + each_ns
        ahead_ns = until_ns - now_ns
        left = self._burst - ahead_ns // each_ns
        if left < 0:
            wait_s = -(-(ahead_ns - self._burst * each_ns) // SECOND_NS)
            raise TooManyRequests(
                f"more than {self._per_second} requests a second (and {self._burst} at once): "
                f"come back in {wait_s} s",
                {"per_second": self._per_second, "burst": self._burst, "retry_after_s": wait_s},
            )
        self._used_until_ns[principal_id] = until_ns
        self._used_until_ns.move_to_end(principal_id)
        if len(self._used_until_ns) > MOST_PRINCIPALS:
            self._used_until_ns.popitem(last=False)
        return Allowance(self._burst, left, -(-ahead_ns // SECOND_NS))

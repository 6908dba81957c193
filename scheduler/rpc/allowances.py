"""What one node may send: so much at once and so much a second, whatever it is and however it is called.

A node that comes back after a week is paced, not refused: its stream is read more slowly. A node that sends what
is good for nothing is sent away by name, until it has been quiet for a while. All streams of a node share one
allowance, so that opening more of them gains nothing.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.domain.errors import TooManyRequests

SECOND_NS = 1_000_000_000
MOST_NODES = 100_000


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of one node, by default of its usage windows. Rates are a second; bursts may come after a silence."""

    messages_per_s: int = 200
    messages_burst: int = 4_000  # two weeks of windows, and then some
    bytes_per_s: int = 4 << 20
    bytes_burst: int = 64 << 20
    # Refused windows that a node may have at once; one is forgiven every second.
    refused_burst: int = 100
    streams: int = 4
    # Windows of one stream that were read and are not stored yet.
    queued_bytes: int = 8 << 20


# Unary calls. An agent has half as many on their way at once; a call paces by its number, not by its bytes.
CALL_LIMITS = StreamLimits(messages_per_s=500, messages_burst=10_000, streams=32)


@dataclass(slots=True)
class _Used:
    """Generic cell rate algorithm: the moments until which a node has used up what it may have."""

    messages_until_ns: int = 0
    bytes_until_ns: int = 0
    refused_until_ns: int = 0
    streams: int = 0


@dataclass(slots=True)
class Allowances:
    """The allowances of all nodes of one gateway. Cost: a few integer operations a window."""

    limits: StreamLimits
    clock_ns: Callable[[], int] = time.monotonic_ns
    what: str = "streams"  # or calls: what `open` counts
    _nodes: "OrderedDict[str, _Used]" = field(default_factory=OrderedDict)

    def _used(self, node_id: str) -> _Used:
        used = self._nodes.get(node_id)
        if used is None:
            used = self._nodes[node_id] = _Used()
            if len(self._nodes) > MOST_NODES:
                idle = next((n for n, u in self._nodes.items() if u.streams == 0), node_id)
                if idle != node_id:
                    del self._nodes[idle]
        self._nodes.move_to_end(node_id)
        return used

    def open(self, node_id: str) -> None:
        """Count a stream or a call. Raises TooManyRequests for one too many, or while too much was refused."""
        used = self._used(node_id)
        if used.streams >= self.limits.streams:
            raise TooManyRequests(
                f"{self.what}: node {node_id} has {used.streams} such {self.what} open, and may have no more"
            )
        self._check_refused(node_id, used)
        used.streams += 1

    def close(self, node_id: str) -> None:
        """What `open` counted has ended."""
        self._used(node_id).streams -= 1

    def pace_s(self, node_id: str, size_bytes: int, messages: int = 1) -> float:
        """Count what came; returns how long to wait before the next is read, 0 within the allowance."""
        used, limits, now_ns = self._used(node_id), self.limits, self.clock_ns()
        each_ns = SECOND_NS // limits.messages_per_s
        used.messages_until_ns = max(used.messages_until_ns, now_ns) + messages * each_ns
        used.bytes_until_ns = max(used.bytes_until_ns, now_ns) + size_bytes * SECOND_NS // limits.bytes_per_s
        ahead_ns = max(
            used.messages_until_ns - now_ns - limits.messages_burst * each_ns,
            used.bytes_until_ns - now_ns - limits.bytes_burst * SECOND_NS // limits.bytes_per_s,
        )
        return max(ahead_ns, 0) / SECOND_NS

    def refused(self, node_id: str, count: int) -> None:
        """Count refused windows. Raises TooManyRequests where they are too many."""
        used = self._used(node_id)
        used.refused_until_ns = max(used.refused_until_ns, self.clock_ns()) + count * SECOND_NS
        self._check_refused(node_id, used)

    def _check_refused(self, node_id: str, used: _Used) -> None:
        ahead_s = (used.refused_until_ns - self.clock_ns()) // SECOND_NS
        if ahead_s >= self.limits.refused_burst:
            wait_s = ahead_s - self.limits.refused_burst + 1
            raise TooManyRequests(
                f"refused: more than {self.limits.refused_burst} windows of node {node_id} were refused;"
                f" come back in {wait_s} s"
            )

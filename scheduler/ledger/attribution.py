"""Whether a device was ever given to two allocations at once, as the log's own events tell it. PURE."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.ledger.metrics import DOUBLE_MS
from suanli.evidence.records import AllocationEvent

# How many past allocations of a device are remembered; an overlap with an older one has been counted.
REMEMBERED = 16


@dataclass(slots=True)
class _Stretch:
    allocation_id: str
    from_ms: int
    to_ms: int | None = None


@dataclass(slots=True)
class Attribution:
    """Takes allocation events in log order and counts device time that was given twice."""

    _given: dict[str, deque[_Stretch]] = field(default_factory=dict)
    double_ms: int = 0

    def take(self, event: AllocationEvent) -> None:
        """Take one event; each pair of overlapping allocations counts once, at the first end of the two."""
        if event.event == "granted":
            for share in event.devices:
                stretches = self._given.setdefault(share.device_id, deque(maxlen=REMEMBERED))
                stretches.append(_Stretch(event.allocation_id, event.at_ms))
        elif event.event == "ended":
            for share in event.devices:
                self._end(share.device_id, event)

    def _end(self, device_id: str, event: AllocationEvent) -> None:
        stretches = self._given.get(device_id, deque())
        mine = next((s for s in stretches if s.allocation_id == event.allocation_id), None)
        if mine is None or mine.to_ms is not None:
            return
        mine.to_ms = event.at_ms
        for other in stretches:
            if other is not mine and other.to_ms is None:
                overlap_ms = max(event.at_ms - max(mine.from_ms, other.from_ms), 0)
                self.double_ms += overlap_ms
                DOUBLE_MS.inc(overlap_ms)

    def open_now(self) -> Mapping[str, int]:
        """How many open allocations each device has, for devices with any."""
        counts = {device: sum(s.to_ms is None for s in given) for device, given in self._given.items()}
        return {device: count for device, count in counts.items() if count}

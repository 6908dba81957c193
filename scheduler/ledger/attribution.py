"""Conservation, counted: device time given twice, and device time in use that nobody had been given. PURE."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.ledger.charging import Charge, authorised
from scheduler.ledger.metrics import AFTER_LOSS_MS, DOUBLE_MS, UNATTRIBUTED_MS
from suanli.evidence.records import AllocationEvent
from suanli.evidence.windows import Segment
from suanli.rating.attribution import NODE_LOST, Beyond, beyond
from suanli.rating.inputs import WHOLE_PPM, Authorisation

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


def count_use(segment: Segment, authorisation: Authorisation | None) -> None:
    """Count what of a segment its allocation did not give, by the verifier's rule; None: there is no such allocation.

    Time is weighted by the share of the device.
    """
    if segment.observed != "in_use":
        return
    length_ms = segment.end_ms - segment.start_ms
    outside, share_ppm = Beyond(length_ms), 0
    if authorisation is not None:
        used = segment.start_ms, segment.end_ms
        outside = beyond(used, authorised(authorisation), lost=authorisation.lost)
        share_ppm = authorisation.share_ppm_of.get(segment.device.device_id, 0)
    _count(outside, segment.share_ppm)
    more_ppm = max(segment.share_ppm - share_ppm, 0)
    _count(Beyond(length_ms - sum(outside)), more_ppm)


def count_overrun(charge: Charge, ended: AllocationEvent) -> None:
    """Count what was charged beyond an end that nobody knew of then."""
    charged = charge.from_ms, charge.to_ms
    given = charge.from_ms, ended.at_ms
    _count(beyond(charged, given, lost=ended.reason == NODE_LOST), charge.share_ppm)


def _count(outside: Beyond, share_ppm: int) -> None:
    UNATTRIBUTED_MS.inc(outside.unattributed_ms * share_ppm / WHOLE_PPM)
    AFTER_LOSS_MS.inc(outside.after_loss_ms * share_ppm / WHOLE_PPM)

"""Decayed device-time per queue, in whole numbers: the same after a reload as in memory.

Device-time is GFLOP/s x ms (nominal FP16 speed of the devices held, times the time they were held), summed
in buckets of an hour; a bucket counts half as much for each day of its age, and nothing after a week.
"""

from collections.abc import Mapping

from scheduler.domain.queues import QueueKey
from scheduler.domain.time import HOUR_MS

BUCKET_MS = HOUR_MS
HALF_LIFE_BUCKETS = 24
HORIZON_BUCKETS = 7 * 24
# 2^(-age/24) in millionths. Made once: the same constants everywhere.
_WEIGHTS_PPM = tuple(
    round(1_000_000 * 0.5 ** (age / HALF_LIFE_BUCKETS)) for age in range(HORIZON_BUCKETS + 1)
)


class UsageLedger:
    """What each queue has used lately and uses now."""

    def __init__(self, from_ms: int) -> None:
        self._buckets: dict[QueueKey, dict[int, int]] = {}
        self._speed: dict[QueueKey, int] = {}  # GFLOPS held now
        self._until_ms = from_ms
        # By queue what older buckets than the newest count for, in millionths, and of which hour that is.
        self._aged: dict[QueueKey, int] = {}
        self._aged_at = -1

    def advance(self, now_ms: int) -> None:
        """Counts what is held up to now. Cost: O(queues that hold something)."""
        if now_ms <= self._until_ms:
            return
        for key, speed in self._speed.items():
            self._add(key, speed, self._until_ms, now_ms)
        if now_ms // BUCKET_MS != self._until_ms // BUCKET_MS:
            self._forget(now_ms // BUCKET_MS - HORIZON_BUCKETS)
        self._until_ms = now_ms

    def start(self, key: QueueKey, gflops: int, at_ms: int) -> None:
        """Devices with this speed together are held from now."""
        self.advance(at_ms)
        self._speed[key] = self._speed.get(key, 0) + gflops

    def stop(self, key: QueueKey, gflops: int, at_ms: int) -> None:
        """They are held no longer."""
        self.advance(at_ms)
        left = self._speed.get(key, 0) - gflops
        if left:
            self._speed[key] = left
        else:
            self._speed.pop(key, None)

    def remember(self, key: QueueKey, gflops: int, start_ms: int, end_ms: int | None) -> None:
        """Takes over a stretch that began before this ledger did; open ones go on."""
        horizon_ms = (self._until_ms // BUCKET_MS - HORIZON_BUCKETS) * BUCKET_MS
        self._add(key, gflops, max(start_ms, horizon_ms), self._until_ms if end_ms is None else end_ms)
        if end_ms is None:
            self._speed[key] = self._speed.get(key, 0) + gflops

    def decayed(self, now_ms: int) -> Mapping[QueueKey, int]:
        """Usage of each queue, older use counting less. Cost: O(queues), x hours of a week once an hour."""
        self.advance(now_ms)
        newest = now_ms // BUCKET_MS
        if newest != self._aged_at:
            self._aged, self._aged_at = {}, newest
        usage = {}
        for key, buckets in self._buckets.items():
            aged = self._aged.get(key)
            if aged is None:
                aged = self._aged[key] = sum(
                    amount * _WEIGHTS_PPM[min(max(newest - bucket, 0), HORIZON_BUCKETS)]
                    for bucket, amount in buckets.items()
                    if bucket != newest
                )
            usage[key] = (aged + buckets.get(newest, 0) * _WEIGHTS_PPM[0]) // 1_000_000
        return usage

    def content(self) -> object:
        """Everything in it, for comparison."""
        return (self._until_ms, self._speed, {key: b for key, b in self._buckets.items() if b})

    def _add(self, key: QueueKey, gflops: int, start_ms: int, end_ms: int) -> None:
        buckets = self._buckets.setdefault(key, {})
        while start_ms < end_ms:
            bucket = start_ms // BUCKET_MS
            stop_ms = min(end_ms, (bucket + 1) * BUCKET_MS)
            buckets[bucket] = buckets.get(bucket, 0) + gflops * (stop_ms - start_ms)
            if bucket != self._aged_at:
                self._aged.pop(key, None)
            start_ms = stop_ms

    def _forget(self, oldest: int) -> None:
        self._aged = {}
        for buckets in self._buckets.values():
            for bucket in [bucket for bucket in buckets if bucket < oldest]:
                del buckets[bucket]

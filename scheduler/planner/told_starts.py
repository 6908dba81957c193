"""What announced starts teach: how long jobs of one size wait, and between which bounds the next one will.

How long a job waits follows more from how many devices it needs together than from what the forecast plays forward:
where jobs are stopped and moved for others, one device comes free within minutes whatever the queue is. So the
waits of each size are learned, with as much of the forecast in them as has been worth believing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

SURE = 0.8  # probability with which a job starts inside its interval

# A start expected after so long is told in the same words as one expected at once.
_SHORTEST_WAIT_MS = 60_000.0
_SIZES = 8  # 1, 2 to 3, 4 to 7 devices ...; all above belong to the last
KEPT_STARTS = 200  # of each size
# With so many starts of its own a size counts as much as what is guessed: a start a good deal earlier or later than
# expected (logarithms). As they come the newest starts of each other size fade too, of so much weight all together.
_OWN_ENOUGH = 30.0
_EARLIER, _LATER = -4.0, 2.0
_NEWEST_OF_OTHERS, _OTHERS_COUNT = 20, 10.0
# By so many starts' scatter (variance of logarithms) the forecast is believed in proportion before they say otherwise.
_BELIEVED = 10.0
# What an interval leaves out on either side follows how often starts came there, over about so many starts.
_TAIL = (1.0 - SURE) / 2
_FOLLOWED, _LEAST_TAIL, _WIDEST_TAIL = 33.0, 0.01, 0.3


@dataclass(frozen=True, slots=True)
class OfSize:
    """The newest starts of jobs of one size, (expected, waited) as logarithms, and the parts of the errors that its
    intervals leave out, of early starts and of late ones."""

    starts: tuple[tuple[float, float], ...] = ()
    tails: tuple[float, float] = (_TAIL, _TAIL)

    def plus(self, told_ms: Sequence[float], waited_ms: float, waiting: int = 0) -> "OfSize":
        """With one start more, of a job told (low, by the forecast, high) waits, while others of the size wait.

        Who starts outside his interval widens the next ones on that side, who does not narrows them: adaptive
        conformal inference (Gibbs and Candes 2021). As many start inside as is said where that comes to rest:
        tails are bounded, and where every wait is longer than the last, so that even the longest one seen falls
        short, fewer do. Whether an interval that is told now holds is known after as many more starts as jobs
        wait. Steps that add up to much before then overshoot, back and forth, so each is the less the more wait.
        """
        low_ms, expected_ms, high_ms = told_ms
        early, late = self.tails
        step = 1.0 / (_FOLLOWED + waiting)
        return OfSize(
            (*self.starts[-KEPT_STARTS + 1 :], (_log(expected_ms), _log(waited_ms))),
            (
                _follow(early, step, missed=waited_ms < low_ms),
                _follow(late, step, missed=waited_ms > high_ms),
            ),
        )


class Waits(NamedTuple):
    """A job that has not started since it was told its start."""

    told_ms: int
    expected: float  # wait, as a logarithm


@dataclass(frozen=True)
class Starts:
    """Announced starts by size, and the newest of those that were told theirs and still wait; immutable."""

    sizes: tuple[OfSize, ...] = (OfSize(),) * _SIZES
    waiting: tuple[tuple[Waits, ...], ...] = ((),) * _SIZES

    def plus(
        self, told_ms: Sequence[float], waited_ms: float, devices: int = 1, waiting: int = 0
    ) -> "Starts":
        """With one start more, of a job with so many devices that was told (low, by the forecast, high) waits.

        `waiting`: so many others of the size were told theirs and wait, beyond the newest too.
        """
        at = size_of(devices)
        return self.having(at, self.sizes[at].plus(told_ms, waited_ms, waiting))

    def having(self, at: int, size: OfSize) -> "Starts":
        """With this of one size."""
        return replace(self, sizes=(*self.sizes[:at], size, *self.sizes[at + 1 :]))

    def interval_ms(self, expected_ms: float, devices: int, now_ms: int) -> tuple[float, float, float]:
        """(low, as likely more as less, high): between the outer ones a job waits with probability SURE.

        The forecast alone is mostly too late: it knows nothing of work that starts out of turn on what would stand
        idle meanwhile.

        Cost: of each size the first time in a moment O(kept starts x log of them), then nothing.
        """
        at = size_of(devices)
        bounds = self._bounds.get(at)
        if bounds is None or bounds.at_ms != now_ms:
            bounds = self._bounds[at] = self._drawn(at, now_ms)
        expected = _log(expected_ms)
        low, middle, high = (bound + bounds.believed * expected for bound in bounds.waited)
        low += bounds.guessed * min(0.0, expected + _EARLIER - low)
        middle += bounds.guessed * (expected - middle)
        high += bounds.guessed * max(0.0, expected + _LATER - high)
        return _exp(low), _exp(middle), _exp(high)

    @cached_property
    def _bounds(self) -> dict[int, "_Bounds"]:
        return {}

    def _drawn(self, at: int, now_ms: int) -> "_Bounds":
        own = self.sizes[at]
        guessed = 1.0 / (1.0 + (len(own.starts) / _OWN_ENOUGH) ** 2)
        rest = [number for number in range(_SIZES) if number != at]
        others = [start for number in rest for start in self.sizes[number].starts[-_NEWEST_OF_OTHERS:]]
        weight = min(1.0, guessed * _OTHERS_COUNT / len(others)) if others else 0.0
        seen = [(*start, 1.0) for start in own.starts] + [(*start, weight) for start in others]
        if not seen:
            return _Bounds(now_ms, 1.0, (_EARLIER, 0.0, _LATER), guessed)
        believed = _slope(seen)
        beyond = [(waited - believed * expected, False, weight) for expected, waited, weight in seen]
        waiting = [(one, 1.0) for one in self.waiting[at]]
        waiting += [(one, weight) for number in rest for one in self.waiting[number][-_NEWEST_OF_OTHERS:]]
        beyond += [(_log(now_ms - one.told_ms) - believed * one.expected, True, w) for one, w in waiting]
        beyond.sort()
        total = sum(weight for _, _, weight in beyond) + 1.0  # the one that is still to come
        known = list(_passed_on(beyond, total))
        early, late = own.tails
        low, middle, high = (_quantile(known, total * part) for part in (early, 0.5, 1.0 - late))
        return _Bounds(now_ms, believed, (low, middle, high), guessed)


class _Bounds(NamedTuple):
    """Of the waits of one size, as logarithms."""

    at_ms: int
    believed: float  # the part of the expected wait that counts
    waited: tuple[float, float, float]  # (low, middle, high) of what is waited beyond that
    guessed: float  # the part of the guess


def size_of(devices: int) -> int:
    """The number of the size: jobs with as many devices, to a factor of two."""
    return min(max(devices, 1).bit_length(), _SIZES) - 1


def waits(told_ms: int, expected_ms: float) -> Waits:
    """A job that was told at a moment to expect a start after so long."""
    return Waits(told_ms, _log(expected_ms))


def _log(wait_ms: float) -> float:
    return math.log(wait_ms + _SHORTEST_WAIT_MS)


def _exp(log: float) -> float:
    return max(0.0, math.exp(log) - _SHORTEST_WAIT_MS)


def _follow(tail: float, step: float, *, missed: bool) -> float:
    return min(max(tail + step * (_TAIL - missed), _LEAST_TAIL), _WIDEST_TAIL)


def _slope(seen: Sequence[tuple[float, float, float]]) -> float:
    """How much longer those wait who are expected to: 0 is not at all, 1 in proportion."""
    total = sum(weight for _, _, weight in seen)
    expected = sum(weight * x for x, _, weight in seen) / total
    waited = sum(weight * y for _, y, weight in seen) / total
    scatter = sum(weight * (x - expected) ** 2 for x, _, weight in seen)
    together = sum(weight * (x - expected) * (y - waited) for x, y, weight in seen)
    return min(max((together + _BELIEVED) / (scatter + _BELIEVED), 0.0), 1.0)


def _passed_on(ordered: Sequence[tuple[float, bool, float]], total: float) -> Iterator[tuple[float, float]]:
    """Of (value, whether it still waits, weight) the values that are known, with the weights of those that wait.

    Who waits on will have waited longer: his weight goes to those above him, in proportion (Kaplan and Meier 1958).
    Without them who waits long would be missing among the newest starts, and the bounds too low wherever waits grow.
    """
    share = 1.0
    for value, waits, weight in ordered:
        if waits:
            share *= total / (total - weight)
        else:
            yield value, weight * share
        total -= weight


def _quantile(ordered: Sequence[tuple[float, float]], ahead: float) -> float:
    """Of values with weights the one that has so much weight ahead of it."""
    value = ordered[0][0]
    for following, weight in ordered:
        if ahead < weight:
            return value + (following - value) * max(ahead, 0.0) / weight
        ahead -= weight
        value = following
    return value

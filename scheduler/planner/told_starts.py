"""What announced starts teach: how long jobs of one size wait, and between which bounds the next one will.

How long a job waits follows more from how many devices it needs together than from what the forecast plays forward:
where jobs are stopped and moved for others, one device comes free within minutes whatever the queue is. So the
waits of each size are learned, with as much of the forecast in them as has been worth believing.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from scheduler.domain.ids import FirmId

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

_Tails = tuple[float, float]  # of early starts, of late ones


class OfFirm(NamedTuple):
    """The newest starts of one firm's jobs of one size, (by the forecast, waited) as logarithms, and what they say of
    the parts of the errors that intervals of the size leave out, of early starts and of late ones."""

    starts: tuple[tuple[float, float], ...] = ()
    tails: tuple[float, float] = (_TAIL, _TAIL)

    def plus(self, told_ms: Sequence[float], waited_ms: float, step: float, rest: _Tails) -> "OfFirm":
        """With one start more, of a job told (low, by the forecast, high) waits; `rest`: what the other firms say."""
        low_ms, expected_ms, high_ms = told_ms
        missed = waited_ms < low_ms, waited_ms > high_ms
        early, late = (_follow(*one, step) for one in zip(self.tails, missed, rest, strict=True))
        return OfFirm((*self.starts[-KEPT_STARTS + 1 :], (_log(expected_ms), _log(waited_ms))), (early, late))


class Waits(NamedTuple):
    """A job that has not started since it was told its start."""

    told_ms: int
    expected: float  # wait, as a logarithm
    firm: FirmId


@dataclass(frozen=True)
class Starts:
    """Announced starts by size and firm, and the newest of those that were told theirs and still wait; immutable."""

    sizes: tuple[Mapping[FirmId, OfFirm], ...] = ({},) * _SIZES
    waiting: tuple[tuple[Waits, ...], ...] = ((),) * _SIZES

    def plus(
        self, firm: FirmId, told_ms: Sequence[float], waited_ms: float, devices: int = 1, waiting: int = 0
    ) -> "Starts":
        """With one start more, of a firm's job with so many devices that was told (low, by the forecast, high) waits.

        `waiting`: so many others of the size were told theirs and wait, beyond the newest too. Where too many starts
        are kept, the oldest of whoever has most goes: no firm's starts push out more than its part of the others'.

        Who starts outside his interval widens the next ones on that side, who does not narrows them: adaptive
        conformal inference (Gibbs and Candes 2021). As many start inside as is said where that comes to rest:
        tails are bounded, and where every wait is longer than the last, so that even the longest one seen falls
        short, fewer do. Whether an interval that is told now holds is known after as many more starts as jobs
        wait. Steps that add up to much before then overshoot, back and forth, so each is the less the more wait.
        By what a firm's starts inside widen the tails, however many they are, another's starts outside narrow them.
        """
        at = size_of(devices)
        firms = dict(self.sizes[at])
        own = firms.pop(firm, OfFirm())
        firms[firm] = own.plus(told_ms, waited_ms, 1.0 / (_FOLLOWED + waiting), _said(firms.values()))
        if sum(len(of.starts) for of in firms.values()) > KEPT_STARTS:
            most = max(firms, key=lambda name: (len(firms[name].starts), name != firm, name))
            firms[most] = firms[most]._replace(starts=firms[most].starts[1:])
        return self.having(at, firms)

    def having(self, at: int, firms: Mapping[FirmId, OfFirm]) -> "Starts":
        """With these of one size."""
        in_order = dict(sorted(firms.items()))  # sums are the same to the bit after they were stored
        return replace(self, sizes=(*self.sizes[:at], in_order, *self.sizes[at + 1 :]))

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
        firms, waiting = self.sizes[at], self.waiting[at]
        guessed = 1.0 / (1.0 + (sum(len(of.starts) for of in firms.values()) / _OWN_ENOUGH) ** 2)
        counts = _counts(firms, waiting)
        seen = [(*start, counts[firm]) for firm, of in firms.items() for start in of.starts]
        still = [(one, counts[one.firm]) for one in waiting]
        rest = [number for number in range(_SIZES) if number != at]
        others = [start for number in rest for start in _newest(self.sizes[number])]
        if others:
            weight = min(1.0, guessed * _OTHERS_COUNT / len(others))
            seen += [(*start, weight) for start in others]
            still += [(one, weight) for number in rest for one in _newest_waiting(self.waiting[number])]
        if not seen:
            return _Bounds(now_ms, 1.0, (_EARLIER, 0.0, _LATER), guessed)
        believed = _slope(seen)
        beyond = [(waited - believed * expected, False, weight) for expected, waited, weight in seen]
        beyond += [(_log(now_ms - one.told_ms) - believed * one.expected, True, w) for one, w in still]
        beyond.sort()
        total = sum(weight for _, _, weight in beyond) + 1.0  # the one that is still to come
        known = list(_passed_on(beyond, total))
        early, late = (min(max(_TAIL + said, _LEAST_TAIL), _WIDEST_TAIL) for said in _said(firms.values()))
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


def waits(told_ms: int, expected_ms: float, firm: FirmId) -> Waits:
    """A firm's job that was told its start at a moment, which the forecast expected after so long."""
    return Waits(told_ms, _log(expected_ms), firm)


def _log(wait_ms: float) -> float:
    return math.log(wait_ms + _SHORTEST_WAIT_MS)


def _exp(log: float) -> float:
    return max(0.0, math.exp(log) - _SHORTEST_WAIT_MS)


def _said(firms: Iterable[OfFirm]) -> _Tails:
    """By how much firms together would have the tails wider than they begin."""
    early, late = 0.0, 0.0
    for of in firms:
        early, late = early + of.tails[0] - _TAIL, late + of.tails[1] - _TAIL
    return early, late


def _follow(tail: float, missed: bool, rest: float, step: float) -> float:
    """A firm's tail after a start, so that with what the others say the whole keeps its bounds, and no firm alone says
    more against the others than any says for them."""
    least, most = max(-2 * _TAIL, _LEAST_TAIL - rest), min(2 * _TAIL, _WIDEST_TAIL - rest)
    return min(max(tail + step * (_TAIL - missed), least), most)


def _counts(firms: Mapping[FirmId, OfFirm], waiting: Iterable[Waits]) -> Mapping[FirmId, float]:
    """What one job of each firm counts: no firm more than all the others together, or than is enough by itself."""
    jobs = Counter({firm: len(of.starts) for firm, of in firms.items()})
    jobs.update(one.firm for one in waiting)
    total = jobs.total()
    return {firm: min(1.0, max(total - of, _OWN_ENOUGH) / of) for firm, of in jobs.items() if of}


def _newest(firms: Mapping[FirmId, OfFirm]) -> Iterator[tuple[float, float]]:
    most = level([len(of.starts) for of in firms.values()], _NEWEST_OF_OTHERS)
    return islice((start for of in firms.values() for start in of.starts[-most:]), _NEWEST_OF_OTHERS)


def _newest_waiting(waiting: Sequence[Waits]) -> list[Waits]:
    by_firm = Counter(one.firm for one in waiting)
    left = dict.fromkeys(by_firm, level(by_firm.values(), _NEWEST_OF_OTHERS))
    found: list[Waits] = []
    for one in reversed(waiting):
        if left[one.firm] and len(found) < _NEWEST_OF_OTHERS:
            left[one.firm] -= 1
            found.append(one)
    return found


def level(counts: Collection[int], together: int) -> int:
    """How many each may have at most, so that all have about so many together; each has one."""
    for number, count in enumerate(sorted(counts)):
        share = together // (len(counts) - number)
        if count > share:
            return max(share, 1)
        together -= count
    return max(counts, default=1)


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

"""The balance of device time: every millisecond of every registered device is in exactly one bucket.

Derived from observed and authorised: in use under its allocation is allocated; free while held is reserved; free
otherwise is maintenance where the operator said so, reserved where it was booked, or else idle; in use without
authority, unknown, or in no segment at all is unknown. Unit: ppm x ms. R3: the buckets sum to the time in the
register.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from suanli.rating.inputs import WHOLE_PPM, ObservedUse, RatingInputs, RegisteredDevice
from suanli.rating.intervals import Stretch, length_ms, merge, overlap, subtract
from suanli.rating.usage import authorised_share_ppm


@dataclass(slots=True)
class Buckets:
    """Device time by what it was, in ppm x ms."""

    allocated: int = 0
    idle: int = 0
    reserved: int = 0
    maintenance: int = 0
    faulty: int = 0
    unknown: int = 0

    def total(self) -> int:
        """Sum of all buckets."""
        return self.allocated + self.idle + self.reserved + self.maintenance + self.faulty + self.unknown

    def add(self, other: Buckets) -> None:
        """Adds the time of another stay or device."""
        for name in Buckets.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def whole_ms(self) -> dict[str, int]:
        """Milliseconds of whole devices by bucket, whose sum is that of the exact times, rounded down.

        By largest remainder; of equal ones the bucket that comes first gets the millisecond.
        """
        exact = {name: getattr(self, name) for name in Buckets.__slots__}
        rounded = {name: ppm_ms // WHOLE_PPM for name, ppm_ms in exact.items()}
        missing = self.total() // WHOLE_PPM - sum(rounded.values())
        for name in sorted(exact, key=lambda name: -(exact[name] % WHOLE_PPM))[:missing]:
            rounded[name] += 1
        return rounded


def _registered(device: RegisteredDevice, period: Stretch) -> Stretch | None:
    retired_ms = period[1] if device.retired_ms is None else device.retired_ms
    return overlap((device.enrolled_ms, retired_ms), period)


def device_balance(inputs: RatingInputs, from_ms: int, to_ms: int) -> dict[str, Buckets]:
    """Buckets of every registered device over [from_ms, to_ms), by device id.

    Where stretches of one device overlap, which check_window and the verifier refuse, the sum exceeds the
    registered time; it never falls short, as what nobody reported is unknown.
    """
    return collect_balance(inputs, from_ms, to_ms).balance()


def collect_balance(inputs: RatingInputs, from_ms: int, to_ms: int) -> BalanceCollector:
    """The balance over [from_ms, to_ms) of everything in `inputs`."""
    collector = BalanceCollector(inputs, (from_ms, to_ms))
    for use in inputs.usage:
        collector.observe(use)
    return collector


class BalanceCollector:
    """Takes observed stretches one by one; what it keeps does not grow with them."""

    def __init__(self, inputs: RatingInputs, period: Stretch) -> None:
        self._inputs = inputs
        self._held = _held(inputs, period[1])
        self._model_of = {device.device_id: device.device_model for device in inputs.devices}
        self._unused: dict[tuple[str, str], Unused] = {}
        self._stays: dict[str, list[tuple[Stretch, Buckets, str]]] = {}
        for device in inputs.devices:
            registered = _registered(device, period)
            if registered is not None:
                stay = registered, Buckets(), device.device_model
                self._stays.setdefault(device.device_id, []).append(stay)

    def observe(self, use: ObservedUse) -> None:
        """Puts a stretch into the buckets of its device, as far as the device was in the register."""
        for (from_ms, to_ms), buckets, _ in self._stays.get(use.device_id, ()):
            start_ms = use.start_ms if use.start_ms > from_ms else from_ms
            end_ms = use.end_ms if use.end_ms < to_ms else to_ms
            if start_ms < end_ms:
                self._put(buckets, use, (start_ms, end_ms))

    def add(self, other: BalanceCollector) -> None:
        """Adds what was observed elsewhere of the same devices in the same period."""
        for device_id, stays in other._stays.items():
            for (_, mine, _), (_, theirs, _) in zip(self._stays[device_id], stays, strict=True):
                mine.add(theirs)
        for of, unused in other._unused.items():
            self._unused.setdefault(of, Unused()).add(unused)

    def unused(self) -> Mapping[tuple[str, str], Unused]:
        """By firm and device model, what it held and nobody used, of devices that it held whole. Of the others windows
        tell what was left of the whole, not whose part that was, and a firm is told nothing of its neighbours."""
        return self._unused

    def balance(self) -> dict[str, Buckets]:
        """Buckets by device id; registered time that nothing was observed of is unknown."""
        result: dict[str, Buckets] = {}
        for device_id, _, buckets in self._accounted():
            result.setdefault(device_id, Buckets()).add(buckets)
        return result

    def by_model(self) -> dict[str, Buckets]:
        """As `balance`, by the model that a device was registered as."""
        result: dict[str, Buckets] = {}
        for _, model, buckets in self._accounted():
            result.setdefault(model, Buckets()).add(buckets)
        return result

    def _accounted(self) -> Iterator[tuple[str, str, Buckets]]:
        """Device, model and all of the time of each stay."""
        for device_id, stays in self._stays.items():
            for (start_ms, end_ms), buckets, model in stays:
                missing = (end_ms - start_ms) * WHOLE_PPM - buckets.total()
                yield device_id, model, replace(buckets, unknown=buckets.unknown + max(missing, 0))

    def _put(self, buckets: Buckets, use: ObservedUse, stretch: Stretch) -> None:
        inputs = self._inputs
        whole = (stretch[1] - stretch[0]) * use.share_ppm
        if use.state == "in_use":
            allocated = _allocated(use, stretch, inputs)
            buckets.allocated += allocated
            buckets.unknown += whole - allocated
        elif use.state == "free":
            kept = self._keep(use, stretch)
            reserved = sum((step.to_ms - step.from_ms) * step.ppm for step in kept)
            unheld = subtract(stretch, [(step.from_ms, step.to_ms) for step in kept])
            serviced = _within(unheld, inputs.maintenance.get(use.device_id, ()))
            in_service = [left for piece in unheld for left in subtract(piece, serviced)]
            booked = _within(in_service, inputs.reserved.get(use.device_id, ()))
            maintenance = length_ms(serviced) * use.share_ppm
            reserved += length_ms(booked) * use.share_ppm
            buckets.reserved += reserved
            buckets.maintenance += maintenance
            buckets.idle += whole - reserved - maintenance
        elif use.state == "faulty":
            self._keep(use, stretch)
            buckets.faulty += whole
        else:
            buckets.unknown += whole

    def _keep(self, use: ObservedUse, stretch: Stretch) -> list[Step]:
        """What of a stretch that nobody used was given to allocations, noted for the firms that held it."""
        # What is in use beside this part is given too: only what is given beyond it is held here.
        in_use_ppm = WHOLE_PPM - use.share_ppm
        kept = [
            piece._replace(ppm=min(use.share_ppm, piece.ppm - in_use_ppm))
            for piece in _cut_steps(stretch, self._held.get(use.device_id, ()))
            if piece.ppm > in_use_ppm
        ]
        for step in kept:
            if step.firm_id is not None:
                of = step.firm_id, self._model_of[use.device_id]
                unused = self._unused.setdefault(of, Unused())
                ppm_ms = (step.to_ms - step.from_ms) * step.ppm
                unused.add(Unused(faulty=ppm_ms) if use.state == "faulty" else Unused(reserved=ppm_ms))
        return kept


@dataclass(slots=True)
class Unused:
    """Device time that a firm held and nobody used, in ppm x ms."""

    reserved: int = 0
    faulty: int = 0

    def add(self, other: Unused) -> None:
        """Adds other time of the same firm."""
        self.reserved += other.reserved
        self.faulty += other.faulty


class Step(NamedTuple):
    """So much of a device is given to allocations: all of it to those of `firm_id`, or, where it is None, a part or to
    several firms. The steps of a device are disjoint and in order."""

    from_ms: int
    to_ms: int
    ppm: int
    firm_id: str | None


def _held(inputs: RatingInputs, to_ms: int) -> Mapping[str, list[Step]]:
    edges: dict[str, list[_Edge]] = {}
    for authorisation in inputs.authorisations.values():
        ended_ms = to_ms if authorisation.ended_ms is None else authorisation.ended_ms
        for device_id, share_ppm in authorisation.share_ppm_of.items():
            if authorisation.granted_ms < ended_ms:
                of_device = edges.setdefault(device_id, [])
                firm_id = authorisation.firm_id
                of_device += [
                    (authorisation.granted_ms, share_ppm, firm_id),
                    (ended_ms, -share_ppm, firm_id),
                ]
    return {device_id: _steps(of_device) for device_id, of_device in edges.items()}


_Edge = tuple[int, int, str]
"""When, by how many ppm, and to which firm (or from it) a device is given."""


def _steps(edges: list[_Edge]) -> list[Step]:
    steps: list[Step] = []
    given: dict[str, int] = {}
    since_ms = 0
    for at_ms, change, firm_id in sorted(edges):
        if given and since_ms < at_ms:
            whole = next((firm for firm, ppm in given.items() if ppm == WHOLE_PPM), None)
            step = Step(since_ms, at_ms, sum(given.values()), whole)
            if steps and steps[-1][1:] == (since_ms, *step[2:]):
                steps[-1] = step._replace(from_ms=steps[-1].from_ms)
            else:
                steps.append(step)
        given[firm_id] = given.get(firm_id, 0) + change
        if not given[firm_id]:
            del given[firm_id]
        since_ms = at_ms
    return steps


def _within(stretches: Sequence[Stretch], others: Sequence[Stretch]) -> list[Stretch]:
    """Parts of `stretches` inside `others`; few devices have any planned."""
    if not others:
        return []
    merged = merge(others)
    return [piece for stretch in stretches for piece in _cut(stretch, merged)]


def _allocated(use: ObservedUse, stretch: Stretch, inputs: RatingInputs) -> int:
    authorisation = inputs.authorisations.get(use.allocation_id or "")
    if authorisation is None:
        return 0
    ended_ms = stretch[1] if authorisation.ended_ms is None else authorisation.ended_ms
    start_ms, end_ms = max(stretch[0], authorisation.granted_ms), min(stretch[1], ended_ms)
    return (end_ms - start_ms) * authorised_share_ppm(authorisation, use) if start_ms < end_ms else 0


def _cut_steps(stretch: Stretch, steps: Sequence[Step]) -> list[Step]:
    """The steps within `stretch`; by bisection, as there are many."""
    pieces: list[Step] = []
    for place in range(max(bisect.bisect_right(steps, stretch) - 1, 0), len(steps)):
        step = steps[place]
        if step.from_ms >= stretch[1]:
            break
        piece = overlap(stretch, (step.from_ms, step.to_ms))
        if piece is not None:
            pieces.append(Step(*piece, step.ppm, step.firm_id))
    return pieces


def _cut(stretch: Stretch, others: Sequence[Stretch]) -> list[Stretch]:
    """Parts of `stretch` inside `others`, which are merged; by bisection, as there are many."""
    pieces: list[Stretch] = []
    for place in range(max(bisect.bisect_right(others, stretch) - 1, 0), len(others)):
        if others[place][0] >= stretch[1]:
            break
        piece = overlap(stretch, others[place])
        if piece is not None:
            pieces.append(piece)
    return pieces

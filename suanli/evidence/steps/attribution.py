"""Step 12: use against authority. Allocations come from records, their use from windows."""

from __future__ import annotations

from dataclasses import dataclass, field

from suanli.evidence.moments import shown_stretch, shown_time
from suanli.evidence.records import AllocationEvent
from suanli.evidence.steps.case import AllocationEvidence, Case, Known, WindowEvidence
from suanli.evidence.steps.report import Report
from suanli.evidence.timeline import Piece, find_overlaps
from suanli.evidence.windows import Segment
from suanli.rating.attribution import NODE_LOST, Beyond, beyond
from suanli.rating.intervals import Stretch, overlap


def collect_allocations(case: Case) -> None:
    """Step 12, first part: events in their order, devices where they are registered, none given twice."""
    allocations = case.known.allocations
    for item in case.records:
        event = item.record
        if not isinstance(event, AllocationEvent):
            continue
        held = allocations.get(event.allocation_id)
        problem = _sequence_problem(held, event)
        if problem is not None:
            where = f"allocation {event.allocation_id}"
            case.report.add("attribution.sequence", where, problem, event.event, item.index)
        elif held is None:
            shares = {share.device_id: share.share_ppm for share in event.devices}
            allocations[event.allocation_id] = AllocationEvidence(event, item.index, shares)
        elif event.event == "started":
            held.started = True
        else:
            held.ended = event
    _check_devices(case)
    _check_double(case)
    open_now = sum(a.ended is None for a in allocations.values())
    case.facts["allocations"] = {"total": len(allocations), "open": open_now}


def _sequence_problem(held: AllocationEvidence | None, event: AllocationEvent) -> str | None:
    """What should have come instead of `event`, or None."""
    if held is None:
        return None if event.event == "granted" else "granted first"
    granted = held.granted
    same = (granted.firm_id, granted.job_id, granted.attempt, granted.rank, granted.node_id)
    rules = (
        (
            (event.firm_id, event.job_id, event.attempt, event.rank, event.node_id) == same,
            "the same firm, job, attempt, rank and node",
        ),
        (set(event.devices) == set(granted.devices), "the same devices"),
        (event.at_ms >= granted.at_ms, f"a time from {shown_time(granted.at_ms)} on"),
        (held.ended is None, "nothing after the end"),
        (event.event == "ended" or (event.event == "started" and not held.started), "started once, or ended"),
    )
    return next((want for good, want in rules if not good), None)


def _check_devices(case: Case) -> None:
    """Devices are given on the node where they are registered, while they are."""
    tolerance_ms = case.known.settings.clock_tolerance_ms
    for allocation_id, allocation in case.known.allocations.items():
        granted = allocation.granted
        held = (granted.at_ms, max(allocation.end_ms, granted.at_ms + 1))
        for device_id in allocation.shares:
            stays = [s for s in case.known.register.of_device(device_id) if s.node_id == granted.node_id]
            good = any(
                overlap((s.stretch()[0] - tolerance_ms, s.stretch()[1] + tolerance_ms), held) for s in stays
            )
            if not good:
                where = f"device {device_id} of allocation {allocation_id}"
                expected = f"a device registered on node {granted.node_id}"
                case.report.add("attribution.device", where, expected, "none", allocation.index)


def _check_double(case: Case) -> None:
    """U3: shares given of a device never exceed the whole; an allocation without end is open for ever."""
    given: dict[str, list[Piece]] = {}
    for allocation in case.known.allocations.values():
        for device_id, share_ppm in allocation.shares.items():
            piece = Piece(allocation.granted.at_ms, allocation.end_ms, share_ppm, allocation.index)
            if piece.start_ms < piece.end_ms:
                given.setdefault(device_id, []).append(piece)
    for device_id, pieces in given.items():
        for double in find_overlaps(pieces):
            found = f"{double.share_ppm} ppm from {shown_time(double.start_ms)} on"
            expected = "at most one whole device given"
            case.report.add("attribution.double", f"device {device_id}", expected, found, double.index)


@dataclass(slots=True)
class Attribution:
    """What was in use under which allocation, on some nodes."""

    report: Report
    known: Known
    last_use_ms: dict[str, int] = field(default_factory=dict)
    """By allocation, the end of the last use of any of its devices."""

    def take(self, window: WindowEvidence, segment: Segment) -> AllocationEvidence | None:
        """Takes a segment in use; gives the allocation that covers it, if one does."""
        device_id = segment.device.device_id
        allocation = self.known.allocations.get(segment.allocation_id or "")
        if (
            allocation is None
            or device_id not in allocation.shares
            or allocation.granted.node_id != window.header.node_id
        ):
            expected, found = "an allocation event that gives the device", str(segment.allocation_id)
            self._find("attribution.unauthorised", window, segment, expected, found)
            return None
        share_ppm, granted_ms = allocation.shares[device_id], allocation.granted.at_ms
        if segment.share_ppm > share_ppm:
            expected, found = f"at most {share_ppm} ppm", f"{segment.share_ppm} ppm"
            self._find("attribution.share", window, segment, expected, found)
        tolerance_ms = self.known.settings.clock_tolerance_ms
        if _outside(allocation, (segment.start_ms, segment.end_ms), tolerance_ms).unattributed_ms:
            end = "open" if allocation.ended is None else shown_time(allocation.end_ms)
            expected = f"use within [{shown_time(granted_ms)}, {end}) and {tolerance_ms} ms of tolerance"
            found = f"in use in {shown_stretch(segment.start_ms, segment.end_ms)}"
            self._find("attribution.outside", window, segment, expected, found)
        allocation_id = allocation.granted.allocation_id
        before_ms = self.last_use_ms.get(allocation_id, 0)
        if segment.end_ms > before_ms:
            self.last_use_ms[allocation_id] = segment.end_ms
        return allocation

    def _find(self, code: str, window: WindowEvidence, segment: Segment, expected: str, found: str) -> None:
        where = f"device {segment.device.device_id} in {window}"
        self.report.add(code, where, expected, found, window.index)


def _outside(allocation: AllocationEvidence, used: Stretch, tolerance_ms: int) -> Beyond:
    lost = allocation.ended is not None and allocation.ended.reason == NODE_LOST
    given = allocation.granted.at_ms, allocation.end_ms
    return beyond(used, given, lost=lost, tolerance_ms=tolerance_ms)


def check_ends(case: Case, last_use_ms: dict[str, int]) -> None:
    """Step 12, last part: notices for what was held and not used, or used when its node had been given up.

    Neither is ever billed, and both are worth a question.
    """
    tolerance_ms = case.known.settings.clock_tolerance_ms
    for allocation_id, allocation in case.known.allocations.items():
        granted_ms = allocation.granted.at_ms
        held = (granted_ms, allocation.end_ms)
        if allocation.ended is None or overlap(held, case.known.period) is None:
            continue
        where = f"allocation {allocation_id}"
        last_ms = last_use_ms.get(allocation_id)
        if last_ms is None:
            if allocation.started and allocation.end_ms - granted_ms > tolerance_ms:
                expected, found = "use after it started", "nothing observed"
                case.report.add("attribution.unobserved", where, expected, found, allocation.index)
            continue
        idle_ms = allocation.end_ms - last_ms
        if idle_ms > tolerance_ms:
            expected = f"an end within {tolerance_ms} ms of the last use"
            found = f"{idle_ms} ms later"
            case.report.add("attribution.beyond_use", where, expected, found, allocation.index)
        if _outside(allocation, (granted_ms, last_ms), tolerance_ms).after_loss_ms:
            expected = f"no use from {shown_time(allocation.end_ms)} on, when its node was given up as lost"
            found = f"in use until {shown_time(last_ms)}, which is not billed"
            case.report.add("attribution.after_loss", where, expected, found, allocation.index)

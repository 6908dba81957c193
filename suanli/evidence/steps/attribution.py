"""Steps 12 and 13: use against authority, and whether windows keep within their own bounds."""

from __future__ import annotations

from dataclasses import dataclass, field

from suanli.evidence.records import AllocationEvent
from suanli.evidence.steps.case import Case, WindowEvidence
from suanli.evidence.steps.coverage import known_segments
from suanli.evidence.timeline import Piece, find_overlaps
from suanli.evidence.window_checks import WindowProblem, check_segments, segment_problems
from suanli.evidence.windows import Segment
from suanli.rating.intervals import overlap

_FOREVER_MS = 2**62


@dataclass(slots=True)
class _Allocation:
    """One allocation as its events tell it, and what was observed of it."""

    granted: AllocationEvent
    index: int
    shares: dict[str, int]
    started: bool = False
    ended: AllocationEvent | None = None
    last_use_ms: dict[str, int] = field(default_factory=dict)

    @property
    def end_ms(self) -> int:
        """When it ended; without end while it is open."""
        return _FOREVER_MS if self.ended is None else self.ended.at_ms


def check_attribution(case: Case) -> None:
    """Step 12: every use under an allocation that covers it, no device given twice, every end known."""
    allocations = _collect(case)
    _check_devices(case, allocations)
    _check_double(case, allocations)
    for window, segment in known_segments(case):
        if segment.observed == "in_use":
            _check_use(case, allocations, window, segment)
    _check_ends(case, allocations)
    open_now = sum(a.ended is None for a in allocations.values())
    case.facts["allocations"] = {"total": len(allocations), "open": open_now}


def _collect(case: Case) -> dict[str, _Allocation]:
    allocations: dict[str, _Allocation] = {}
    for index, event in case.allocation_events():
        held = allocations.get(event.allocation_id)
        problem = _sequence_problem(held, event)
        if problem is not None:
            case.report(
                "attribution.sequence", f"allocation {event.allocation_id}", problem, event.event, index
            )
        elif held is None:
            shares = {share.device_id: share.share_ppm for share in event.devices}
            allocations[event.allocation_id] = _Allocation(event, index, shares)
        elif event.event == "started":
            held.started = True
        else:
            held.ended = event
    return allocations


def _sequence_problem(held: _Allocation | None, event: AllocationEvent) -> str | None:
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
        (event.at_ms >= granted.at_ms, f"a time from {granted.at_ms} ms on"),
        (held.ended is None, "nothing after the end"),
        (event.event == "ended" or (event.event == "started" and not held.started), "started once, or ended"),
    )
    return next((want for good, want in rules if not good), None)


def _check_devices(case: Case, allocations: dict[str, _Allocation]) -> None:
    """Devices are given on the node where they are registered, while they are."""
    tolerance_ms = case.settings.clock_tolerance_ms
    for allocation_id, allocation in allocations.items():
        held = (allocation.granted.at_ms, max(allocation.end_ms, allocation.granted.at_ms + 1))
        for device_id in allocation.shares:
            stays = [s for s in case.register.of_device(device_id) if s.node_id == allocation.granted.node_id]
            good = any(
                overlap((s.stretch()[0] - tolerance_ms, s.stretch()[1] + tolerance_ms), held) for s in stays
            )
            if not good:
                where = f"device {device_id} of allocation {allocation_id}"
                expected = f"a device registered on node {allocation.granted.node_id}"
                case.report("attribution.device", where, expected, "none", allocation.index)


def _check_double(case: Case, allocations: dict[str, _Allocation]) -> None:
    """U3: shares given of a device never exceed the whole; an allocation without end is open for ever."""
    given: dict[str, list[Piece]] = {}
    for allocation in allocations.values():
        for device_id, share_ppm in allocation.shares.items():
            piece = Piece(allocation.granted.at_ms, allocation.end_ms, share_ppm, allocation.index)
            if piece.start_ms < piece.end_ms:
                given.setdefault(device_id, []).append(piece)
    for device_id, pieces in given.items():
        for double in find_overlaps(pieces):
            found = f"{double.share_ppm} ppm from {double.start_ms} ms on"
            expected = "at most one whole device given"
            case.report("attribution.double", f"device {device_id}", expected, found, double.index)


def _check_use(
    case: Case, allocations: dict[str, _Allocation], window: WindowEvidence, segment: Segment
) -> None:
    where = f"device {segment.device.device_id} in window {segment.seq} of node {segment.node_id}"
    allocation = allocations.get(segment.allocation_id or "")
    device_id = segment.device.device_id
    if allocation is None or device_id not in allocation.shares:
        expected = "an allocation event that gives the device"
        case.report("attribution.unauthorised", where, expected, str(segment.allocation_id), window.index)
        return
    if segment.share_ppm > allocation.shares[device_id]:
        expected = f"at most {allocation.shares[device_id]} ppm"
        case.report("attribution.share", where, expected, f"{segment.share_ppm} ppm", window.index)
    tolerance_ms = case.settings.clock_tolerance_ms
    first_ms, last_ms = allocation.granted.at_ms - tolerance_ms, allocation.end_ms + tolerance_ms
    if segment.start_ms < first_ms or segment.end_ms > last_ms:
        end = "open" if allocation.ended is None else str(allocation.end_ms)
        expected = f"use within [{allocation.granted.at_ms}, {end}) and {tolerance_ms} ms of tolerance"
        found = f"in use in [{segment.start_ms}, {segment.end_ms})"
        case.report("attribution.outside", where, expected, found, window.index)
    last = allocation.last_use_ms
    last[device_id] = max(last.get(device_id, 0), segment.end_ms)


def _check_ends(case: Case, allocations: dict[str, _Allocation]) -> None:
    """Notices for what was held and not used: never billed, but worth a question."""
    tolerance_ms = case.settings.clock_tolerance_ms
    for allocation_id, allocation in allocations.items():
        if (
            allocation.ended is None
            or overlap((allocation.granted.at_ms, allocation.end_ms), case.period) is None
        ):
            continue
        where = f"allocation {allocation_id}"
        if not allocation.last_use_ms:
            if allocation.started and allocation.end_ms - allocation.granted.at_ms > tolerance_ms:
                found = "nothing observed"
                case.report("attribution.unobserved", where, "use after it started", found, allocation.index)
            continue
        idle_ms = allocation.end_ms - max(allocation.last_use_ms.values())
        if idle_ms > tolerance_ms:
            expected = f"an end within {tolerance_ms} ms of the last use"
            case.report("attribution.beyond_use", where, expected, f"{idle_ms} ms later", allocation.index)


def check_bounds(case: Case) -> None:
    """Step 13: U4's bounds in every segment, and tiling in every window that is known whole."""
    for window in case.windows:
        known = [segment for segment in window.segments if segment is not None]
        problems: list[WindowProblem] = []
        if len(known) == len(window.segments):
            problems = check_segments(window.header, known)
        else:
            for segment in known:
                problems.extend(segment_problems(window.header, segment))
        for problem in problems:
            code = "bounds.tiling" if problem.kind == "tiling" else "bounds.segment"
            where = f"window {window.header.seq} of node {window.header.node_id}: {problem.field}"
            case.report(code, where, problem.want, problem.got, window.index)

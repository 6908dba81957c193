"""Steps 10 and 11: every registered device is accounted for all the time, and is registered only once."""

from __future__ import annotations

from collections.abc import Iterator

from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.records import DeviceEvent
from suanli.evidence.register import Enrolment
from suanli.evidence.steps.case import Case, WindowEvidence
from suanli.evidence.timeline import Hole, Piece, find_holes, find_overlaps
from suanli.evidence.windows import Segment
from suanli.rating.intervals import Stretch, merge, overlap, subtract


def build_register(case: Case) -> None:
    """Step 11, first part: the register as the log tells it."""
    for item in case.records:
        event = item.record
        if isinstance(event, DeviceEvent):
            problem = case.register.add(item.index, event)
            if problem == "twice":
                expected = "a device that is not in the register"
                case.report("register.twice", event.device.device_id, expected, "enrolled again", item.index)
            elif problem == "retired":
                expected = "a device enrolled on this node before"
                case.report("register.retired", event.device.device_id, expected, "retired", item.index)
    enrolments = case.register.enrolments
    case.facts["register"] = {
        "devices": len({e.device.device_id for e in enrolments}),
        "simulated_devices": len({e.device.device_id for e in enrolments if e.device.simulated}),
        "nodes": len({e.node_id for e in enrolments}),
        "sha256": case.register.sha256(),
    }


def known_segments(case: Case) -> Iterator[tuple[WindowEvidence, Segment]]:
    """Every segment that the reader may see, with its window, in log order."""
    for window in case.windows:
        for segment in window.segments:
            if segment is not None:
                yield window, segment


def check_coverage(case: Case) -> None:
    """Step 10: segments tile the stay of every device within the period; only an auditor can see that."""
    pieces: dict[str, list[Piece]] = {}
    unregistered: set[str] = set()
    for window, segment in known_segments(case):
        device_id = segment.device.device_id
        stays = case.register.of_device(device_id)
        if not stays:
            if device_id not in unregistered:
                unregistered.add(device_id)
                where = f"device {device_id} on node {segment.node_id}"
                case.report("coverage.unregistered", where, "a registered device", "none", window.index)
            continue
        _check_place(case, window, segment, stays)
        pieces.setdefault(device_id, []).append(
            Piece(segment.start_ms, segment.end_ms, segment.share_ppm, window.index)
        )
    if not case.for_auditor:
        return
    for enrolment in case.register.enrolments:
        _check_stay(case, enrolment, pieces.get(enrolment.device.device_id, []))
    for device_id, found in pieces.items():
        for double in find_overlaps(found):
            where = f"device {device_id} in [{double.start_ms}, {double.end_ms})"
            case.report(
                "coverage.overlap", where, "one whole device", f"{double.share_ppm} ppm", double.index
            )


def _check_place(case: Case, window: WindowEvidence, segment: Segment, stays: list[Enrolment]) -> None:
    """A device is where it is registered, and is used only while it is."""
    stretch = (segment.start_ms, segment.end_ms)
    where = f"device {segment.device.device_id}"
    here = [stay for stay in stays if overlap(stay.stretch(), stretch) is not None]
    if here and all(stay.node_id != segment.node_id for stay in here):
        expected = "node " + ", ".join(stay.node_id for stay in here)
        case.report("coverage.wrong_node", where, expected, f"node {segment.node_id}", window.index)
    if segment.observed == "in_use":
        tolerance_ms = case.settings.clock_tolerance_ms
        left = subtract(stretch, [_widened(stay.stretch(), tolerance_ms) for stay in stays])
        if left:
            expected = "use only while the device is in the register"
            found = f"in use in [{left[0][0]}, {left[0][1]})"
            case.report("coverage.outside_stay", where, expected, found, window.index)


def _widened(stretch: Stretch, by_ms: int) -> Stretch:
    return stretch[0] - by_ms, stretch[1] + by_ms


def _check_stay(case: Case, enrolment: Enrolment, pieces: list[Piece]) -> None:
    needed = enrolment.within(case.period)
    if needed is None:
        return
    explained = merge(case.chain_breaks.get(enrolment.node_id, []))
    for hole in find_holes(pieces, needed):
        where = f"device {enrolment.device.device_id} on node {enrolment.node_id}"
        stretch = (hole.start_ms, hole.end_ms)
        add = case.report if subtract(stretch, explained) else case.follow
        add("coverage.hole", where, "a segment for every millisecond", _hole(hole), hole.before)


def _hole(hole: Hole) -> str:
    return f"nothing in [{hole.start_ms}, {hole.end_ms}), {hole.end_ms - hole.start_ms} ms"


def check_uniqueness(case: Case) -> None:
    """Step 11: no serial or uuid is in two places at one time, and no device changes what it is."""
    claims: dict[tuple[str, str, str], list[Enrolment]] = {}
    for enrolment in case.register.enrolments:
        device = enrolment.device
        for kind, value in (("serial", device.serial), ("uuid", device.uuid)):
            if value is not None:
                claims.setdefault((device.vendor, kind, value), []).append(enrolment)
    for (_, kind, value), enrolments in claims.items():
        _check_claim(case, kind, value, enrolments)
    changed: set[tuple[str, DeviceIdentity]] = set()
    for window, segment in known_segments(case):
        _check_identity(case, window, segment, changed)


def _check_claim(case: Case, kind: str, value: str, enrolments: list[Enrolment]) -> None:
    """Of stays in order of their beginning, one that begins before another has ended overlaps it."""
    standing: Enrolment | None = None
    for enrolment in sorted(enrolments, key=lambda e: (e.enrolled_ms, e.index)):
        if standing is not None and overlap(standing.stretch(), enrolment.stretch()) is not None:
            one, two = standing.device.device_id, enrolment.device.device_id
            found = f"devices {one} on {standing.node_id} and {two} on {enrolment.node_id}"
            case.report("register.same_identity", f"{kind} {value}", "one place", found, enrolment.index)
        if standing is None or enrolment.stretch()[1] > standing.stretch()[1]:
            standing = enrolment


def _check_identity(
    case: Case, window: WindowEvidence, segment: Segment, changed: set[tuple[str, DeviceIdentity]]
) -> None:
    device = segment.device
    stays = case.register.of_device(device.device_id)
    if not stays or any(stay.device == device for stay in stays):
        return
    if any(_lasting(stay.device) == _lasting(device) for stay in stays):
        return
    if (device.device_id, device) not in changed:
        changed.add((device.device_id, device))
        expected, found = str(_lasting(stays[-1].device)), str(_lasting(device))
        case.report("register.changed", f"device {device.device_id}", expected, found, window.index)


def _lasting(device: DeviceIdentity) -> tuple[object, ...]:
    """What does not change with a driver update or another slot."""
    return (device.vendor, device.model, device.serial, device.uuid, device.simulated)

"""Steps 10 and 11: every registered device is accounted for all the time, and is registered only once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.moments import shown_stretch
from suanli.evidence.records import DeviceEvent
from suanli.evidence.register import Enrolment
from suanli.evidence.steps.case import Case, Known, WindowEvidence
from suanli.evidence.steps.report import Report
from suanli.evidence.timeline import Cover
from suanli.evidence.windows import Segment
from suanli.rating.intervals import Stretch, merge, overlap, subtract

SIMULATED_DRIVER = "simulated"
VENDORS = frozenset(
    {
        "ascend",
        "biren",
        "cambricon",
        "enflame",
        "hygon",
        "iluvatar",
        "kunlunxin",
        "metax",
        "mthreads",
        "nvidia",
        "thead",
    }
)
"""Vendors whose drivers bear their names: a device that another vendor's driver answers for is not theirs."""
_CLAIMS = ("serial", "uuid", "die_id")
_NVIDIA_UUIDS = ("GPU-", "MIG-")


def build_register(case: Case) -> None:
    """Step 11: the register as the log tells it, and no serial, uuid or die in two places at one time."""
    register = case.known.register
    for item in case.records:
        event = item.record
        if not isinstance(event, DeviceEvent):
            continue
        problem = register.add(item.index, event)
        device_id = event.device.device_id
        if problem == "twice":
            expected = "a device that is not in the register"
            case.report.add("register.twice", device_id, expected, "enrolled again", item.index)
        elif problem == "retired":
            expected = "a device enrolled on this node before"
            case.report.add("register.retired", device_id, expected, "retired", item.index)
    enrolments = register.enrolments
    case.facts["register"] = {
        "devices": len({e.device.device_id for e in enrolments}),
        "simulated_devices": len({e.device.device_id for e in enrolments if e.device.simulated}),
        "nodes": len({e.node_id for e in enrolments}),
        "sha256": register.sha256(),
    }
    claims: dict[tuple[str, str, str], list[Enrolment]] = {}
    for enrolment in enrolments:
        device = enrolment.device
        check_driver(case.report, device, enrolment.index)
        for kind in _CLAIMS:
            value = getattr(device, kind)
            if value is not None:
                claims.setdefault((device.vendor, kind, value), []).append(enrolment)
    for (_, kind, value), claimed in claims.items():
        _check_claim(case.report, kind, value, claimed)


def _check_claim(report: Report, kind: str, value: str, enrolments: list[Enrolment]) -> None:
    """Of stays in order of their beginning, one that begins before another has ended overlaps it. Several dies of one
    board may bear its serial at one time, on one node; another die under it later is another board.
    """
    standing: Enrolment | None = None
    dies: set[str] = set()
    for enrolment in sorted(enrolments, key=lambda e: (e.enrolled_ms, e.index)):
        die = enrolment.device.die_id
        if standing is not None and overlap(standing.stretch(), enrolment.stretch()) is not None:
            other_die = die is not None and dies and die not in dies
            if kind != "serial" or not other_die or standing.node_id != enrolment.node_id:
                one, two = standing.device.device_id, enrolment.device.device_id
                found = f"devices {one} on {standing.node_id} and {two} on {enrolment.node_id}"
                report.add("register.same_identity", f"{kind} {value}", "one place", found, enrolment.index)
        elif kind == "serial" and die is not None and dies and die not in dies:
            expected = "die " + ", ".join(sorted(dies))
            report.add("register.die", f"{kind} {value}", expected, f"die {die}", enrolment.index)
        if die is not None:
            dies.add(die)
        if standing is None or enrolment.stretch()[1] > standing.stretch()[1]:
            standing = enrolment


def check_driver(report: Report, device: DeviceIdentity, index: int) -> None:
    """A device is what its driver says, not what its register entry would like it to be."""
    where = f"device {device.device_id}, {device.vendor} {device.model}"
    if (device.driver == SIMULATED_DRIVER) != device.simulated:
        expected = "the simulated driver exactly where the device is simulated"
        report.add("register.driver", where, expected, f"driver {device.driver}", index)
    elif device.driver in VENDORS and device.driver != device.vendor:
        expected, found = f"the driver of {device.vendor}", f"the driver of {device.driver}"
        report.add("register.driver", where, expected, found, index)
    elif device.uuid is not None and device.uuid.startswith(_NVIDIA_UUIDS) and device.vendor != "nvidia":
        expected, found = f"a uuid of {device.vendor}", f"a uuid as NVIDIA's driver gives it, {device.uuid}"
        report.add("register.driver", where, expected, found, index)


@dataclass(slots=True)
class Coverage:
    """What the devices of some nodes were seen doing, window by window."""

    report: Report
    known: Known
    breaks: Mapping[str, Sequence[Stretch]]
    """Per node, time that a finding of step 8 accounts for; grows while windows come."""
    _covers: dict[tuple[str, str], Cover] = field(default_factory=dict)
    """By node and device: what one node says of a device fills no hole in what another says."""
    _unregistered: set[tuple[str, str]] = field(default_factory=set)
    _changed: set[tuple[str, DeviceIdentity]] = field(default_factory=set)
    _told: dict[tuple[str, str], str] = field(default_factory=dict)
    """What windows told first of a device, by device and claim: the register may not know it."""

    def take(self, window: WindowEvidence) -> None:
        """Takes the segments of a window that the reader may see."""
        seen: dict[str, list[Stretch]] = {}
        for segment in window.segments:
            if segment is not None and (self._is_plain(segment) or self._check_device(window, segment)):
                stretch = (segment.start_ms, segment.end_ms)
                seen.setdefault(segment.device.device_id, []).append(stretch)
        for device_id, stretches in seen.items():
            cover = self._covers.get((window.header.node_id, device_id))
            if cover is None:
                cover = self._covers[window.header.node_id, device_id] = Cover()
            for start_ms, end_ms in stretches if len(stretches) == 1 else merge(stretches):
                again = cover.add(start_ms, end_ms, window.index)
                if again is not None:
                    where = f"device {device_id} in [{again[0]}, {again[1]})"
                    explained = subtract(again, self._explained(window.header.node_id)) == []
                    expected, found = "each millisecond once", f"again in {window}"
                    self.report.add(
                        "coverage.overlap", where, expected, found, window.index, follows=explained
                    )

    def _is_plain(self, segment: Segment) -> bool:
        """Whether the device had but one stay, which holds all of the segment: nothing to be said, nearly always."""
        stays = self.known.register.of_device(segment.device.device_id)
        if len(stays) != 1:
            return False
        stay = stays[0]
        return (
            stay.device is segment.device
            and stay.node_id == segment.node_id
            and stay.enrolled_ms <= segment.start_ms
            and (stay.retired_ms is None or segment.end_ms <= stay.retired_ms)
        )

    def _explained(self, node_id: str) -> list[Stretch]:
        return merge(self.breaks.get(node_id, []))

    def _check_device(self, window: WindowEvidence, segment: Segment) -> bool:
        """Whether the device of a segment is registered; reports where it should not be or not be used."""
        device = segment.device
        stays = self.known.register.of_device(device.device_id)
        if not stays:
            if (segment.node_id, device.device_id) not in self._unregistered:
                self._unregistered.add((segment.node_id, device.device_id))
                where = f"device {device.device_id} on node {segment.node_id}"
                expected = "a registered device"
                self.report.add("coverage.unregistered", where, expected, "none", window.index)
            return False
        if not any(stay.device is device for stay in stays):
            self._check_identity(window, device, stays)
        stretch = (segment.start_ms, segment.end_ms)
        where = f"device {device.device_id}"
        here = [stay for stay in stays if overlap(stay.stretch(), stretch) is not None]
        if here and all(stay.node_id != segment.node_id for stay in here):
            expected = "node " + ", ".join(stay.node_id for stay in here)
            found = f"node {segment.node_id}"
            self.report.add("coverage.wrong_node", where, expected, found, window.index)
        if segment.observed == "in_use":
            tolerance_ms = self.known.settings.clock_tolerance_ms
            left = subtract(stretch, [_widened(stay.stretch(), tolerance_ms) for stay in stays])
            if left:
                expected = "use only while the device is in the register"
                found = f"in use in [{left[0][0]}, {left[0][1]})"
                self.report.add("coverage.outside_stay", where, expected, found, window.index)
        return True

    def _check_identity(self, window: WindowEvidence, device: DeviceIdentity, stays: list[Enrolment]) -> None:
        node_id = window.header.node_id
        if any(stay.device == device for stay in stays) or (node_id, device) in self._changed:
            return
        self._changed.add((node_id, device))
        changes = [_changed_claim(stay.device, device) for stay in stays]
        name, expected = changes[-1] or ("", "")
        if None in changes:
            check_driver(self.report, device, window.index)
            name, expected = self._changed_since(device)
        if name:
            code = "register.die" if name == "die_id" else "register.changed"
            where, found = f"device {device.device_id}", f"{name} {getattr(device, name)}"
            self.report.add(code, where, f"{name} {expected}", found, window.index)

    def _changed_since(self, device: DeviceIdentity) -> tuple[str, str]:
        """The claim that the windows before told otherwise, and how; empty where there is none."""
        changed = "", ""
        for name in _CLAIMS:
            value = getattr(device, name)
            if value is not None:
                first = self._told.setdefault((device.device_id, name), value)
                changed = changed if first == value else (name, first)
        return changed

    def finish(self, mine: Callable[[str], bool]) -> None:
        """Reports holes in the stays of devices on nodes that are `mine`; only an auditor can see them."""
        for enrolment in self.known.register.enrolments:
            if mine(enrolment.node_id):
                self._check_stay(enrolment)

    def _check_stay(self, enrolment: Enrolment) -> None:
        needed = enrolment.within(self.known.period)
        if needed is None:
            return
        explained = self._explained(enrolment.node_id)
        where = f"device {enrolment.device.device_id} on node {enrolment.node_id}"
        cover = self._covers.get((enrolment.node_id, enrolment.device.device_id), Cover())
        for hole in cover.holes(needed):
            stretch = (hole.start_ms, hole.end_ms)
            found = (
                f"nothing in {shown_stretch(hole.start_ms, hole.end_ms)}, {hole.end_ms - hole.start_ms} ms"
            )
            self.report.add(
                "coverage.hole",
                where,
                "a segment for every millisecond",
                found,
                hole.before,
                follows=subtract(stretch, explained) == [],
            )


def _widened(stretch: Stretch, by_ms: int) -> Stretch:
    return stretch[0] - by_ms, stretch[1] + by_ms


def _changed_claim(registered: DeviceIdentity, device: DeviceIdentity) -> tuple[str, str] | None:
    """The first claim that lasts over driver updates and other slots and is not as registered, and how it was.

    What the register does not know contradicts nothing; a window that does not tell the die does not either: not
    every agent could.
    """
    for name in ("vendor", "model", "simulated", *_CLAIMS):
        before, now = getattr(registered, name), getattr(device, name)
        if before is not None and now != before and (now is not None or name != "die_id"):
            return name, str(before)
    return None

"""Steps 10 and 12: what the operator planned for devices, against when it said so and what ran on them."""

from __future__ import annotations

from dataclasses import dataclass, field

from suanli.evidence.calendar import DeviceCalendar
from suanli.evidence.moments import shown_stretch, shown_time
from suanli.evidence.steps.case import AllocationEvidence, Case, Known, WindowEvidence
from suanli.evidence.steps.report import Report
from suanli.rating.intervals import merge, overlap


def check_calendar(case: Case) -> None:
    """Plans are stated ahead; nothing is given out of a device that is said to be out of service."""
    settings, newest = case.known.settings, case.known.newest
    for item in case.records:
        calendar = item.record
        if isinstance(calendar, DeviceCalendar):
            known_ms = newest.at_ms(item.index)
            if calendar.at_ms < known_ms - settings.back_date_tolerance_ms:
                _back_dated(case.report, calendar.node_id, known_ms, calendar.at_ms, item.index)
            else:
                stated = case.known.calendars.setdefault(calendar.node_id, [])
                stated.append((item.index, calendar.at_ms))
    if case.known.rating is None:
        return
    for allocation_id, allocation in case.known.allocations.items():
        _check_allocation(case, allocation_id, allocation)


def _check_allocation(case: Case, allocation_id: str, allocation: AllocationEvidence) -> None:
    """One finding an allocation: its devices are one node's, whose plans are one."""
    rating, settings = case.known.rating, case.known.settings
    if rating is None:
        return
    granted_ms = allocation.granted.at_ms
    held = overlap((granted_ms, allocation.end_ms), case.known.period)
    if held is None:
        return
    for device_id in allocation.shares:
        for stretch in merge(rating.maintenance.get(device_id, ())):
            during = overlap(held, stretch)
            if during is None or during[1] - during[0] <= settings.clock_tolerance_ms:
                continue
            given = stretch[0] + settings.clock_tolerance_ms < granted_ms
            code = "attribution.in_maintenance" if given else "attribution.into_maintenance"
            where = f"device {device_id} of allocation {allocation_id}"
            expected = f"nothing held in {shown_stretch(*stretch)}, when it was said to be out of service"
            found = f"held in {shown_stretch(*during)}"
            case.report.add(code, where, expected, found, allocation.index)
            return


def _back_dated(report: Report, node_id: str, known_ms: int, at_ms: int, index: int) -> None:
    expected = f"stated at {shown_time(known_ms)} or later, when it was logged"
    report.add(
        "calendar.back_dated",
        f"calendar of node {node_id}",
        expected,
        f"stated at {shown_time(at_ms)}",
        index,
    )


@dataclass(slots=True)
class CalendarOrder:
    """A node's calendar that was logged after a window of the node is not older than the window's end."""

    report: Report
    known: Known
    _named: set[int] = field(default_factory=set)

    def take(self, window: WindowEvidence) -> None:
        """Cost: O(calendars of the node)."""
        node_id, end_ms = window.header.node_id, window.header.end_ms
        latest_ms = end_ms - self.known.settings.back_date_tolerance_ms
        for index, at_ms in self.known.calendars.get(node_id, ()):
            if window.index < index and at_ms < latest_ms and index not in self._named:
                self._named.add(index)
                _back_dated(self.report, node_id, end_ms, at_ms, index)

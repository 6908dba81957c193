"""Device events that say what an operator has planned for a node's devices: maintenance, and reservations.

Each replaces, from the moment it was stated, all that was stated of its node before: so nothing is planned for
time that has passed, and what was planned and passed stands. Entries name no firm: everybody is given them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from suanli.evidence.errors import EvidenceError
from suanli.evidence.strict_json import Fields
from suanli.rating.intervals import Stretch

CALENDAR = "calendar"
MAINTENANCE = "maintenance"
RESERVED = "reserved"
PLANS = frozenset({MAINTENANCE, RESERVED})
PLANNED_LIMIT = 1024
DEVICES_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class PlannedStretch:
    """[from_ms, until_ms) in which devices are out of service (maintenance) or kept for somebody (reserved)."""

    plan: str
    from_ms: int
    until_ms: int

    def as_json(self) -> dict[str, object]:
        """The JSON object of the log."""
        return {"plan": self.plan, "from_ms": self.from_ms, "until_ms": self.until_ms}


@dataclass(frozen=True, slots=True)
class DeviceCalendar:
    """All that is planned for the devices of one node from `at_ms` on; nothing where `planned` is empty."""

    event: str
    node_id: str
    device_ids: tuple[str, ...]
    planned: tuple[PlannedStretch, ...]
    at_ms: int


def read_calendar(fields: Fields) -> DeviceCalendar:
    """The event in `fields`, whose `event` has been read. Raises EvidenceError naming the field."""
    calendar = DeviceCalendar(
        event=CALENDAR,
        node_id=fields.text("node_id", 64),
        device_ids=fields.texts("device_ids", DEVICES_LIMIT),
        planned=tuple(_planned(item) for item in fields.objects("planned", PLANNED_LIMIT)),
        at_ms=fields.integer("at_ms"),
    )
    if not calendar.device_ids or len(set(calendar.device_ids)) != len(calendar.device_ids):
        want = "each device once, at least one"
        raise EvidenceError("device_event.device_ids", len(calendar.device_ids), want)
    return calendar


def _planned(fields: Fields) -> PlannedStretch:
    planned = PlannedStretch(
        fields.choice("plan", PLANS), fields.integer("from_ms"), fields.integer("until_ms")
    )
    fields.done()
    if planned.until_ms <= planned.from_ms:
        raise EvidenceError(f"{fields.path}.until_ms", planned.until_ms, f"more than {planned.from_ms}")
    return planned


@dataclass(slots=True)
class Plans:
    """What was planned for each device, by all calendars of a log in their order. Linear in what they state."""

    _of_device: dict[str, list[PlannedStretch]] = field(default_factory=dict)

    def add(self, calendar: DeviceCalendar) -> None:
        """Takes the next calendar of the log."""
        at_ms = calendar.at_ms
        new = [
            PlannedStretch(item.plan, max(item.from_ms, at_ms), item.until_ms)
            for item in calendar.planned
            if item.until_ms > at_ms
        ]
        for device_id in calendar.device_ids:
            old = self._of_device.get(device_id, ())
            passed = [
                PlannedStretch(item.plan, item.from_ms, min(item.until_ms, at_ms))
                for item in old
                if item.from_ms < at_ms
            ]
            self._of_device[device_id] = passed + new

    def stretches(self, plan: str) -> dict[str, list[Stretch]]:
        """Per device, the stretches of one plan; devices without any are left out."""
        found = {
            device_id: [(item.from_ms, item.until_ms) for item in planned if item.plan == plan]
            for device_id, planned in self._of_device.items()
        }
        return {device_id: stretches for device_id, stretches in found.items() if stretches}

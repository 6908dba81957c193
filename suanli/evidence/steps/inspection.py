"""Steps 10 and 11 against the reader's own list: what was inspected is in the register, and nothing else is."""

from __future__ import annotations

from collections import defaultdict

from suanli.evidence.device_list import DeviceList, ListedDevice
from suanli.evidence.limits import limit
from suanli.evidence.register import Enrolment
from suanli.evidence.steps.case import Case
from suanli.rating.intervals import overlap, subtract


def check_inspection(case: Case) -> None:
    """Compares the register with the reader's list, as far as the period goes. Linear in both."""
    listed = case.known.settings.device_list
    if not case.known.for_auditor:
        return
    if listed is None:
        case.not_proved.append(limit("own_register"))
        return
    case.facts["device_list"] = {"sha256": listed.sha256, "devices": len(listed.devices)}
    enrolments = [e for e in case.known.register.enrolments if e.within(case.known.period) is not None]
    vendors = {enrolment.device.vendor for enrolment in enrolments}
    lines = _Lines(listed)
    seen: dict[int, list[Enrolment]] = defaultdict(list)
    for enrolment in enrolments:
        line = lines.of(enrolment)
        if line is None:
            where = f"device {enrolment.device.device_id} on node {enrolment.node_id}"
            found = f"vendor {enrolment.device.vendor}, serial {enrolment.device.serial}"
            case.report.add("register.unlisted", where, "a device of your list", found, enrolment.index)
            continue
        seen[line.line].append(enrolment)
        if line.max_watts is not None:
            case.known.max_watts[enrolment.device.device_id] = line.max_watts
        if line.model is not None and line.model != enrolment.device.model:
            where = f"device {enrolment.device.device_id}"
            case.report.add(
                "register.model", where, f"{line.model}, as listed", enrolment.device.model, enrolment.index
            )
    for line in listed.devices:
        needed = overlap(line.stretch, case.known.period)
        if needed is None:
            continue
        left = subtract(needed, sorted(e.stretch() for e in seen[line.line]))
        if left:
            expected = "a device in the register"
            if line.vendor is not None and line.vendor not in vendors:
                expected += f", where vendors are called {', '.join(sorted(vendors)) or 'nothing'}"
            found = f"not in the register in [{left[0][0]}, {left[0][1]})"
            case.report.add("register.absent", str(line), expected, found)


class _Lines:
    """Finds the line of a device without looking at all of them."""

    def __init__(self, listed: DeviceList) -> None:
        self._by: dict[tuple[str, str | None], list[ListedDevice]] = defaultdict(list)
        for line in listed.devices:
            name = "device_id" if line.device_id is not None else "serial" if line.serial else "uuid"
            self._by[name, getattr(line, name)].append(line)

    def of(self, enrolment: Enrolment) -> ListedDevice | None:
        """The line that names the device at this time; None where there is none."""
        device = enrolment.device
        for name in ("device_id", "serial", "uuid"):
            for line in self._by.get((name, getattr(device, name)), ()):
                if line.names(device) and overlap(line.stretch, enrolment.stretch()) is not None:
                    return line
        return None

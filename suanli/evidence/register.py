"""The register: which devices were enrolled on which node and when, as the log's device events tell it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.records import DeviceEvent
from suanli.evidence.strict_json import encode
from suanli.rating.intervals import Stretch, overlap

_FOREVER_MS = 2**62


@dataclass(slots=True)
class Enrolment:
    """One stay of a device in the register. `index` is the log index of its enrolment."""

    device: DeviceIdentity
    node_id: str
    node_name: str
    pool: str
    enrolled_ms: int
    retired_ms: int | None
    index: int

    def stretch(self) -> Stretch:
        """[enrolled, retired), without end while the device stays."""
        return self.enrolled_ms, _FOREVER_MS if self.retired_ms is None else self.retired_ms

    def within(self, period: Stretch) -> Stretch | None:
        """The part of the stay inside a period."""
        return overlap(self.stretch(), period)


@dataclass(slots=True)
class Register:
    """All enrolments in log order."""

    enrolments: list[Enrolment] = field(default_factory=list)
    _open: dict[str, Enrolment] = field(default_factory=dict)
    _of_device: dict[str, list[Enrolment]] = field(default_factory=dict)

    def add(self, index: int, event: DeviceEvent) -> str | None:
        """Takes a device event; says what is wrong with it, if anything: "twice" or "retired"."""
        device_id = event.device.device_id
        standing = self._open.get(device_id)
        if event.event == "enrolled":
            if standing is not None:
                return "twice"
            enrolment = Enrolment(
                event.device, event.node_id, event.node_name, event.pool, event.at_ms, None, index
            )
            self._open[device_id] = enrolment
            self.enrolments.append(enrolment)
            self._of_device.setdefault(device_id, []).append(enrolment)
            return None
        if standing is None or event.at_ms < standing.enrolled_ms or event.node_id != standing.node_id:
            return "retired"
        standing.retired_ms = event.at_ms
        del self._open[device_id]
        return None

    def of_device(self, device_id: str) -> list[Enrolment]:
        """Stays of one device in log order; empty for a device that is not registered."""
        return self._of_device.get(device_id, [])

    def sha256(self) -> str:
        """Hash over the register as sorted JSON lines, to compare with a list the reader keeps."""
        lines = sorted(
            encode(
                {
                    "device": e.device.as_json(),
                    "node_id": e.node_id,
                    "enrolled_ms": e.enrolled_ms,
                    "retired_ms": e.retired_ms,
                }
            )
            for e in self.enrolments
        )
        return hashlib.sha256(b"\n".join(lines)).hexdigest()

"""What a device claims to be: serial, die id, uuid and bus address are claims kept as evidence, none a key alone.

What a device does not tell is null: unknown, which contradicts nothing. Version 1 knew no die id and no firmware.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from suanli.evidence.strict_json import Fields

DEVICE_VERSION = 2
"""Newest form of a device."""


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """One physical accelerator as the host reports it; `device_id` is minted at enrolment."""

    device_id: str
    vendor: str
    model: str
    index: int
    serial: str | None
    uuid: str | None
    bus_address: str | None
    driver: str
    driver_version: str | None
    simulated: bool
    die_id: str | None = None
    firmware: str | None = None

    def as_json(self, version: int = DEVICE_VERSION) -> dict[str, object]:
        """The JSON object of the log in the form of a version."""
        value: dict[str, object] = {
            "device_id": self.device_id,
            "vendor": self.vendor,
            "model": self.model,
            "index": self.index,
            "serial": self.serial,
            "uuid": self.uuid,
            "bus_address": self.bus_address,
            "driver": self.driver,
            "driver_version": self.driver_version,
            "simulated": self.simulated,
        }
        if version >= 2:
            value |= {"die_id": self.die_id, "firmware": self.firmware}
        return value

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """In another process, too, one object stands for all that are equal."""
        return _again, tuple(getattr(self, name) for name in DeviceIdentity.__slots__)


# A device stands in every window of its node: one object for all of them keeps large bundles in memory.
_shared = functools.lru_cache(maxsize=65_536)(DeviceIdentity)


def _again(*fields: Any) -> DeviceIdentity:
    return _shared(*fields)


def read_device(fields: Fields, version: int = DEVICE_VERSION) -> DeviceIdentity:
    """The device in `fields`, in the form of a version: every key must be there and known. Raises EvidenceError."""
    device = _shared(
        fields.text("device_id", 64),
        fields.text("vendor", 64),
        fields.text("model", 128),
        fields.integer("index", 0, 65_535),
        fields.optional_text("serial", 128),
        fields.optional_text("uuid", 128),
        fields.optional_text("bus_address", 64),
        fields.text("driver", 64),
        fields.optional_text("driver_version", 128),
        fields.boolean("simulated"),
        fields.optional_text("die_id", 128) if version >= 2 else None,
        fields.optional_text("firmware", 128) if version >= 2 else None,
    )
    fields.done()
    return device

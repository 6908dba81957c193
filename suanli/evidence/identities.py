"""What a device claims to be: serial, uuid and bus address are claims kept as evidence, none a key alone."""

from __future__ import annotations

from dataclasses import dataclass

from suanli.evidence.strict_json import Fields


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

    def as_json(self) -> dict[str, object]:
        """The JSON object of the wire and of the log."""
        return {
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


def read_device(fields: Fields) -> DeviceIdentity:
    """The device in `fields`, every key of which must be known. Raises EvidenceError."""
    device = DeviceIdentity(
        device_id=fields.text("device_id", 64),
        vendor=fields.text("vendor", 64),
        model=fields.text("model", 128),
        index=fields.integer("index", 0, 65_535),
        serial=fields.optional_text("serial", 128),
        uuid=fields.optional_text("uuid", 128),
        bus_address=fields.optional_text("bus_address", 64),
        driver=fields.text("driver", 64),
        driver_version=fields.optional_text("driver_version", 128),
        simulated=fields.boolean("simulated"),
    )
    fields.done()
    return device

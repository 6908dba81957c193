"""The devices of the node as enrolled, over what the driver shows now: found again by claims, not by index.

A lost board makes the vendor's indices shift, so an index says nothing across restarts.
"""

from collections.abc import Sequence
from dataclasses import replace

from agents.core.readings import DeviceSample, Health
from agents.devices.driver import Device, Driver
from suanli.evidence.identities import DeviceIdentity


def match_devices(enrolled: Sequence[DeviceIdentity], found: Sequence[Device]) -> dict[int, int]:
    """Enrolled index to the driver's index now; a device that is not there any more is left out.

    UUID first, then bus address with serial, then serial (boards may share one), then bus address; only
    for a device that claims none of them does the index decide. Each found device is given once.
    """
    left = {device.index: device for device in found}
    matched: dict[int, int] = {}
    for names in (("uuid",), ("bus_address", "serial"), ("serial",), ("bus_address",)):
        for claim in enrolled:
            if claim.index in matched or any(getattr(claim, name) is None for name in names):
                continue
            hit = next(
                (d for d in left.values() if all(getattr(d, n) == getattr(claim, n) for n in names)), None
            )
            if hit is not None:
                matched[claim.index] = hit.index
                del left[hit.index]
    for claim in enrolled:
        nameless = claim.uuid is None and claim.serial is None and claim.bus_address is None
        if claim.index not in matched and nameless and claim.index in left:
            matched[claim.index] = claim.index
            del left[claim.index]
    return matched


class EnrolledDevices(Driver):
    """A driver whose indices are those of enrolment."""

    def __init__(self, driver: Driver, enrolled: Sequence[DeviceIdentity]) -> None:
        """Raises DriverError where the driver shows nothing at all."""
        self._driver = driver
        self.name = driver.name
        self.simulated = driver.simulated
        found = driver.inventory()
        self._now = match_devices(enrolled, found)
        self._enrolled_of = {now: index for index, now in self._now.items()}
        by_index = {device.index: device for device in found}
        self._nodes = {device.index: tuple(driver.device_nodes(device.index)) for device in found}
        self._by_enrolled = {index: by_index[now] for index, now in self._now.items()}
        self._devices = tuple(self._by_enrolled.values())
        self.missing = tuple(claim.index for claim in enrolled if claim.index not in self._now)
        self.strangers = tuple(device for device in found if device.index not in self._enrolled_of)

    def inventory(self) -> Sequence[Device]:
        """Enrolled devices that are there, as the driver names them."""
        return self._devices

    def device_now(self, index: int) -> Device | None:
        """The device of this enrolled index as the driver names it, None where it is not there."""
        return self._by_enrolled.get(index)

    def identity_now(self, enrolled: DeviceIdentity) -> DeviceIdentity:
        """An enrolled device with what it claims now: a window says what was there, not what was enrolled. One that
        is not there claims what it claimed; it is faulty.
        """
        now = self._by_enrolled.get(enrolled.index)
        if now is None:
            return enrolled
        return replace(
            enrolled,
            serial=now.serial,
            uuid=now.uuid,
            bus_address=now.bus_address,
            driver=self.name,
            driver_version=now.driver_version,
            die_id=now.die_id,
            firmware=now.firmware,
        )

    def sample(self) -> Sequence[DeviceSample]:
        """Readings under the indices of enrolment; what is missing is faulty."""
        readings = [
            replace(s, index=self._enrolled_of[s.index])
            for s in self._driver.sample()
            if s.index in self._enrolled_of
        ]
        return readings + [DeviceSample(index, health=Health.FAULTY) for index in self.missing]

    def visibility(self, devices: Sequence[int]) -> dict[str, str]:
        """The vendor's variables, in the vendor's indices of now."""
        return self._driver.visibility([self._now[index] for index in devices if index in self._now])

    def share_environment(self, devices: Sequence[int], share_ppm: int, memory_bytes: int) -> dict[str, str]:
        """The vendor's, for these enrolled indices."""
        now = [self._now[index] for index in devices if index in self._now]
        return self._driver.share_environment(now, share_ppm, memory_bytes)

    def device_nodes(self, device: int) -> Sequence[str]:
        """The nodes of a device by its index of enrolment."""
        return self._nodes[self._now[device]] if device in self._now else ()

    def nodes_known(self) -> bool:
        """Whether every device's nodes are known, so that devices can be kept from tasks. Simulated ones
        have none.
        """
        return self.simulated or all(self._nodes.values())

    def closed_nodes(self, given: Sequence[int]) -> tuple[str, ...]:
        """The nodes of all devices of the host, enrolled or not, but for those given (enrolled indices)."""
        own = {self._now[index] for index in given if index in self._now}
        opened = {node for now in own for node in self._nodes[now]}
        found = {node for nodes in self._nodes.values() for node in nodes}
        return tuple(sorted(found - opened))

    def close(self) -> None:
        """Let go of the vendor's library."""
        self._driver.close()

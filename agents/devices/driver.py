"""What a driver of a vendor's devices gives the agent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.core.readings import DeviceSample


class DriverError(Exception):
    """The devices cannot be read; the sentence says what is missing on the host."""


@dataclass(frozen=True)
class Device:
    """One accelerator of the host. Serial, die id, uuid and bus address are claims, none of them alone a key."""

    index: int
    vendor: str
    model: str
    serial: str | None
    uuid: str | None
    bus_address: str | None
    driver_version: str | None
    memory_bytes: int
    fast_link_group: int
    die_id: str | None = None
    firmware: str | None = None


class Driver(Protocol):
    """One vendor's devices on this host. Methods may block for as long as the vendor's tool does."""

    name: str
    """Name that stands in evidence: `simulated`, `nvidia`, ..."""
    simulated: bool
    """True: no device is asked; busy time and memory are those of the bound processes."""

    def inventory(self) -> Sequence[Device]:
        """Every device of the host, by index from 0. Raises DriverError."""
        ...

    def sample(self) -> Sequence[DeviceSample]:
        """One reading of every device that answers. Raises DriverError where none can be read."""
        ...

    def visibility(self, devices: Sequence[int]) -> dict[str, str]:
        """Environment by which the vendor's runtime sees these devices of the node and no others."""
        ...

    def share_environment(self, devices: Sequence[int], share_ppm: int, memory_bytes: int) -> dict[str, str]:
        """Environment by which the vendor's runtime keeps a task to its part of these devices, where it can.

        Empty where it cannot: then the task is told its part and kept to it by nothing. `memory_bytes` 0: not said.
        """
        return {}

    def device_nodes(self, device: int) -> Sequence[str]:
        """Files below /dev by which this device, and it alone, is used: closed to tasks that have not got it.

        Empty where the driver cannot say so; windows then claim less isolation.
        """
        return ()

    def close(self) -> None:
        """Let go of the vendor's library."""
        ...

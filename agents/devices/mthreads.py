"""Moore Threads devices by `mthreads-gmi -q --json`, all of whose values are texts with their units.

Source: recorded output of driver 3.3.5. It tells neither processes, errors of the memory nor links.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agents.core.readings import DeviceSample, Health
from agents.devices.driver import Device, Driver, DriverError
from agents.devices.tool import Ask, scaled, told, tool

QUESTION = ("-q", "--json")
PPM_PER_PERCENT = 10_000
MIB = 1 << 20


def parse_query(text: str) -> tuple[str | None, list[Mapping[str, Any]]]:
    """The driver's version, and what is told of each device. Raises DriverError for what is not that."""
    try:
        value = json.loads(text)
        gpus: list[Mapping[str, Any]] = [gpu for gpu in value["GPU"] if isinstance(gpu, dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise DriverError(f"mthreads-gmi -q --json printed something else: {type(error).__name__}") from None
    return told(value.get("Driver Version")), gpus


def _part(gpu: Mapping[str, Any], name: str, field: str) -> object:
    """A field of a part of it; names have come with a blank at their end."""
    part = gpu.get(name)
    found = {key.strip(): value for key, value in part.items()} if isinstance(part, dict) else {}
    return found.get(field)


def _name(gpu: Mapping[str, Any]) -> str:
    """By which a device is found again within one life of the driver."""
    return told(gpu.get("GPU UUID")) or told(gpu.get("Index")) or ""


class MthreadsDriver(Driver):
    """Every Moore Threads device that the tool shows, whole."""

    name = "mthreads"
    simulated = False

    def __init__(self, ask: Ask | None = None) -> None:
        """`ask` runs the tool. Raises DriverError where it does not answer."""
        self._ask = ask or tool("mthreads-gmi")
        version, gpus = parse_query(self._ask(QUESTION))
        self._names = [_name(gpu) for gpu in gpus]
        self._numbers = [told(gpu.get("Index")) for gpu in gpus]
        self._devices = [_device(index, gpu, version) for index, gpu in enumerate(gpus)]

    def inventory(self) -> Sequence[Device]:
        """Devices in the tool's order, as they were when the driver began."""
        return self._devices

    def sample(self) -> Sequence[DeviceSample]:
        """One reading of every device; one that is not shown any more is faulty."""
        gpus = {_name(gpu): gpu for gpu in parse_query(self._ask(QUESTION))[1]}
        return [_sample(index, gpus.get(name)) for index, name in enumerate(self._names)]

    def visibility(self, devices: Sequence[int]) -> dict[str, str]:
        """By the tool's index."""
        return {"MUSA_VISIBLE_DEVICES": ",".join(self._numbers[index] or str(index) for index in devices)}

    def device_nodes(self, device: int) -> Sequence[str]:
        """/dev/mtgpu.N by the tool's index; nothing where it tells none."""
        number = self._numbers[device]
        return () if number is None else (f"/dev/mtgpu.{number}",)

    def close(self) -> None:
        """Nothing is held."""


def _device(index: int, gpu: Mapping[str, Any], version: str | None) -> Device:
    return Device(
        index=index,
        vendor="mthreads",
        model="-".join((told(gpu.get("Product Name")) or "mthreads").lower().split()),
        serial=told(gpu.get("Serial Number")),
        uuid=told(gpu.get("GPU UUID")),
        bus_address=told(_part(gpu, "PCI", "Bus ID")),
        driver_version=version,
        memory_bytes=scaled(_part(gpu, "FB Memory Usage", "Total"), MIB, "MiB") or 0,
        fast_link_group=index,
        firmware=told(gpu.get("MTBios Version")),
    )


def _sample(index: int, gpu: Mapping[str, Any] | None) -> DeviceSample:
    if gpu is None:
        return DeviceSample(index, health=Health.FAULTY)
    used = scaled(_part(gpu, "FB Memory Usage", "Used"), MIB, "MiB")
    total = scaled(_part(gpu, "FB Memory Usage", "Total"), MIB, "MiB")
    load = scaled(_part(gpu, "Utilization", "Gpu"), PPM_PER_PERCENT, "%")
    # A host whose IOMMU is set the wrong way shows less memory than is in use.
    wrong = used is not None and total is not None and used > total
    return DeviceSample(
        index=index,
        health=Health.DEGRADED if wrong else Health.OK,
        utilisation_ppm=None if load is None else min(load, 100 * PPM_PER_PERCENT),
        memory_bytes=used,
        power_mw=scaled(_part(gpu, "Power Readings", "Power Draw"), 1000, "W"),
        temperature_mc=scaled(_part(gpu, "Temperature", "GPU Current Temp"), 1000, "C"),
    )

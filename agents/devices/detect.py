"""Finding the host's devices: by PCI vendor first, so that what is there but cannot be driven is named."""

from collections.abc import Callable, Sequence
from pathlib import Path

from agents.devices.ascend import AscendDriver
from agents.devices.driver import Driver, DriverError
from agents.devices.mthreads import MthreadsDriver
from agents.devices.nvidia import NvidiaDriver
from agents.devices.simulated import SimulatedDriver, parse_simulation

PCI_FOLDER = Path("/sys/bus/pci/devices")
PCI_VENDORS = {
    0x19E5: "Huawei Ascend",
    0xCABC: "Cambricon",
    0x1D94: "Hygon",
    0x1ED5: "Moore Threads",
    0x9999: "MetaX",
    0x1E3E: "Iluvatar",
    0x1E36: "Enflame",
    0x2057: "Kunlunxin",
    0x1D22: "Kunlunxin",
    0x1DED: "T-Head",
    0x10DE: "NVIDIA",
}
# Display, processing accelerator, co-processor: the classes under which vendors list their devices.
PCI_CLASSES = {0x02, 0x03, 0x0B, 0x12}
CLASSES_OF_HUAWEI = {0x03, 0x0B, 0x12}  # its 0x02 are network cards

DRIVERS: dict[str, Callable[[], Driver]] = {
    "ascend": AscendDriver,
    "mthreads": MthreadsDriver,
    "nvidia": NvidiaDriver,
}
"""Drivers of real devices by name; a new vendor is a new line."""


def count_by_vendor(entries: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Accelerators by vendor, from the `vendor` and `class` texts of PCI devices ("0x19e5", "0x120000")."""
    counts: dict[str, int] = {}
    for vendor_text, class_text in entries:
        vendor, pci_class = int(vendor_text, 16), int(class_text, 16) >> 16
        name = PCI_VENDORS.get(vendor)
        classes = CLASSES_OF_HUAWEI if vendor == 0x19E5 else PCI_CLASSES
        if name is not None and pci_class in classes:
            counts[name] = counts.get(name, 0) + 1
    return counts


def _pci_entries() -> list[tuple[str, str]]:
    if not PCI_FOLDER.is_dir():
        return []
    return [
        ((device / "vendor").read_text("ascii").strip(), (device / "class").read_text("ascii").strip())
        for device in sorted(PCI_FOLDER.iterdir())
    ]


def open_driver(name: str, simulate: str | None, node_name: str) -> Driver:
    """The driver of this name, or with `auto` the first whose devices are there.

    Raises DriverError with a sentence that says what is on the bus where nothing could be driven.
    """
    if name == "simulated" or (name == "auto" and simulate):
        if not simulate:
            raise DriverError("--driver simulated wants --simulate MODEL:COUNT, for example ascend-910b3:8")
        return SimulatedDriver(parse_simulation(simulate), node_name)
    if name != "auto":
        return DRIVERS[name]()
    refusals = []
    for kind, make in DRIVERS.items():
        try:
            driver = make()
            if driver.inventory():
                return driver
            refusals.append(f"{kind}: no device")
        except DriverError as error:
            refusals.append(f"{kind}: {error}")
    seen = ", ".join(
        f"{count} of {vendor}" for vendor, count in sorted(count_by_vendor(_pci_entries()).items())
    )
    raise DriverError(
        f"no accelerator that this agent can drive ({'; '.join(refusals)}); "
        f"on the PCI bus: {seen or 'none known'}; --simulate MODEL:COUNT makes devices that are not there"
    )

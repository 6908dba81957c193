"""Devices that are not there: identities of a catalogue model, measured by the processes bound to them.

What is metered is real: CPU time, resident memory and life of the very processes of each task
(`agents.core.intervals`). Every record says `simulated: true`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.core.readings import DeviceSample
from agents.devices.driver import Device, Driver, DriverError

MODELS_FILE = Path(__file__).with_name("simulated_models.json")
MOST_DEVICES = 1024


@dataclass(frozen=True)
class Simulation:
    """So many devices of one model."""

    model: str
    count: int


def parse_simulation(text: str) -> Simulation:
    """`ascend-910b3:8`. Raises DriverError with a sentence."""
    model, _, count = text.rpartition(":")
    if not model or not count.isascii() or not count.isdigit() or not 1 <= int(count) <= MOST_DEVICES:
        raise DriverError(f"--simulate wants MODEL:COUNT, for example ascend-910b3:8, not {text!r}")
    models = known_models()
    if model not in models:
        raise DriverError(f"no simulated device model {model!r}; there are: {', '.join(sorted(models))}")
    return Simulation(model, int(count))


def known_models() -> dict[str, Any]:
    """The models of the data file by key."""
    models: dict[str, Any] = json.loads(MODELS_FILE.read_text(encoding="utf-8"))
    return models


class SimulatedDriver(Driver):
    """Devices of one model on a node of this name (their identities are made from it)."""

    name = "simulated"
    simulated = True

    def __init__(self, simulation: Simulation, node_name: str) -> None:
        facts = known_models()[simulation.model]
        self._visibility: list[str] = facts["visibility"]
        self._devices = tuple(
            Device(
                index=index,
                vendor=facts["vendor"],
                model=simulation.model,
                serial=f"SIM-{node_name}-{index}",
                uuid=None,
                bus_address=None,
                driver_version=None,
                memory_bytes=facts["memory_bytes"],
                fast_link_group=index // facts["fast_link_group"],
            )
            for index in range(simulation.count)
        )

    def inventory(self) -> Sequence[Device]:
        """The devices asked for."""
        return self._devices

    def sample(self) -> Sequence[DeviceSample]:
        """They are always well; what they do is read from their processes."""
        return [DeviceSample(device.index) for device in self._devices]

    def visibility(self, devices: Sequence[int]) -> dict[str, str]:
        """The variables of the model's vendor."""
        return dict.fromkeys(self._visibility, ",".join(map(str, devices)))

    def close(self) -> None:
        """Nothing is held."""

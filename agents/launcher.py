"""From a ready task to what its shim is told, and clearing up where a shim is gone."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from agents.core.messages import Launch
from agents.core.readings import WHOLE_PPM
from agents.devices.containers import given_to_containers
from agents.devices.enrolled import EnrolledDevices
from agents.runtime import process, task_files
from agents.runtime.containers import Runtime, in_image, read_launch
from agents.runtime.launch import Rendezvous
from agents.runtime.prepare import Preparation
from agents.runtime.spec import TaskSpec
from agents.runtime.task_files import ShimState


@dataclass(frozen=True)
class Launcher:
    """How tasks are started on this node. `runtime` None: no container is run here."""

    driver: EnrolledDevices
    account_ms: int
    runtime: Runtime | None = None

    def launch_file(self, preparation: Preparation, instruction: Launch) -> task_files.Launch:
        """What the shim is to start."""
        spec = preparation.spec
        visibility = self.driver.visibility(spec.devices)
        launch = process.launch_file(
            preparation,
            Rendezvous(instruction.master_address, instruction.master_port),
            visibility | self._share_environment(spec),
            self.driver.simulated,
            self.account_ms,
        )
        if preparation.image is None or self.runtime is None:
            return launch
        given = given_to_containers(self.driver, spec.devices)
        return in_image(launch, preparation, self.runtime, given, visibility)

    def _share_environment(self, spec: TaskSpec) -> dict[str, str]:
        if spec.share_ppm == WHOLE_PPM:
            return {}
        return self.driver.share_environment(spec.devices, spec.share_ppm, spec.share_memory_bytes)

    async def clear(self, folder: Path, state: ShimState | None) -> None:
        """Until nothing is left of a task whose shim is gone: first what its OCI runtime knows of."""
        if self.runtime is not None:
            await asyncio.to_thread(self.runtime.end, read_launch(folder))
        await process.clear(folder, state)

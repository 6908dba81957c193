"""NVIDIA devices by NVML (nvidia-ml-py). NVML answers in milliwatts, millijoules and per cent.

Source: NVML API reference guide. A field that a device does not support is None, never 0.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from agents.core.readings import DeviceSample, Health
from agents.devices.driver import Device, Driver, DriverError

PPM_PER_PERCENT = 10_000
_ALL_LINKS = 0xFFFF_FFFF
"""Scope of a field value that means the sum over all NVLinks."""
MODELS = {
    "A100-SXM4-40GB": "nvidia-a100-sxm4-40gb",
    "A100-SXM4-80GB": "nvidia-a100-sxm4-80gb",
    "A800-SXM4-80GB": "nvidia-a800-sxm4-80gb",
    "H100 80GB HBM3": "nvidia-h100-sxm5-80gb",
    "H20": "nvidia-h20-96gb",
    "H200": "nvidia-h200-sxm-141gb",
    "L40S": "nvidia-l40s",
    "Tesla V100-SXM2-32GB": "nvidia-v100-sxm2-32gb",
    "GeForce RTX 4090": "nvidia-rtx-4090",
}


def model_key(product_name: str) -> str:
    """Catalogue key of a product name; one that is not in the catalogue becomes a key of its own."""
    name = product_name.removeprefix("NVIDIA ").strip()
    return MODELS.get(name, "nvidia-" + "-".join(name.lower().split()))


class NvidiaDriver(Driver):
    """Every NVIDIA device that NVML shows, whole."""

    name = "nvidia"
    simulated = False

    def __init__(self, nvml: Any = None) -> None:
        """`nvml` is the pynvml module or what answers like it. Raises DriverError where NVML is not there."""
        if nvml is None:
            try:
                nvml = import_module("pynvml")
            except ImportError:
                raise DriverError("the NVIDIA driver needs the package nvidia-ml-py on this host") from None
        self._nvml = nvml
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise DriverError(f"NVML does not answer on this host: {error}") from None
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]

    def inventory(self) -> Sequence[Device]:
        """Devices in NVML's order, which is that of their PCI addresses."""
        nvml = self._nvml
        version = self._ask(nvml.nvmlSystemGetDriverVersion)
        devices = []
        for index, handle in enumerate(self._handles):
            name = self._ask(nvml.nvmlDeviceGetName, handle)
            memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
            bus = self._ask(nvml.nvmlDeviceGetPciInfo, handle)
            if name is None or memory is None:
                raise DriverError(f"NVML shows device {index} but cannot say its name or memory")
            devices.append(
                Device(
                    index=index,
                    vendor="nvidia",
                    model=model_key(_text(name) or ""),
                    serial=_text(self._ask(nvml.nvmlDeviceGetSerial, handle)),
                    uuid=_text(self._ask(nvml.nvmlDeviceGetUUID, handle)),
                    bus_address=_text(bus.busId) if bus is not None else None,
                    driver_version=_text(version),
                    memory_bytes=int(memory.total),
                    fast_link_group=0 if self._links_up(handle) else index,
                    die_id=self._die_id(handle),
                    firmware=_text(self._ask(nvml.nvmlDeviceGetVbiosVersion, handle)),
                )
            )
        return devices

    def sample(self) -> Sequence[DeviceSample]:
        """One reading of every device; a device that does not answer at all is faulty."""
        return [self._sample(index, handle) for index, handle in enumerate(self._handles)]

    def _sample(self, index: int, handle: Any) -> DeviceSample:
        nvml = self._nvml
        try:
            used = nvml.nvmlDeviceGetMemoryInfo(handle).used
        except nvml.NVMLError:
            return DeviceSample(index, health=Health.FAULTY)  # fell off the bus, or is being reset
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        degrees = self._ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        errors = self._errors(handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
        sent, received = self._link_bytes(handle)
        return DeviceSample(
            index=index,
            health=self._health(handle, errors),
            utilisation_ppm=None if rates is None else min(100, int(rates.gpu)) * PPM_PER_PERCENT,
            memory_bytes=int(used),
            power_mw=self._ask(nvml.nvmlDeviceGetPowerUsage, handle),
            energy_mj=self._ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle),
            processes=self._processes(handle),
            temperature_mc=None if degrees is None or degrees < 0 else degrees * 1000,
            links_up=self._links_up(handle),
            link_in_bytes=received,
            link_out_bytes=sent,
            ecc_corrected=self._errors(handle, nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            ecc_uncorrected=errors,
        )

    def _processes(self, handle: Any) -> dict[int, int | None] | None:
        """Bytes by process. One that computes and draws is in both lists, in each with all that it holds."""
        nvml = self._nvml
        computing = self._ask(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        if computing is None:
            return None
        drawing = self._ask(nvml.nvmlDeviceGetGraphicsRunningProcesses, handle) or []
        return {each.pid: each.usedGpuMemory for each in (*computing, *drawing)}

    def _health(self, handle: Any, errors: int | None) -> Health:
        """A row that could not be remapped: faulty. A reset that is due, or uncorrected errors: degraded."""
        nvml = self._nvml
        rows = self._ask(nvml.nvmlDeviceGetRemappedRows, handle)
        if rows is not None and rows[3]:
            return Health.FAULTY
        pending = (rows is not None and rows[2]) or self._ask(
            nvml.nvmlDeviceGetRetiredPagesPendingStatus, handle
        )
        return Health.DEGRADED if pending or errors else Health.OK

    def _errors(self, handle: Any, kind: int) -> int | None:
        """Errors of the memory since the driver was loaded; None where it has no error correction."""
        nvml = self._nvml
        return self._ask(nvml.nvmlDeviceGetTotalEccErrors, handle, kind, nvml.NVML_VOLATILE_ECC)

    def _links_up(self, handle: Any) -> int | None:
        """NVLinks that are up; None where the device has none."""
        nvml = self._nvml
        states = []
        for link in range(nvml.NVML_NVLINK_MAX_LINKS):
            state = self._ask(nvml.nvmlDeviceGetNvLinkState, handle, link)
            if state is None:
                break  # links are numbered from 0 without a hole
            states.append(state)
        return sum(map(bool, states)) if states else None

    def _link_bytes(self, handle: Any) -> tuple[int | None, int | None]:
        """Bytes of data sent and received over all NVLinks since the driver was loaded; NVML counts in KiB."""
        nvml = self._nvml
        wanted = [nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX]
        values = self._ask(nvml.nvmlDeviceGetFieldValues, handle, [(field, _ALL_LINKS) for field in wanted])
        if values is None or any(value.nvmlReturn for value in values):
            return None, None
        sent, received = (int(value.value.ullVal) * 1024 for value in values)
        return sent, received

    def _die_id(self, handle: Any) -> str | None:
        """The identifier that is burnt into the chip, where library and device know it."""
        question = getattr(self._nvml, "nvmlDeviceGetPdi", None)
        found = None if question is None else self._ask(question, handle)
        return f"{int(found):016X}" if found else None

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any | None:
        """The answer, or None where this device does not support the question."""
        try:
            return question(*arguments)
        except self._nvml.NVMLError:
            return None

    def visibility(self, devices: Sequence[int]) -> dict[str, str]:
        """By UUID where all have one: CUDA does not count devices whose nodes are closed to a task, so an
        index would mean another device there. It counts by speed unless told to count as NVML does.
        """
        uuids = [_text(self._ask(self._nvml.nvmlDeviceGetUUID, self._handles[index])) for index in devices]
        names = [uuid for uuid in uuids if uuid is not None]
        if len(names) < len(devices):
            names = [str(index) for index in devices]
        return {"CUDA_VISIBLE_DEVICES": ",".join(names), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    def share_environment(self, devices: Sequence[int], share_ppm: int, memory_bytes: int) -> dict[str, str]:
        """Limits of the Multi-Process Service, by which clients are kept where its daemon runs on the host
        (CUDA documentation, "Multi-Process Service", client environment). Without it they are read by nobody.
        """
        percentage = max(1, share_ppm // 10_000)
        limits = {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(percentage)}
        if memory_bytes:
            mib = max(1, memory_bytes >> 20)
            limits["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = ",".join(
                f"{position}={mib}M" for position in range(len(devices))
            )
        return limits

    def device_nodes(self, device: int) -> Sequence[str]:
        """/dev/nvidiaMINOR; what all devices share (nvidiactl, nvidia-uvm) stays open."""
        minor = self._ask(self._nvml.nvmlDeviceGetMinorNumber, self._handles[device])
        return () if minor is None else (f"/dev/nvidia{minor}",)

    def close(self) -> None:
        """Shut NVML down."""
        self._ask(self._nvml.nvmlShutdown)


def _text(value: str | bytes | None) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return "".join(filter(str.isprintable, value or "")).strip() or None

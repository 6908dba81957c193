"""Every driver gives the agent what its protocol promises; NVML is real where the host has it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from agents.core.readings import Health
from agents.devices.ascend import AscendDriver
from agents.devices.detect import count_by_vendor, open_driver
from agents.devices.driver import Device, Driver, DriverError
from agents.devices.enrolled import EnrolledDevices, match_devices
from agents.devices.mthreads import MthreadsDriver
from agents.devices.nvidia import NvidiaDriver, model_key
from agents.devices.simulated import SimulatedDriver, Simulation, known_models, parse_simulation
from suanli.evidence.identities import DeviceIdentity
from tests.builders.vendor_tools import NpuSmi, RecordedNvml, mthreads_gmi
from tests.shared_data import shared_path


class NvmlError(Exception):
    """What NVML raises."""


def _field(kib: int) -> SimpleNamespace:
    """A field value as NVML gives it."""
    return SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(ullVal=kib))


class Nvml:
    """Answers like pynvml for two devices; `unsupported` names raise."""

    NVMLError = NvmlError
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_MEMORY_ERROR_TYPE_CORRECTED = 0
    NVML_VOLATILE_ECC = 0
    NVML_TEMPERATURE_GPU = 0
    NVML_NVLINK_MAX_LINKS = 18
    NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX = 138
    NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX = 139

    def __init__(self, *unsupported: str, **answers: Any) -> None:
        self._unsupported = set(unsupported)
        self._answers: dict[str, Any] = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": 2,
            "nvmlSystemGetDriverVersion": "570.1",
            "nvmlDeviceGetName": "NVIDIA H200",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=150_754_820_096, used=5_000),
            "nvmlDeviceGetPciInfo": SimpleNamespace(busId=b"00000000:1B:00.0"),
            "nvmlDeviceGetSerial": "1650924012345",
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=42, memory=3),
            "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=1, usedGpuMemory=4_000)],
            "nvmlDeviceGetGraphicsRunningProcesses": [SimpleNamespace(pid=2, usedGpuMemory=700)],
            "nvmlDeviceGetPowerUsage": 123_456,
            "nvmlDeviceGetTotalEnergyConsumption": 987_654_321,
            "nvmlDeviceGetTotalEccErrors": 0,
            "nvmlDeviceGetRemappedRows": (0, 0, 0, 0),
            "nvmlDeviceGetRetiredPagesPendingStatus": 0,
            "nvmlDeviceGetNvLinkState": 1,
            "nvmlDeviceGetTemperature": 46,
            "nvmlDeviceGetVbiosVersion": "96.00.99.00.01",
            "nvmlDeviceGetPdi": 0x1234ABCD,
            "nvmlDeviceGetFieldValues": [_field(7), _field(9)],
            **answers,
        }

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetMinorNumber(self, handle: int) -> int:
        if "nvmlDeviceGetMinorNumber" in self._unsupported:
            raise NvmlError("Not Supported")
        return 7 - handle

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def answer(*_arguments: Any) -> Any:
            if name in self._unsupported:
                raise NvmlError("Not Supported")
            return self._answers[name]

        return answer


def real_nvml() -> Driver:
    """NVML of this host."""
    try:
        return NvidiaDriver()
    except DriverError as error:
        pytest.skip(str(error))


DRIVERS: dict[str, Callable[[], Driver]] = {
    "ascend, as recorded": lambda: AscendDriver(NpuSmi()),
    "mthreads, as recorded": lambda: MthreadsDriver(lambda _: mthreads_gmi()),
    "simulated": lambda: SimulatedDriver(Simulation("ascend-910b3", 8), "node-a"),
    "nvidia, by the book": lambda: NvidiaDriver(Nvml()),
    "nvidia, as recorded": lambda: NvidiaDriver(RecordedNvml("busy")),
    "nvidia, on this host": real_nvml,
}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """Each driver in turn."""
    made = DRIVERS[request.param]()
    yield made
    made.close()


def test_devices_are_numbered_from_zero_and_described(driver: Driver) -> None:
    devices = driver.inventory()
    assert [device.index for device in devices] == list(range(len(devices)))
    for device in devices:
        assert device.vendor
        assert device.model == device.model.lower()
        assert device.memory_bytes > 2**30
        assert device.serial or device.uuid or device.bus_address


def test_the_inventory_does_not_change(driver: Driver) -> None:
    assert driver.inventory() == driver.inventory()


def test_every_device_is_read_within_bounds(driver: Driver) -> None:
    samples = driver.sample()
    assert [sample.index for sample in samples] == [device.index for device in driver.inventory()]
    for sample in samples:
        assert sample.health in set(Health)
        assert 0 <= (sample.utilisation_ppm or 0) <= 1_000_000
        amounts = vars(sample).keys() - {"index", "health", "processes"}
        for amount in (getattr(sample, name) for name in amounts):
            assert amount is None or amount >= 0
        for pid, held in (sample.processes or {}).items():
            assert pid > 0
            assert held is None or held >= 0


def test_visibility_names_the_devices_asked_for(driver: Driver) -> None:
    visible = driver.visibility([0])
    assert all(visible.values())
    assert visible != driver.visibility([])
    assert all(name.isupper() for name in visible)


def test_no_two_devices_share_the_nodes_by_which_they_are_closed(driver: Driver) -> None:
    nodes = [node for device in driver.inventory() for node in driver.device_nodes(device.index)]
    assert len(set(nodes)) == len(nodes)
    assert all(node.startswith("/dev/") for node in nodes)


# --- simulated --------------------------------------------------------------------------------------------


def test_simulated_models_say_what_the_shared_catalogue_says() -> None:
    catalogue = yaml.safe_load((shared_path("accelerators") / "catalog.yaml").read_text("utf-8"))
    variables = {
        v: profile["visibility"]["process_env"] for v, profile in catalogue["vendor_profiles"].items()
    }
    for model, facts in known_models().items():
        assert facts["visibility"] == variables[facts["vendor"]], model
    wanted = "ascend-910b3 ascend-910c mlu370-x8 hygon-k100 mtt-s4000 metax-c500 iluvatar-bi-v150 enflame-s60"
    assert {*wanted.split(), "kunlunxin-p800", "nvidia-h200-sxm-141gb"} <= set(known_models())


def test_simulated_models_are_those_of_the_control_planes_catalogue() -> None:
    from scheduler.catalogue.loader import load_catalogue

    catalogue = load_catalogue()
    for model, facts in known_models().items():
        known = catalogue.models[model]
        assert (facts["vendor"], facts["memory_bytes"]) == (known.vendor.key, known.memory_bytes), model


def test_simulated_devices_have_identities_of_their_node() -> None:
    one = SimulatedDriver(Simulation("mlu370-x8", 8), "node-a").inventory()
    other = SimulatedDriver(Simulation("mlu370-x8", 8), "node-b").inventory()
    serials = [device.serial for device in (*one, *other)]
    assert len(set(serials)) == 16
    assert [device.fast_link_group for device in one] == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "text", ["", "ascend-910b3", "ascend-910b3:", "ascend-910b3:0", "ascend-910b3:x", "none:4"]
)
def test_a_wrong_simulation_is_refused(text: str) -> None:
    with pytest.raises(DriverError):
        parse_simulation(text)


# --- nvidia -----------------------------------------------------------------------------------------------


def test_nvml_is_read_in_our_units() -> None:
    sample = NvidiaDriver(Nvml()).sample()[0]
    assert (sample.utilisation_ppm, sample.power_mw, sample.energy_mj) == (420_000, 123_456, 987_654_321)
    assert (sample.memory_bytes, sample.processes, sample.health) == (5_000, {1: 4_000, 2: 700}, Health.OK)
    assert (sample.temperature_mc, sample.links_up) == (46_000, 18)
    assert (sample.link_out_bytes, sample.link_in_bytes) == (7 * 1024, 9 * 1024)
    assert (sample.ecc_corrected, sample.ecc_uncorrected) == (0, 0)
    device = NvidiaDriver(Nvml()).inventory()[1]
    assert (device.firmware, device.die_id) == ("96.00.99.00.01", "000000001234ABCD")
    assert (device.model, device.uuid, device.bus_address) == (
        "nvidia-h200-sxm-141gb",
        "GPU-1",
        "00000000:1B:00.0",
    )


def test_a_real_h200_is_read_as_it_answered_idle_and_at_work() -> None:
    driver = NvidiaDriver(RecordedNvml("idle"))
    (device,), (idle,) = driver.inventory(), driver.sample()
    assert (device.model, device.memory_bytes) == ("nvidia-h200-sxm-141gb", 150_754_820_096)
    assert (device.bus_address, device.firmware) == ("00000000:00:06.0", "96.00.A5.00.1A")
    assert (idle.utilisation_ppm, idle.processes, idle.health) == (0, {}, Health.OK)
    assert (idle.power_mw, idle.energy_mj, idle.temperature_mc) == (83_355, 3_044_626, 35_000)
    # A card without links says so of them in three ways.
    assert (idle.links_up, idle.link_in_bytes, idle.link_out_bytes) == (None, None, None)
    (busy,) = NvidiaDriver(RecordedNvml("busy")).sample()
    assert (busy.utilisation_ppm, busy.memory_bytes) == (1_000_000, 9_787_277_312)
    assert busy.processes == {611: 9_133_096_960}
    assert (busy.power_mw, busy.energy_mj, busy.temperature_mc) == (607_376, 5_951_584, 49_000)


def test_nvidia_devices_are_named_by_uuid_for_indices_shift_where_nodes_are_closed() -> None:
    assert NvidiaDriver(Nvml()).visibility([1])["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def test_nodes_of_all_devices_but_those_given_are_closed() -> None:
    driver = NvidiaDriver(Nvml())
    devices = EnrolledDevices(driver, [claim(4, uuid="GPU-1")])  # the other one is there and not enrolled
    assert devices.closed_nodes([4]) == ("/dev/nvidia7",)
    assert devices.closed_nodes([]) == ("/dev/nvidia6", "/dev/nvidia7")
    assert devices.nodes_known()
    blind = EnrolledDevices(NvidiaDriver(Nvml("nvmlDeviceGetMinorNumber")), [claim(4, uuid="GPU-1")])
    assert (blind.closed_nodes([]), blind.nodes_known()) == ((), False)


def test_what_a_device_does_not_support_is_none_and_not_zero() -> None:
    nvml = Nvml("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetSerial")
    driver = NvidiaDriver(nvml)
    sample = driver.sample()[0]
    assert (sample.energy_mj, sample.utilisation_ppm) == (None, None)
    assert driver.inventory()[0].serial is None
    plain_card = Nvml("nvmlDeviceGetNvLinkState", "nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetPdi")
    sample = NvidiaDriver(plain_card).sample()[0]
    assert (sample.links_up, sample.ecc_corrected, sample.ecc_uncorrected) == (None, None, None)
    assert NvidiaDriver(plain_card).inventory()[0].die_id is None


@pytest.mark.parametrize(
    ("answers", "health"),
    [
        ({"nvmlDeviceGetRemappedRows": (0, 1, 0, 1)}, Health.FAULTY),
        ({"nvmlDeviceGetRemappedRows": (0, 1, 1, 0)}, Health.DEGRADED),
        ({"nvmlDeviceGetTotalEccErrors": 3}, Health.DEGRADED),
        ({"nvmlDeviceGetRetiredPagesPendingStatus": 1}, Health.DEGRADED),
    ],
)
def test_health_is_what_the_memory_says(answers: dict[str, Any], health: Health) -> None:
    assert NvidiaDriver(Nvml(**answers)).sample()[0].health is health


def test_a_device_that_does_not_answer_is_faulty() -> None:
    assert NvidiaDriver(Nvml("nvmlDeviceGetMemoryInfo")).sample()[0].health is Health.FAULTY


def test_a_host_without_nvml_is_said() -> None:
    with pytest.raises(DriverError, match="NVML does not answer"):
        NvidiaDriver(Nvml("nvmlInit"))


def test_a_product_that_no_catalogue_names_has_a_key_of_its_own() -> None:
    assert model_key("NVIDIA H200") == "nvidia-h200-sxm-141gb"
    assert model_key("NVIDIA GeForce GTX 1080 Ti") == "nvidia-geforce-gtx-1080-ti"


# --- finding them -----------------------------------------------------------------------------------------


def test_accelerators_are_told_from_other_things_of_their_vendors() -> None:
    entries = [("0x19e5", "0x120000"), ("0x19e5", "0x020000"), ("0x10de", "0x030200"), ("0x8086", "0x030000")]
    assert count_by_vendor(entries) == {"Huawei Ascend": 1, "NVIDIA": 1}


def test_a_driver_that_nobody_wrote_is_refused_with_what_is_on_the_bus() -> None:
    with pytest.raises(DriverError, match="wants --simulate"):
        open_driver("simulated", None, "node-a")
    assert open_driver("auto", "hygon-k100:2", "node-a").name == "simulated"


def claim(index: int, **identity: str | None) -> DeviceIdentity:
    """A device as enrolled."""
    names = {"serial": None, "uuid": None, "bus_address": None, **identity}
    return DeviceIdentity(
        f"d{index}", "v", "m", index, names["serial"], names["uuid"], names["bus_address"], "x", None, True
    )


def found(index: int, **identity: str | None) -> Device:
    """A device as a driver shows it."""
    names = {"serial": None, "uuid": None, "bus_address": None, **identity}
    return Device(index, "v", "m", names["serial"], names["uuid"], names["bus_address"], None, 2**30, 0)


def test_devices_are_found_again_by_what_they_claim_and_not_by_their_index() -> None:
    enrolled = [claim(0, uuid="a"), claim(1, uuid="b"), claim(2, uuid="c")]
    assert match_devices(enrolled, [found(0, uuid="b"), found(1, uuid="c")]) == {1: 0, 2: 1}
    shared = [claim(0, serial="s", bus_address="x"), claim(1, serial="s", bus_address="y")]
    swapped = [found(0, serial="s", bus_address="y"), found(1, serial="s", bus_address="x")]
    assert match_devices(shared, swapped) == {0: 1, 1: 0}
    assert match_devices([claim(0)], [found(0)]) == {0: 0}


def test_a_device_that_is_gone_is_faulty_and_the_others_keep_their_names() -> None:
    driver = SimulatedDriver(Simulation("ascend-910b3", 2), "node-a")
    enrolled = [claim(0, serial="SIM-node-a-0"), claim(1, serial="gone"), claim(2, serial="SIM-node-a-1")]
    devices = EnrolledDevices(driver, enrolled)
    assert devices.missing == (1,)
    assert {sample.index: sample.health for sample in devices.sample()} == {
        0: Health.OK,
        1: Health.FAULTY,
        2: Health.OK,
    }
    assert devices.visibility([0, 2]) == {"ASCEND_RT_VISIBLE_DEVICES": "0,1"}


def test_a_window_says_what_a_device_claims_now_and_not_what_it_claimed_at_enrolment() -> None:
    was = replace(claim(4, uuid="GPU-1"), driver_version="1.0", die_id="OTHER", firmware="1", bus_address="x")
    devices = EnrolledDevices(NvidiaDriver(Nvml()), [was, claim(5, uuid="GPU-9")])
    now = devices.identity_now(was)
    assert (now.device_id, now.index, now.uuid) == ("d4", 4, "GPU-1")
    assert (now.driver_version, now.firmware, now.die_id) == ("570.1", "96.00.99.00.01", "000000001234ABCD")
    assert (now.bus_address, now.serial) == ("00000000:1B:00.0", "1650924012345")
    gone = claim(5, uuid="GPU-9")
    assert devices.identity_now(gone) == gone

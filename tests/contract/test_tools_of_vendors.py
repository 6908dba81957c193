"""Drivers that ask a vendor's tool: what it prints, in all its forms, is read in our units."""

import json

import pytest

from agents.core.readings import Health
from agents.devices.ascend import (
    TURN,
    AscendDriver,
    die_name,
    parse_errors,
    parse_fields,
    parse_groups,
    parse_links,
    parse_map,
    parse_table,
)
from agents.devices.driver import DriverError
from agents.devices.mthreads import MthreadsDriver, parse_query
from agents.devices.tool import scaled, told, tool
from tests.builders.vendor_tools import NpuSmi, mthreads_gmi, npu_smi
from tests.shared_data import shared_path


def test_npu_smi_is_read_in_our_units() -> None:
    driver = AscendDriver(NpuSmi())
    first = driver.inventory()[0]
    assert (first.vendor, first.model, first.memory_bytes) == ("ascend", "ascend-910a", 32768 * 2**20)
    assert (first.driver_version, first.firmware) == ("23.0.5", "7.1.0.7.220")
    assert (first.bus_address, first.serial) == ("0000:61:00.0", None)
    assert first.die_id == "42C711D4-20B03704-4A10C8D4-14CC040A-D2102003"
    assert [device.fast_link_group for device in driver.inventory()] == [0, 0, 0, 0, 1, 1, 1, 1]
    sample = driver.sample()[0]
    assert (sample.power_mw, sample.temperature_mc, sample.utilisation_ppm) == (67_200, 43_000, 0)
    assert (sample.memory_bytes, sample.health, sample.energy_mj) == (0, Health.OK, None)
    assert (sample.links_up, sample.ecc_corrected, sample.ecc_uncorrected) == (3, 0, 0)
    assert driver.device_nodes(7) == ("/dev/davinci7",)


def test_a_board_that_tells_its_serial_is_known_by_it() -> None:
    driver = AscendDriver(NpuSmi(**{"info -t board": npu_smi("info-t-board_2")}))
    device = driver.inventory()[0]
    assert (device.serial, device.driver_version) == ("102415083974", "25.5.2")


def test_every_recorded_table_is_read_whole() -> None:
    folder = shared_path("accelerators/vendor_outputs/ascend")
    files = sorted(folder.glob("npu-smi_info_*.txt"))
    assert len(files) == 19
    for file in files:
        table = parse_table(file.read_text("utf-8"))
        assert table.chips, file.name
        for place, seen in table.chips.items():
            assert seen.total_bytes >= 8192 * 2**20, (file.name, place)
            assert seen.name, (file.name, place)
            assert seen.health in {"OK", "Warning", "Alarm", "Critical"}, (file.name, place)
            assert seen.temperature_mc is not None, (file.name, place)
            assert seen.bus_address is not None, (file.name, place)


def test_two_dies_of_a_package_are_two_devices_and_one_tells_the_power() -> None:
    table = parse_table(npu_smi("info_15"))
    assert len(table.chips) == 16
    assert (table.version, table.processes) == (
        "25.3.rc1",
        {
            chip: {pid: 43_266 << 20}
            for chip, pid in {(0, 0): 2173027, (0, 1): 2173030, (1, 0): 2173031, (1, 1): 2173032}.items()
        },
    )
    assert [table.chips[0, die].power_mw for die in (0, 1)] == [166_900, None]
    places = {place: n for n, place in enumerate(sorted(table.chips))}
    mapping = "NPU ID  Chip ID  Chip Phy-ID  Chip Name\n" + "\n".join(
        f"{npu}       {die}        {n}            Ascend910" for (npu, die), n in places.items()
    )
    driver = AscendDriver(NpuSmi(**{"info": npu_smi("info_15"), "info -m": mapping, "info -t topo": None}))
    assert {device.model for device in driver.inventory()} == {"ascend-910c"}
    assert driver.device_nodes(15) == ("/dev/davinci15",)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("info-m_1", {(215, n): n for n in range(4)}),
        ("info-m_2", {(6, n): n for n in range(4)}),
        ("info-m_950_1", {(0, 0): 0, (1, 0): 1}),
        ("info-m_mcu_1", {(n, 0): n for n in range(8)}),
        ("info-m_mcu_2", {(npu, die): 2 * n + die for n, npu in enumerate((1, 2, 4, 5)) for die in (0, 1)}),
    ],
)
def test_physical_ids_are_read_and_never_guessed(name: str, places: dict[tuple[int, int], int]) -> None:
    assert parse_map(npu_smi(name)) == places


def test_a_chip_without_a_physical_id_is_left_out() -> None:
    driver = AscendDriver(NpuSmi(**{"info -m": npu_smi("info-m_950_1")}))
    assert [device.bus_address for device in driver.inventory()] == ["0000:61:00.0", "0000:DB:00.0"]
    with pytest.raises(DriverError, match="does not say which chip"):
        AscendDriver(NpuSmi(**{"info -m": "something else"}))


def test_what_an_older_tool_does_not_answer_is_none_and_not_zero() -> None:
    silent = dict.fromkeys(
        ["info -t board", "info -t board -c", "info -t hccs -c", "info -t ecc", "info -t topo"]
    )
    driver = AscendDriver(NpuSmi(**silent))
    device, sample = driver.inventory()[1], driver.sample()[1]
    assert (device.serial, device.die_id, device.firmware) == (None, None, None)
    assert (device.driver_version, device.bus_address) == ("22.0.3.1", "0000:DB:00.0")
    assert (sample.links_up, sample.ecc_corrected, sample.ecc_uncorrected) == (None, None, None)


def test_a_chip_that_is_gone_is_faulty_and_one_that_warns_is_degraded() -> None:
    tool = NpuSmi(info=npu_smi("info_4"))
    driver = AscendDriver(tool)
    assert [sample.health for sample in driver.sample()][3] is Health.DEGRADED
    tool._answers["info"] = npu_smi("info_9")
    assert [sample.health for sample in driver.sample()][2:] == [Health.FAULTY] * 6


def test_links_and_errors_are_asked_of_one_device_in_its_turn() -> None:
    tool = NpuSmi(**{"info -t ecc": npu_smi("info-t-ecc_1").replace("HBM Double Bit Error Count               : 0",
        "HBM Double Bit Error Count               : 2")})  # fmt: skip
    driver = AscendDriver(tool)
    tool.asked.clear()
    for _ in range(TURN):
        samples = driver.sample()
    assert len(tool.asked) == TURN + 2
    assert [sample.ecc_uncorrected for sample in samples] == [2] + [None] * 7
    assert samples[0].health is Health.DEGRADED
    driver.sample()
    assert tool.asked[-1] == "info -t ecc -i 1"


def test_small_answers_are_read() -> None:
    assert parse_links(npu_smi("info-t-hccs_2")) == 0
    assert parse_links("Not support") is None
    assert parse_errors(npu_smi("info-t-ecc_1")) == {0: (0, 0)}
    assert parse_fields(npu_smi("info-t-board-c_2"))["Die ID"].startswith("409921D4")
    assert "Model" not in parse_fields(npu_smi("info-t-board_2"))
    assert set(parse_groups(npu_smi("info-t-topo_1")).values()) == {0}
    assert parse_groups(npu_smi("info-t-topo_3_910c_partial")) == dict.fromkeys(
        ["Phy-ID2", "Phy-ID3", "Phy-ID12", "Phy-ID13"], 0
    )


def test_a_die_has_one_name_whatever_tool_tells_it() -> None:
    assert (
        die_name("E281A66C 140C979 2CFBED72 A4500485 104301E3")
        == "E281A66C-0140C979-2CFBED72-A4500485-104301E3"
    )
    assert (die_name("NA"), die_name(None)) == (None, None)


# --- mthreads ---------------------------------------------------------------------------------------------


def test_mthreads_gmi_is_read_in_our_units() -> None:
    driver = MthreadsDriver(lambda _: mthreads_gmi())
    first, second = driver.inventory()
    assert (first.vendor, first.model, first.memory_bytes) == ("mthreads", "mtt-s5000", 81920 * 2**20)
    assert (first.serial, first.uuid) == ("MY10YL225BF06077", "399282a8-ba01-1475-893c-2eeca9e302f5")
    assert (first.bus_address, second.bus_address) == ("00000000:2a:00.0", None)
    assert (first.driver_version, first.firmware, first.die_id) == ("3.3.5-server", "4.3.41", None)
    sample = driver.sample()[0]
    assert (sample.power_mw, sample.temperature_mc, sample.utilisation_ppm) == (96_660, 27_000, 0)
    assert (sample.memory_bytes, sample.processes, sample.ecc_corrected) == (0, None, None)
    assert driver.device_nodes(1) == ("/dev/mtgpu.1",)


def test_a_card_that_is_gone_is_faulty_and_one_with_too_little_memory_is_degraded() -> None:
    told_now = json.loads(mthreads_gmi())
    driver = MthreadsDriver(lambda _: json.dumps(told_now))
    told_now["GPU"][0]["FB Memory Usage"]["Used"] = "90000MiB"
    del told_now["GPU"][1]
    assert [sample.health for sample in driver.sample()] == [Health.DEGRADED, Health.FAULTY]


@pytest.mark.parametrize("text", ["", "no devices were found", "[]", '{"GPU": 3}'])
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(DriverError, match="printed something else"):
        parse_query(text)


# --- running them -----------------------------------------------------------------------------------------


def test_a_tool_that_is_not_there_fails_or_says_why_is_named() -> None:
    with pytest.raises(DriverError, match="no-such-smi cannot be run on this host"):
        tool("no-such-smi")(["info"])
    with pytest.raises(DriverError, match="sh -c echo no device; exit 3 failed with 3: no device"):
        tool("sh")(["-c", "echo no device; exit 3"])
    assert tool("sh")(["-c", "echo yes"]) == "yes\n"


def test_words_that_say_nothing_are_none_and_not_zero() -> None:
    assert [told(word) for word in ("NA", " - ", "N/A", "", None, " x ")] == [None] * 5 + ["x"]
    assert [scaled(word, 1000, "W") for word in ("96.66W", "NA", "-1", "inf", "nan", 3)] == [
        96_660, None, None, None, None, None
    ]  # fmt: skip

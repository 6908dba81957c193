"""Huawei Ascend devices by `npu-smi`, which prints text for people: one device is one chip (one die of a 910C).

Sources: Huawei's command reference of npu-smi, and outputs of its versions 20.2 to 26.0 (the tests read them).
A field that a tool does not print, or prints as NA or -, is None, never 0.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agents.core.readings import DeviceSample, Health
from agents.devices.driver import Device, Driver, DriverError
from agents.devices.tool import Ask, scaled, told, tool

TOOL = "npu-smi"
PPM_PER_PERCENT = 10_000
MIB = 1 << 20
DIE_WORD_DIGITS = 8
# Of how many readings one asks beyond the table, one device in its turn: each question starts the tool again.
TURN = 10

Chip = tuple[int, int]
"""NPU (card) and chip on it, which is how the tool counts."""


# --- text to data: pure --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """One chip as the table shows it. `total_bytes` is its HBM, or its memory where it has none."""

    name: str
    health: str
    power_mw: int | None
    temperature_mc: int | None
    bus_address: str | None
    utilisation_ppm: int | None
    used_bytes: int
    total_bytes: int


@dataclass
class Table:
    """`npu-smi info`: chips in the tool's order; bytes by process of each chip, None where it lists no processes."""

    version: str | None = None
    chips: dict[Chip, Seen] = field(default_factory=dict)
    processes: dict[Chip, dict[int, int | None]] | None = None


_VERSION = re.compile(r"\bVersion: (\S+)")
_ROW = re.compile(r"(?:NPU|Phy-ID)[0-9]+")
_PAIR = re.compile(r"([0-9]+) */ *([0-9]+)")


def parse_table(text: str) -> Table:
    """Two rows a chip (NPU, name, health, power, heat; then chip, bus address, load, memory), then the processes."""
    table = Table()
    found = _VERSION.search(text)
    table.version = found[1] if found else None
    upper: list[str] | None = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if "Process id" in line:
            table.processes = {}
        elif len(cells) < 3 or not cells[0][:1].isdigit():
            continue
        elif table.processes is not None:
            npu, chip = (int(number) for number in cells[0].split()[:2])
            if cells[1].isdecimal():
                known = len(cells) > 3 and cells[3].isdecimal()
                table.processes.setdefault((npu, chip), {})[int(cells[1])] = (
                    int(cells[3]) * MIB if known else None
                )
        elif upper is None:
            upper = cells
        else:
            place = int(upper[0].split()[0]), int(cells[0].split()[0])
            table.chips[place] = _seen(upper, cells)
            upper = None
    return table


def _seen(upper: Sequence[str], lower: Sequence[str]) -> Seen:
    power, heat, *_ = [*upper[2].split(), "NA", "NA"]
    # Memory, then HBM where the chip has it: a total of 0 is that of memory that is not there.
    pairs = [(int(used), int(total)) for used, total in _PAIR.findall(lower[2])]
    used, total = next(((used, total) for used, total in reversed(pairs) if total), (0, 0))
    load = scaled(lower[2].split()[0], PPM_PER_PERCENT)
    return Seen(
        name=upper[0].partition(" ")[2].strip(),
        health=upper[1],
        power_mw=scaled(power, 1000),
        temperature_mc=scaled(heat, 1000),
        bus_address=told(lower[1]),
        utilisation_ppm=None if load is None else min(load, 100 * PPM_PER_PERCENT),
        used_bytes=used * MIB,
        total_bytes=total * MIB,
    )


def parse_map(text: str) -> dict[Chip, int]:
    """`npu-smi info -m`: physical ids, which name the device nodes. A board's controller, no device, has none."""
    lines = [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.strip()]
    heads = next((line for line in lines if line[0] == "NPU ID"), [])
    wanted = next((name for name in ("Chip Phy-ID", "Chip Logic ID") if name in heads), None)
    if wanted is None or "Chip ID" not in heads:
        raise DriverError(f"{TOOL} info -m does not say which chip has which id: an unknown form of it")
    columns = heads.index("NPU ID"), heads.index("Chip ID"), heads.index(wanted)
    places: dict[Chip, int] = {}
    for line in lines:
        if len(line) == len(heads) and all(line[column].isdigit() for column in columns):
            npu, chip, physical = (int(line[column]) for column in columns)
            places[npu, chip] = physical
    return places


def parse_fields(text: str) -> dict[str, str]:
    """`name : value` lines as of `-t board`, without those that say nothing."""
    return {name: value for name, value in _fields(text) if told(value) is not None}


def parse_errors(text: str) -> dict[int, tuple[int, int]]:
    """`-t ecc`: errors of its memory, corrected and not, by chip, whose number comes after its counts."""
    found: dict[int, tuple[int, int]] = {}
    counts = {"Single": 0, "Double": 0}
    for name, value in _fields(text):
        counter = re.fullmatch(r"(?:DDR|HBM) (Single|Double) Bit Error Count", name)
        if counter is not None:
            counts[counter[1]] += scaled(value, 1) or 0
        elif name == "Chip ID" and value.isdigit():
            found[int(value)] = counts["Single"], counts["Double"]
            counts = {"Single": 0, "Double": 0}
    return found


def parse_links(text: str) -> int | None:
    """`-t hccs`: links of the fast bus that are up."""
    return next(
        (int(v) for name, v in _fields(text) if name == "hccs link num in used" and v.isdigit()), None
    )


def parse_groups(text: str) -> dict[str, int]:
    """`-t topo`: number of the group of fast links by the name of a row, `NPU3` or `Phy-ID3` as versions have it."""
    rows = [line.split() for line in text.splitlines()]
    heads = [cell for cell in next(filter(None, rows), []) if _ROW.fullmatch(cell)]
    groups: dict[str, int] = {}
    for own, *links in filter(None, rows):
        if own not in heads or len(links) < len(heads) or links[0] in heads:
            continue
        near = [head for head, link in zip(heads, links, strict=False) if link.startswith(("HCCS", "SIO"))]
        group = next((groups[name] for name in (own, *near) if name in groups), len(set(groups.values())))
        groups |= dict.fromkeys((own, *near), group)
    return groups


def die_name(value: str | None) -> str | None:
    """A die id in one form: not every tool fills its words with zeros."""
    words = (value or "").split()
    good = words and all(re.fullmatch(r"[0-9A-Fa-f]{1,8}", word) for word in words)
    return "-".join(word.upper().zfill(DIE_WORD_DIGITS) for word in words) if good else None


def model_key(name: str, dies: int) -> str:
    """Catalogue key. A 910C calls itself Ascend910 and has two dies a package."""
    short = name.removeprefix("Ascend").strip().lower()
    return f"ascend-{'910c' if short == '910' and dies > 1 else '-'.join(short.split())}"


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), value.strip()


# --- the driver ----------------------------------------------------------------------------------------------------

_HEALTH = {"OK": Health.OK, "Warning": Health.DEGRADED}


@dataclass(frozen=True)
class _Known:
    chip: Chip
    physical: int
    device: Device


class AscendDriver(Driver):
    """Every Ascend chip whose physical id is known, whole. One whose id cannot be read is left out, not guessed."""

    name = "ascend"
    simulated = False

    def __init__(self, ask: Ask | None = None) -> None:
        """`ask` runs the tool. Raises DriverError where it does not answer."""
        self._ask = ask = ask or tool(TOOL)
        table, places = parse_table(ask(["info"])), parse_map(ask(["info", "-m"]))
        groups = parse_groups(self._try(["info", "-t", "topo"]))
        chips = [chip for chip in sorted(table.chips, key=lambda c: places.get(c, -1)) if chip in places]
        self._known = [
            self._look(index, chip, places[chip], table, groups) for index, chip in enumerate(chips)
        ]
        self._readings = 0
        self._more: dict[Chip, tuple[int | None, int | None, int | None]] = {}
        """Links up, errors corrected and not: as of the last time that it was this chip's turn."""

    def _try(self, arguments: Sequence[str]) -> str:
        """What the tool says, or nothing: not every version and model knows every question."""
        try:
            return self._ask(arguments)
        except DriverError:
            return ""

    def _look(self, index: int, chip: Chip, physical: int, table: Table, groups: Mapping[str, int]) -> _Known:
        seen, npu = table.chips[chip], str(chip[0])
        board = parse_fields(self._try(["info", "-t", "board", "-i", npu]))
        die = parse_fields(self._try(["info", "-t", "board", "-i", npu, "-c", str(chip[1])]))
        dies = sum(other[0] == chip[0] for other in table.chips)
        device = Device(
            index=index,
            vendor="ascend",
            model=model_key(seen.name, dies),
            serial=board.get("Serial Number"),
            uuid=None,
            bus_address=seen.bus_address or die.get("PCIe Bus Info") or board.get("PCIe Bus Info"),
            driver_version=board.get("Software Version") or table.version,
            memory_bytes=seen.total_bytes,
            fast_link_group=groups.get(f"NPU{npu}", groups.get(f"Phy-ID{physical}", index)),
            die_id=die_name(die.get("VDie ID") or die.get("Die ID")),
            firmware=die.get("Firmware Version") or board.get("Firmware Version"),
        )
        return _Known(chip, physical, device)

    def inventory(self) -> Sequence[Device]:
        """Devices in the order of their physical ids, as they were when the driver began."""
        return [known.device for known in self._known]

    def sample(self) -> Sequence[DeviceSample]:
        """One reading of every device, from one table; a device that is not in it any more is faulty.

        Links and errors are asked of one device in its turn, every TURN readings.
        """
        table = parse_table(self._ask(["info"]))
        if self._known and self._readings % TURN == 0:
            self._ask_more(self._known[self._readings // TURN % len(self._known)].chip)
        self._readings += 1
        return [self._sample(known, table) for known in self._known]

    def _ask_more(self, chip: Chip) -> None:
        npu, number = str(chip[0]), str(chip[1])
        links = parse_links(self._try(["info", "-t", "hccs", "-i", npu, "-c", number]))
        corrected, not_corrected = parse_errors(self._try(["info", "-t", "ecc", "-i", npu])).get(
            chip[1], (None, None)
        )
        self._more[chip] = links, corrected, not_corrected

    def _sample(self, known: _Known, table: Table) -> DeviceSample:
        index, seen = known.device.index, table.chips.get(known.chip)
        if seen is None:
            return DeviceSample(index, health=Health.FAULTY)
        links, corrected, not_corrected = self._more.get(known.chip, (None, None, None))
        health = _HEALTH.get(seen.health, Health.FAULTY)  # Alarm, Critical, and words that nobody knows
        return DeviceSample(
            index=index,
            health=Health.DEGRADED if health is Health.OK and not_corrected else health,
            utilisation_ppm=seen.utilisation_ppm,
            memory_bytes=seen.used_bytes,
            power_mw=seen.power_mw,  # of a package of two dies the first tells all of it
            processes=None if table.processes is None else table.processes.get(known.chip, {}),
            temperature_mc=seen.temperature_mc,
            links_up=links,
            ecc_corrected=corrected,
            ecc_uncorrected=not_corrected,
        )

    def visibility(self, devices: Sequence[int]) -> dict[str, str]:
        """By physical id."""
        return {"ASCEND_RT_VISIBLE_DEVICES": ",".join(str(self._known[index].physical) for index in devices)}

    def device_nodes(self, device: int) -> Sequence[str]:
        """/dev/davinciPHYSICAL; what all devices share (davinci_manager, devmm_svm, hisi_hdc) stays open."""
        return (f"/dev/davinci{self._known[device].physical}",)

    def close(self) -> None:
        """Nothing is held."""

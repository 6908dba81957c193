"""The reader's own list of devices: a CSV file, as a spreadsheet writes it, of what was seen on inspection.

The first line names the columns: at least one of `device_id`, `serial` and `uuid`; besides, as far as known,
`vendor`, `model`, `max_watts` (the most that the maker says the device draws), and `from` and `to`, between which
it has to be in the register (dates or times with a zone; a date begins at midnight in Asia/Shanghai). Other columns
are the reader's own. Where there is no such list, completeness is relative to the operator's register, and the
verdict says so.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from datetime import datetime

from suanli.evidence.errors import EvidenceError
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.strict_json import printable
from suanli.rating.billing_zone import BILLING_ZONE
from suanli.rating.intervals import Stretch
from suanli.rating.no_such_time import wanted_time

LIST_LIMIT_BYTES = 64 << 20
NAMES = ("device_id", "serial", "uuid")
_FOREVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """One line: what is known of a device, and when it must be in the register; `line` is its number."""

    line: int
    device_id: str | None
    serial: str | None
    uuid: str | None
    vendor: str | None
    model: str | None
    stretch: Stretch
    max_watts: int | None = None

    def names(self, device: DeviceIdentity) -> bool:
        """Whether this is that device: by its id, else by serial, else by uuid, within its vendor if one is said."""
        if self.device_id is not None:
            return self.device_id == device.device_id
        if self.vendor is not None and self.vendor != device.vendor:
            return False
        return self.serial == device.serial if self.serial is not None else self.uuid == device.uuid

    def __str__(self) -> str:
        """The device as findings name it."""
        said = ((name, getattr(self, name)) for name in (*NAMES, "vendor", "model"))
        return f"line {self.line}: " + ", ".join(
            f"{name} {value}" for name, value in said if value is not None
        )


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The list, and the SHA-256 of the file by which a verdict names it."""

    sha256: str
    devices: tuple[ListedDevice, ...]


def parse_device_list(data: bytes) -> DeviceList:
    """The list in a CSV file. Raises EvidenceError naming the line."""
    if len(data) > LIST_LIMIT_BYTES:
        raise EvidenceError("device list", f"{len(data)} bytes", f"at most {LIST_LIMIT_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise EvidenceError("device list", "bytes that are not UTF-8", "CSV in UTF-8") from None
    if "\0" in text:
        raise EvidenceError("device list", "a NUL character", "CSV")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    devices: list[ListedDevice] = []
    try:
        names = next(rows, [])
        columns = [name.strip().lower() for name in names]
        if len(set(columns)) != len(columns) or not set(NAMES) & set(columns):
            want = "columns, each once, with one of " + ", ".join(NAMES)
            raise EvidenceError("device list line 1", ",".join(names), want)
        for row in rows:
            if any(cell.strip() for cell in row):
                devices.append(_device(rows.line_num, columns, row))
    except csv.Error as error:
        raise EvidenceError(f"device list line {rows.line_num}", str(error), "a line of CSV") from None
    if not devices:
        raise EvidenceError("device list", "no device", "a line for each device")
    return DeviceList(hashlib.sha256(data).hexdigest(), tuple(devices))


def _device(line: int, columns: list[str], row: list[str]) -> ListedDevice:
    where = f"device list line {line}"
    if len(row) > len(columns):
        raise EvidenceError(where, f"{len(row)} cells", f"at most {len(columns)}, the number of columns")
    cells = {name: cell.strip() or None for name, cell in zip(columns, row, strict=False)}
    start, end = cells.get("from"), cells.get("to")
    start_ms = 0 if start is None else _moment_ms(where, "from", start)
    end_ms = _FOREVER_MS if end is None else _moment_ms(where, "to", end)
    if end_ms <= start_ms:
        raise EvidenceError(f"{where}: to", printable(str(end)), "a time after `from`")
    device = ListedDevice(
        line,
        cells.get("device_id"),
        cells.get("serial"),
        cells.get("uuid"),
        cells.get("vendor"),
        cells.get("model"),
        (start_ms, end_ms),
        _watts(where, cells.get("max_watts")),
    )
    if device.device_id is None and device.serial is None and device.uuid is None:
        raise EvidenceError(where, "no name", "one of " + ", ".join(NAMES))
    return device


def _watts(where: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:9]) == int(text):
        raise EvidenceError(f"{where}: max_watts", printable(text), "whole watts, more than 0")
    return int(text)


def _moment_ms(where: str, column: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and len(text) <= len("2026-01-31"):
            moment = moment.replace(tzinfo=BILLING_ZONE)
        time_ms = int(moment.timestamp() * 1000) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        time_ms = None
    if time_ms is None:
        want = "a date like 2026-01-31, or a time with its zone like 2026-01-31T08:00+08:00"
        raise EvidenceError(f"{where}: {column}", printable(text), wanted_time(text, want))
    return time_ms

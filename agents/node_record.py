"""Who this node is: written once, at enrolment."""

import json
from dataclasses import dataclass

from agents.refusals import StateUnusable
from agents.state_folder import StateFolder
from suanli.evidence.errors import EvidenceError
from suanli.evidence.identities import DeviceIdentity, read_device
from suanli.evidence.keys import SigningKey
from suanli.evidence.strict_json import Fields, parse_object

NODE_FILE = "node.json"
TLS_KEY_FILE = "tls.key"
TLS_CERTIFICATE_FILE = "tls.crt"
MOST_DEVICES = 65_536
WINDOW_MS_MOST = 300_000


@dataclass(frozen=True)
class NodeRecord:
    """The node as the control plane registered it."""

    node_id: str
    node_name: str
    window_ms: int
    metering_from_ms: int
    devices: tuple[DeviceIdentity, ...]


@dataclass(frozen=True)
class Identity:
    """Who this node is, and the key by which it proves that."""

    record: NodeRecord
    key: SigningKey


def load_record(state: StateFolder) -> NodeRecord | None:
    """The node of this state folder, None before enrolment. Raises StateUnusable."""
    data = state.read(NODE_FILE)
    if data is None:
        return None
    try:
        fields = parse_object(data, "node")
        record = NodeRecord(
            node_id=fields.text("node_id", 64),
            node_name=fields.text("node_name"),
            window_ms=fields.integer("window_ms", 1, WINDOW_MS_MOST),
            metering_from_ms=fields.integer("metering_from_ms"),
            devices=tuple(_device(device) for device in fields.objects("devices", MOST_DEVICES)),
        )
        fields.done()
    except EvidenceError as error:
        raise StateUnusable(
            f"{state.path / NODE_FILE} is damaged ({error}); restore it from a copy"
        ) from None
    return record


def _device(fields: Fields) -> DeviceIdentity:
    """A device as this version keeps it, or as one that knew no die ids did."""
    return read_device(fields, 2 if fields.has("die_id") else 1)


def save_record(state: StateFolder, record: NodeRecord) -> None:
    """Keep it. Raises StateUnusable."""
    value = {
        "node_id": record.node_id,
        "node_name": record.node_name,
        "window_ms": record.window_ms,
        "metering_from_ms": record.metering_from_ms,
        "devices": [device.as_json() for device in record.devices],
    }
    state.write(NODE_FILE, json.dumps(value, indent=1).encode("utf-8"))


def read_tls(state: StateFolder) -> tuple[bytes, bytes]:
    """Key and certificate, PEM, with which this node proves itself. Raises StateUnusable."""
    found = []
    for name in (TLS_KEY_FILE, TLS_CERTIFICATE_FILE):
        data = state.read(name)
        if data is None:
            raise StateUnusable(f"{state.path / name} is missing; restore it from a copy")
        found.append(data)
    return found[0], found[1]

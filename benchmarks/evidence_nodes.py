"""Nodes of eight devices that sign windows as agents do, for what measures how they are taken in."""

import os
import random
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from scheduler.services.evidence import NodeKey
from suanli.evidence.hardware import Hardware
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import SigningKey
from suanli.evidence.window_writing import build_window
from suanli.evidence.windows import (
    NO_PREVIOUS,
    WHOLE_PPM,
    ClockReading,
    Segment,
    SignedWindow,
    WindowHeader,
    header_hash,
    signature_hash,
)

DEVICES = 8
MODEL = "ascend-910b3"
WINDOW_MS = 300_000
SAMPLES = 300


@dataclass(slots=True)
class Node:
    """A node that signs windows of idle devices."""

    key: NodeKey
    signer: SigningKey
    seq: int = 0
    previous: str = NO_PREVIOUS
    previous_signature: str | None = None

    def cut(self) -> SignedWindow:
        """The next window."""
        self.seq += 1
        start_ms = self.key.metering_from_ms + (self.seq - 1) * WINDOW_MS
        header = WindowHeader(
            node_id=self.key.node_id,
            key_id=self.key.key_id,
            seq=self.seq,
            prev_hash=self.previous,
            boot_id="0c5ffb36-3d06-4e9c-8a3b-0f7c8c3f5d4e",
            agent_version="0.1.0",
            driver="simulated",
            simulated=True,
            isolation="uid",
            start_ms=start_ms,
            end_ms=start_ms + WINDOW_MS,
            boot_start_ns=self.seq * WINDOW_MS * 1_000_000,
            boot_end_ns=(self.seq + 1) * WINDOW_MS * 1_000_000,
            clock=ClockReading("kernel", "synchronised", 0),
            log_checkpoint=None,
            window_ms=WINDOW_MS,
            closed_by="grid",
            prev_signature_hash=self.previous_signature,
        )
        segments = [
            Segment(
                node_id=self.key.node_id,
                seq=self.seq,
                n=n,
                device=device,
                start_ms=start_ms,
                end_ms=start_ms + WINDOW_MS,
                observed="free",
                allocation_id=None,
                share_ppm=WHOLE_PPM,
                samples_expected=SAMPLES,
                samples_taken=SAMPLES,
                live_ms=0,
                busy_ms=0,
                utilisation_mean_ppm=random.randrange(20_000),
                utilisation_max_ppm=random.randrange(20_000, WHOLE_PPM),
                memory_mean_bytes=random.randrange(1 << 30),
                memory_max_bytes=random.randrange(1 << 30, 1 << 31),
                processes_max=0,
                cpu_time_ms=None,
                energy_mj=random.randrange(20_000_000, 30_000_000),
                energy_method="integrated",
                measured_by="agent",
                samples_root=secrets.token_hex(32),
                hardware=_hardware(),
            )
            for n, device in enumerate(self.key.devices.values())
        ]
        salts = [os.urandom(32) for _ in segments]
        window = build_window(header, segments, salts, self.signer.sign)
        self.previous, self.previous_signature = header_hash(window.header), signature_hash(window.signature)
        return window


def _hardware() -> Hardware:
    """As a device that tells of itself reads over five minutes: hardly two are the same."""
    mean_mc = random.randrange(40, 80) * 1000
    return Hardware(
        "ok",
        power_mean_mw=random.randrange(90_000, 310_000),
        temperature_mean_mc=mean_mc + random.randrange(1000),
        temperature_max_mc=mean_mc + random.randrange(1, 9) * 1000,
        links_up_min=8,
        link_in_bytes=random.randrange(1 << 36),
        link_out_bytes=random.randrange(1 << 36),
        ecc_corrected=0,
        ecc_uncorrected=0,
        counter_resets=0,
    )


def node(metering_from_ms: int) -> Node:
    """A node whose first window begins at `metering_from_ms`."""
    signer = SigningKey(os.urandom(32))
    devices: dict[str, DeviceIdentity] = {}
    for n in range(DEVICES):
        name = str(uuid.uuid4())
        devices[name] = DeviceIdentity(
            name,
            "ascend",
            MODEL,
            n,
            f"SN{name[:8]}",
            None,
            f"0000:{n:02x}:00.0",
            "simulated",
            "25.0.rc1",
            True,
        )
    return Node(
        NodeKey(str(uuid.uuid4()), signer.key_id, signer.public_key, metering_from_ms, devices), signer
    )


_REGISTER = """
WITH node AS (
    INSERT INTO nodes (node_id, name, pool, metering_from_ms) VALUES (%(node)s, %(node)s, %(pool)s, %(from)s)
    RETURNING node_id
), key AS (
    INSERT INTO agent_keys (key_id, node_id, public_key, certificate_pem)
    SELECT %(key)s, node_id, %(public)s, '' FROM node
)
INSERT INTO devices (device_id, node_id, index, vendor, model, driver, simulated, memory_bytes, fast_link_group,
    claims)
SELECT d, node_id, n - 1, 'ascend', %(model)s, 'simulated', true, 0, 0, '{}'
FROM node, unnest(%(devices)s::text[]) WITH ORDINALITY AS t(d, n)
"""


def register(connection: psycopg.Connection, nodes: Sequence[Node], pool: str) -> None:
    """Put nodes, their keys and devices into the database, as enrolment does."""
    for each in nodes:
        key = each.key
        connection.execute(
            _REGISTER,
            {"node": key.node_id, "pool": pool, "from": key.metering_from_ms, "key": key.key_id,
             "public": key.public_key, "model": MODEL, "devices": list(key.devices)},
        )  # fmt: skip

"""Writes a large honest bundle as a folder, window by window: what an auditor of a big pool would be given.

Nodes of one firm's job each, all windows of five minutes, every window naming the log checkpoint before it.
"""

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

from suanli.evidence import entries, merkle, tiles
from suanli.evidence.bundle import (
    CHECKPOINT,
    MANIFEST,
    PAYLOADS,
    STATEMENT,
    BundleHead,
    FileClaim,
    PayloadLine,
    encode_manifest,
    encode_payload_line,
)
from suanli.evidence.cosignature import cosign, ed25519_cosigner
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import NOTE_COSIGNATURE_ED25519, NOTE_ED25519, SigningKey, verifier_key
from suanli.evidence.log_checkpoint import LogCheckpoint, sign_log_checkpoint
from suanli.evidence.policy import Policy, PolicyLog, PolicyWitness
from suanli.evidence.rating_inputs import RatingCollector, observed_use
from suanli.evidence.records import (
    ROUNDING,
    AllocationEvent,
    DeviceEvent,
    DeviceShare,
    Firm,
    KeyEvent,
    OperatorKeys,
    PriceVersion,
    Record,
    encode_record,
    entry_type,
)
from suanli.evidence.signed_note import with_signatures
from suanli.evidence.strict_json import encode
from suanli.evidence.window_writing import build_window
from suanli.evidence.windows import (
    GRID_MS,
    NO_PREVIOUS,
    ClockReading,
    SaltedSegment,
    SeenCheckpoint,
    Segment,
    WindowHeader,
    header_hash,
    signature_hash,
)
from suanli.rating.balance import BalanceCollector
from suanli.rating.statements import state_usage
from suanli.rating.usage import UsageCollector

ORIGIN = "ledger.example/benchmark"
WITNESS = "witness.example/benchmark"
T0 = 1_780_272_000_000  # 2026-06-01T00:00:00Z, a line of the grid
MODEL = "ascend-910b3"
SAMPLES = 300


def _seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


@dataclass
class _Node:
    number: int
    devices: list[DeviceIdentity]
    key: SigningKey
    prev_hash: str = NO_PREVIOUS
    prev_signature_hash: str | None = None

    @property
    def name(self) -> str:
        return f"node-{self.number:05}"


class LargeBundle:
    """A bundle of `nodes` x `rounds` windows with `devices` segments each, written to `folder`."""

    def __init__(self, folder: Path, nodes: int, rounds: int, devices: int) -> None:
        self._folder = folder
        self._rounds = rounds
        self._log = SigningKey(_seed("log"))
        self._controller = SigningKey(_seed("controller"))
        self._witness = SigningKey(_seed("witness"))
        self._nodes = [
            _Node(n, [_device(n, i) for i in range(devices)], SigningKey(_seed(f"node {n}")))
            for n in range(nodes)
        ]
        self._claims: dict[str, FileClaim] = {}
        self._payloads = hashlib.sha256()
        self._payload_bytes = 0
        self._raw: list[bytes] = []
        self._levels: list[list[bytes]] = [[]]
        self._done: list[int] = [0]
        self._tree = merkle.CompactRange()
        self._collector = RatingCollector()

    def policy(self) -> Policy:
        """Whom a reader of this bundle trusts."""
        log = PolicyLog(verifier_key(ORIGIN, NOTE_ED25519, self._log.public_key))
        key = verifier_key(WITNESS, NOTE_COSIGNATURE_ED25519, self._witness.public_key)
        return Policy((log,), (PolicyWitness("w", key),), (), "w")

    def write(self) -> None:
        """Writes every file. A second or two per ten thousand windows."""
        self._folder.mkdir(parents=True, exist_ok=True)
        period = (T0, T0 + self._rounds * GRID_MS)
        with (self._folder / PAYLOADS).open("wb") as self._lines:
            self._records()
            inputs = self._collector.inputs(0)
            usage, balance = UsageCollector(inputs, period), BalanceCollector(inputs, period)
            for authorisation in inputs.authorisations.values():
                usage.hold(authorisation)
            for number in range(self._rounds):
                seen = SeenCheckpoint(ORIGIN, self._tree.size, self._tree.root().hex())
                for node in self._nodes:
                    for segment in self._window(node, number, seen):
                        use = observed_use(segment)
                        usage.observe(use)
                        balance.observe(use)
        self._finish_tiles()
        self._claims[PAYLOADS] = FileClaim(self._payloads.hexdigest(), self._payload_bytes)
        closed = self._collector.inputs(self._tree.size)
        self._put(STATEMENT, encode(state_usage(usage.usage, balance, closed, period)))
        self._put(CHECKPOINT, self._checkpoint(period[1]))
        manifest = encode_manifest(self._claims, BundleHead(ORIGIN, *period, period[1] + GRID_MS))
        (self._folder / MANIFEST).write_bytes(manifest)

    def _put(self, path: str, data: bytes) -> None:
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        self._claims[path] = FileClaim(hashlib.sha256(data).hexdigest(), len(data))

    def _records(self) -> None:
        log_key, controller_key = self._log.public_key.hex(), self._controller.public_key.hex()
        self._record(OperatorKeys(ORIGIN, log_key, controller_key, T0 - GRID_MS))
        self._record(Firm("firm-a", "甲公司", T0 - GRID_MS), firm_seq=1)
        self._record(PriceVersion("price-1", MODEL, "device_hour", 13_500_000_000, ROUNDING, T0, None))
        event_seq = itertools.count(1)
        for node in self._nodes:
            public_key, people = node.key.public_key.hex(), ("li.wei", "wang.fang")
            self._record(
                KeyEvent("added", node.key.key_id, public_key, node.name, T0 - GRID_MS, people, "file")
            )
            for device in node.devices:
                self._record(DeviceEvent("enrolled", device, node.name, node.name, "pool-1", T0))
            seq = next(event_seq)
            shares = tuple(DeviceShare(device.device_id, 1_000_000) for device in node.devices)
            granted = AllocationEvent(
                "granted",
                f"al-{node.number}",
                f"job-{node.number}",
                1,
                0,
                "firm-a",
                "vision",
                shares,
                node.name,
                T0 - 1,
                seq,
                "",
                None,
            )
            self._record(granted, firm_seq=seq + 1)

    def _record(self, record: Record, firm_seq: int | None = None) -> None:
        signer = self._controller if isinstance(record, AllocationEvent) else self._log
        salt = _seed(f"salt {self._tree.size}")
        body = encode_record(record)
        sealed = entries.seal(entry_type(record), body, signer, salt=salt, firm_seq=firm_seq)
        self._collector.add_record(self._tree.size, record)
        self._append(sealed, ())

    def _window(self, node: _Node, number: int, seen: SeenCheckpoint) -> list[Segment]:
        start_ms = T0 + number * GRID_MS
        end_ms = start_ms + GRID_MS
        header = WindowHeader(
            node_id=node.name,
            key_id=node.key.key_id,
            seq=number + 1,
            prev_hash=node.prev_hash,
            boot_id="boot-1",
            agent_version="0.1.0",
            driver="ascend",
            simulated=False,
            isolation="uid",
            start_ms=start_ms,
            end_ms=end_ms,
            boot_start_ns=(start_ms - T0) * 1_000_000,
            boot_end_ns=(end_ms - T0) * 1_000_000,
            clock=ClockReading("chrony", "synchronised", 1),
            log_checkpoint=seen,
            window_ms=GRID_MS,
            closed_by="grid",
            prev_signature_hash=node.prev_signature_hash,
        )
        segments = [
            _segment(node, number, n, device, (start_ms, end_ms)) for n, device in enumerate(node.devices)
        ]
        salts = [_seed(f"{node.number} {number} {n}") for n in range(len(segments))]
        window = build_window(header, segments, salts, node.key.sign)
        node.prev_hash, node.prev_signature_hash = (
            header_hash(window.header),
            signature_hash(window.signature),
        )
        salt = _seed(f"salt {self._tree.size}")
        self._append(
            entries.seal_window(window.header, window.signature, node.key.key_id, salt=salt), window.segments
        )
        return segments

    def _append(self, sealed: entries.SealedEntry, segments: tuple[SaltedSegment, ...]) -> None:
        line = encode_payload_line(PayloadLine(self._tree.size, sealed.salt, sealed.payload, segments))
        self._lines.write(line)
        self._payloads.update(line)
        self._payload_bytes += len(line)
        leaf = merkle.leaf_hash(sealed.entry)
        self._tree.append(leaf)
        self._raw.append(sealed.entry)
        if len(self._raw) == tiles.WIDTH:
            self._put_entries()
        self._push(0, leaf)

    def _put_entries(self) -> None:
        number = (self._tree.size - 1) // tiles.WIDTH
        self._put(tiles.entries_path(number, len(self._raw)), tiles.encode_entry_bundle(self._raw))
        self._raw = []

    def _push(self, level: int, item: bytes) -> None:
        if level == len(self._levels):
            self._levels.append([])
            self._done.append(0)
        tile = self._levels[level]
        tile.append(item)
        if len(tile) == tiles.WIDTH:
            self._put(tiles.tile_path(level, self._done[level]), b"".join(tile))
            self._done[level] += 1
            self._levels[level] = []
            self._push(level + 1, merkle.complete_root(tile))

    def _finish_tiles(self) -> None:
        if self._raw:
            self._put_entries()
        for level, tile in enumerate(self._levels):
            if tile:
                self._put(tiles.tile_path(level, self._done[level], len(tile)), b"".join(tile))

    def _checkpoint(self, end_ms: int) -> bytes:
        head = LogCheckpoint(ORIGIN, self._tree.size, self._tree.root())
        note = sign_log_checkpoint(head, self._log.public_key, self._log.sign)
        moment_s = end_ms // 1000 + 3600
        line = cosign(
            note.text, ed25519_cosigner(WITNESS, self._witness.public_key, self._witness.sign), moment_s
        )
        return with_signatures(note, [line]).encode()


def _device(node: int, index: int) -> DeviceIdentity:
    name = f"d-{node}-{index}"
    bus = f"0000:{index:02x}:00.0"
    return DeviceIdentity(
        name, "ascend", MODEL, index, f"SN-{name}", f"U-{name}", bus, "ascend", "24.1", False
    )


def _segment(node: _Node, number: int, n: int, device: DeviceIdentity, stretch: tuple[int, int]) -> Segment:
    busy_ms = 200_000 + (node.number * 7919 + number * 104_729 + n) % 90_000
    return Segment(
        node_id=node.name,
        seq=number + 1,
        n=n,
        device=device,
        start_ms=stretch[0],
        end_ms=stretch[1],
        observed="in_use",
        allocation_id=f"al-{node.number}",
        share_ppm=1_000_000,
        samples_expected=SAMPLES,
        samples_taken=SAMPLES,
        live_ms=GRID_MS,
        busy_ms=busy_ms,
        utilisation_mean_ppm=busy_ms * 3,
        utilisation_max_ppm=990_000,
        memory_mean_bytes=48 << 30,
        memory_max_bytes=60 << 30,
        processes_max=1,
        cpu_time_ms=GRID_MS,
        energy_mj=90_000_000 + busy_ms,
        energy_method="integrated",
        measured_by="shim",
        samples_root=_seed(f"samples {node.number} {number} {n}").hex(),
    )

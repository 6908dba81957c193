"""A synthetic operator: log, controller and witness with keys of their own, and nodes that sign windows.

Deterministic: keys, salts and ids come from counters. `honest_operator()` has run two firms' jobs on two
nodes for half an hour; `Operator.bundle()` gives what an auditor would receive, `policy()` whom one trusts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from suanli.evidence import entries, merkle, tiles
from suanli.evidence.bundle import AUDITOR, CHECKPOINT, BundleHead, PayloadLine, Scope
from suanli.evidence.cosignature import cosign, ed25519_cosigner
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.keys import (
    NOTE_COSIGNATURE_ED25519,
    NOTE_ED25519,
    SigningKey,
    verifier_key,
)
from suanli.evidence.log_checkpoint import LogCheckpoint, sign_log_checkpoint
from suanli.evidence.policy import Policy, PolicyLog, PolicyWitness
from suanli.evidence.rating_inputs import RatingCollector
from suanli.evidence.receipts import FirmKey, JobReceipt, proof_message
from suanli.evidence.records import (
    FIRM_RECORDS,
    AllocationEvent,
    DeviceEvent,
    DeviceShare,
    Firm,
    KeyEvent,
    OperatorKeys,
    Record,
    encode_record,
    entry_type,
)
from suanli.evidence.signed_note import with_signatures
from suanli.evidence.window_writing import build_window
from suanli.evidence.windows import (
    NO_PREVIOUS,
    VERSION,
    SaltedSegment,
    SeenCheckpoint,
    Segment,
    SignedWindow,
    header_hash,
    signature_hash,
)
from suanli.rating.statements import build_statement
from tests.builders.bundles import build_bundle, leaves_source
from tests.builders.evidence_values import (
    FOREIGN_MODEL,
    GRID,
    MODEL,
    ORIGIN,
    T0,
    WITNESS,
    device,
    firm_signing_key,
    header,
    price,
    program,
    seed,
    segment,
)

__all__ = [
    "FOREIGN_MODEL",
    "GRID",
    "MODEL",
    "ORIGIN",
    "T0",
    "WITNESS",
    "Logged",
    "Node",
    "Operator",
    "Use",
    "device",
    "firm_signing_key",
    "header",
    "honest_operator",
    "price",
    "program",
    "seed",
    "segment",
    "small_operator",
]


@dataclass
class Logged:
    """One entry as the operator keeps it: sealed bytes, and segments where it is a window."""

    sealed: entries.SealedEntry
    record: Record | None = None
    window: SignedWindow | None = None
    firm_id: str | None = None
    node_name: str | None = None


@dataclass
class Use:
    """A device in use for an allocation over a stretch."""

    device_id: str
    start_ms: int
    end_ms: int
    allocation_id: str


@dataclass
class Node:
    """A node with its agent's key; makes windows from what its devices were used for."""

    name: str
    devices: list[DeviceIdentity]
    key: SigningKey
    uses: list[Use] = field(default_factory=list)
    seq: int = 0
    prev_hash: str = NO_PREVIOUS
    prev_signature_hash: str | None = None
    now_ms: int = T0
    seen: SeenCheckpoint | None = None
    version: int = VERSION
    """Form of its windows: an older agent writes an older one."""

    def cut(
        self, end_ms: int, *, alter: Callable[[Segment], Segment] | None = None, **changes: object
    ) -> SignedWindow:
        """Closes the window that ends at `end_ms`, idle time included, and signs it.

        `alter` changes what its segments say, `changes` what its header says.
        """
        self.seq += 1
        pieces: list[Segment] = []
        for identity in self.devices:
            pieces.extend(self._tile(identity, self.now_ms, end_ms))
        numbered = [
            replace(piece, n=n, seq=self.seq, node_id=self.name, version=self.version)
            for n, piece in enumerate(pieces)
        ]
        if alter is not None:
            numbered = [alter(piece) for piece in numbered]
        head = header(
            self.key,
            self.now_ms,
            end_ms,
            node_id=self.name,
            seq=self.seq,
            prev_hash=self.prev_hash,
            prev_signature_hash=self.prev_signature_hash if self.seq > 1 else None,
            log_checkpoint=self.seen,
            version=self.version,
        )
        head = replace(head, **changes)  # type: ignore[arg-type]
        salts = [seed(f"{self.name} {self.seq} {n}") for n in range(len(numbered))]
        window = build_window(head, numbered, salts, self.key.sign)
        self.prev_hash, self.prev_signature_hash = (
            header_hash(window.header),
            signature_hash(window.signature),
        )
        self.now_ms = end_ms
        return window

    def _tile(self, identity: DeviceIdentity, start_ms: int, end_ms: int) -> list[Segment]:
        pieces: list[Segment] = []
        at = start_ms
        for use in sorted(self.uses, key=lambda u: u.start_ms):
            first, last = max(use.start_ms, at), min(use.end_ms, end_ms)
            if use.device_id != identity.device_id or first >= last:
                continue
            if at < first:
                pieces.append(segment(identity, at, first))
            length = last - first
            busy = length * 9 // 10
            pieces.append(
                segment(
                    identity,
                    first,
                    last,
                    observed="in_use",
                    allocation_id=use.allocation_id,
                    live_ms=length,
                    busy_ms=busy,
                    processes_max=1,
                    measured_by="shim",
                )
            )
            at = last
        if at < end_ms:
            pieces.append(segment(identity, at, end_ms))
        return pieces


class Operator:
    """Everything an operator can do, honestly or not."""

    def __init__(self) -> None:
        self.log_key = SigningKey(seed("log"))
        self.controller = SigningKey(seed("controller"))
        self.witness = SigningKey(seed("witness"))
        self.log: list[Logged] = []
        self.nodes: dict[str, Node] = {}
        self.firm_seq: dict[str, int] = {}
        self.event_seq = 0
        self.add(
            OperatorKeys(ORIGIN, self.log_key.public_key.hex(), self.controller.public_key.hex(), T0 - GRID)
        )

    def add(self, record: Record, signer: SigningKey | None = None, firm_id: str | None = None) -> int:
        """Logs a record; gives its index."""
        kind = entry_type(record)
        firm = record.firm_id if isinstance(record, FIRM_RECORDS) else firm_id
        firm_seq = None
        if firm is not None:
            firm_seq = self.firm_seq[firm] = self.firm_seq.get(firm, 0) + 1
        if signer is None:
            signer = self.controller if isinstance(record, AllocationEvent) else self.log_key
        salt = seed(f"salt {len(self.log)}")
        sealed = entries.seal(kind, encode_record(record), signer, salt=salt, firm_seq=firm_seq)
        self.log.append(Logged(sealed, record=record, firm_id=firm))
        return len(self.log) - 1

    def enrol(self, name: str, devices: Sequence[DeviceIdentity], at_ms: int = T0) -> Node:
        """Registers a node with its key and devices."""
        node = Node(name, list(devices), SigningKey(seed(name)), now_ms=at_ms)
        self.nodes[name] = node
        self.add(
            KeyEvent(
                "added",
                node.key.key_id,
                node.key.public_key.hex(),
                name,
                at_ms,
                ("li.wei", "wang.fang"),
                "file",
            )
        )
        for identity in devices:
            self.add(DeviceEvent("enrolled", identity, name, f"host {name}", "pool-1", at_ms))
        return node

    def allocation(self, event: str, allocation_id: str, at_ms: int, **changes: object) -> int:
        """Logs an allocation event; defaults to one device d-1 of node-a for job-1 of firm-a."""
        self.event_seq += 1
        base = AllocationEvent(
            event=event,
            allocation_id=allocation_id,
            job_id="job-1",
            attempt=1,
            rank=0,
            firm_id="firm-a",
            project="vision",
            devices=(DeviceShare("d-1", 1_000_000),),
            node_id="node-a",
            at_ms=at_ms,
            event_seq=self.event_seq,
            reason="",
            time_limit_ms=3_600_000,
        )
        return self.add(replace(base, **changes))  # type: ignore[arg-type]

    def firm_key(self, event: str = "added", firm_id: str = "firm-a", **changes: object) -> int:
        """Logs a key of a firm, by default the one with which `receipt` signs."""
        key = firm_signing_key(firm_id)
        proof = key.sign(proof_message(firm_id, key.public_key)).hex()
        base = FirmKey(event, firm_id, key.key_id, key.public_key.hex(), proof, "zhang.min", T0)
        return self.add(replace(base, **changes))  # type: ignore[arg-type]

    def receipt(self, signer: SigningKey | None = None, **changes: object) -> int:
        """Logs a receipt; defaults to firm-a's agreement with al-1 as `honest_operator` has it."""
        base = JobReceipt(
            firm_id="firm-a",
            job_id="job-1",
            allocation_id="al-1",
            stance="agreed",
            reason="",
            start_ms=T0 + 60_000,
            end_ms=T0 + 2 * GRID + 18_000,
            image_digest=None,
            workload="pretraining",
            steps=1200,
            tokens=None,
            model_checkpoints=("0" * 64,),
            at_ms=T0 + 6 * GRID,
        )
        receipt = replace(base, **changes)  # type: ignore[arg-type]
        return self.add(receipt, signer or firm_signing_key(receipt.firm_id))

    def take(self, node: Node, window: SignedWindow) -> int:
        """Logs a window."""
        sealed = entries.seal_window(
            window.header, window.signature, node.key.key_id, salt=seed(f"salt {len(self.log)}")
        )
        self.log.append(Logged(sealed, window=window, node_name=node.name))
        return len(self.log) - 1

    def all_cut(self, until: int, *, start: int, only: str | None = None, **options: object) -> None:
        """Every node closes windows `start` to `until`; `options` of `cut` go to the node `only`, or to all."""
        for n in range(start, until + 1):
            for node in self.nodes.values():
                mine = options if only in (None, node.name) else {}
                self.take(node, node.cut(T0 + n * GRID, **mine))  # type: ignore[arg-type]

    def leaves(self) -> list[bytes]:
        """Leaf hashes of the log."""
        return [merkle.leaf_hash(item.sealed.entry) for item in self.log]

    def head(self, size: int | None = None) -> LogCheckpoint:
        """Tree head at a size, by default the whole log."""
        leaves = self.leaves()[:size]
        return LogCheckpoint(ORIGIN, len(leaves), merkle.root(leaves))

    def seen(self) -> SeenCheckpoint:
        """What an agent would be shown now."""
        head = self.head()
        return SeenCheckpoint(head.origin, head.size, head.root.hex())

    def show_checkpoint(self) -> None:
        """All agents see the newest log checkpoint."""
        seen = self.seen()
        for node in self.nodes.values():
            node.seen = seen

    def checkpoint(self, time_s: int | None = None, *, witnessed: bool = True) -> bytes:
        """The signed, by default cosigned, log checkpoint."""
        note = sign_log_checkpoint(self.head(), self.log_key.public_key, self.log_key.sign)
        if witnessed:
            moment = (T0 + 4 * 3_600_000) // 1000 if time_s is None else time_s
            line = cosign(
                note.text, ed25519_cosigner(WITNESS, self.witness.public_key, self.witness.sign), moment
            )
            note = with_signatures(note, [line])
        return note.encode()

    def log_files(self, checkpoint: bytes | None = None) -> dict[str, bytes]:
        """Log checkpoint and tiles as published."""
        size = len(self.log)
        node = leaves_source(self.leaves())
        raw = [item.sealed.entry for item in self.log]
        files = {CHECKPOINT: checkpoint or self.checkpoint()}
        for number, width in tiles.entry_bundles(size):
            part = raw[number * 256 : number * 256 + width]
            files[tiles.entries_path(number, width)] = tiles.encode_entry_bundle(part)
        for level, number, width in tiles.hash_tiles(size):
            files[tiles.tile_path(level, number, width)] = tiles.hash_tile(level, number, width, node)
        return files

    def lines(self, scope: Scope = AUDITOR) -> list[PayloadLine]:
        """What opens each entry, as far as the reader is entitled."""
        mine = self._allocations_of(scope.firm_id)
        result: list[PayloadLine] = []
        for index, item in enumerate(self.log):
            hidden = scope.firm_id is not None and item.firm_id not in (None, scope.firm_id)
            if hidden:
                result.append(PayloadLine(index, None, None))
                continue
            segments: tuple[SaltedSegment | None, ...] = () if item.window is None else item.window.segments
            if scope.firm_id is not None:
                segments = tuple(s if s is not None and _belongs(s, mine) else None for s in segments)
            result.append(PayloadLine(index, item.sealed.salt, item.sealed.payload, segments))
        return result

    def _allocations_of(self, firm_id: str | None) -> set[str]:
        return {
            item.record.allocation_id
            for item in self.log
            if isinstance(item.record, AllocationEvent) and item.record.firm_id == firm_id
        }

    def collector(self) -> RatingCollector:
        """Rating inputs of the whole log."""
        from suanli.evidence.windows import parse_segment

        collector = RatingCollector()
        for index, item in enumerate(self.log):
            if item.record is not None:
                collector.add_record(index, item.record)
            if item.window is not None:
                collector.add_segments(parse_segment(s.body) for s in item.window.segments)
        return collector

    def statement(self, period: tuple[int, int], scope: Scope = AUDITOR) -> dict[str, object]:
        """What the ledger would claim."""
        return build_statement(self.collector().inputs(len(self.log)), *period, scope.firm_id)

    def bundle(
        self,
        period: tuple[int, int] = (T0, T0 + 6 * GRID),
        scope: Scope = AUDITOR,
        *,
        checkpoint: bytes | None = None,
        change_statement: Callable[[dict[str, object]], None] | None = None,
    ) -> dict[str, bytes]:
        """All files of a bundle."""
        statement = self.statement(period, scope)
        if change_statement is not None:
            change_statement(statement)
        head = BundleHead(ORIGIN, *period, period[1] + GRID, scope)
        return build_bundle(self.log_files(checkpoint), self.lines(scope), statement, head)

    def policy(self, *, quorum: str = "w") -> Policy:
        """The policy of a reader who trusts this log's key and the witness."""
        log = PolicyLog(verifier_key(ORIGIN, NOTE_ED25519, self.log_key.public_key))
        key = verifier_key(WITNESS, NOTE_COSIGNATURE_ED25519, self.witness.public_key)
        return Policy((log,), (PolicyWitness("w", key),), (), quorum)


def _belongs(item: SaltedSegment, allocations: set[str]) -> bool:
    from suanli.evidence.windows import parse_segment

    return parse_segment(item.body).allocation_id in allocations


def small_operator() -> Operator:
    """One node, one device, one window in use: the smallest bundle in which everything occurs."""
    operator = Operator()
    operator.add(Firm("firm-a", "甲公司", T0 - GRID))
    operator.add(price())
    operator.add(program())
    node = operator.enrol("node-a", [device("d-1")])
    operator.allocation("granted", "al-1", T0)
    node.uses.append(Use("d-1", T0 + 1000, T0 + GRID - 1000, "al-1"))
    operator.show_checkpoint()
    operator.all_cut(1, start=1)
    operator.allocation("ended", "al-1", T0 + GRID)
    return operator


def honest_operator(windows: int = 6, *, skip: Callable[[Node, int], bool] | None = None) -> Operator:
    """Two nodes with two devices each, two firms, one job each, `windows` windows of five minutes.

    `skip(node, seq)` says which windows the operator quietly never logs.
    """
    operator = Operator()
    operator.add(Firm("firm-a", "甲公司", T0 - GRID))
    operator.add(Firm("firm-b", "乙公司", T0 - GRID))
    operator.add(price())
    operator.add(program())
    a = operator.enrol("node-a", [device("d-1"), device("d-2", 1)])
    b = operator.enrol("node-b", [device("d-3"), device("d-4", 1)])
    other = {"job_id": "job-2", "firm_id": "firm-b", "node_id": "node-b"}
    shares = (DeviceShare("d-3", 1_000_000), DeviceShare("d-4", 1_000_000))
    a.uses.append(Use("d-1", T0 + 62_000, T0 + 2 * GRID + 17_000, "al-1"))
    b.uses.append(Use("d-3", T0 + GRID + 5_000, T0 + 3 * GRID - 1_000, "al-2"))
    b.uses.append(Use("d-4", T0 + GRID + 5_000, T0 + 3 * GRID - 1_000, "al-2"))
    events = {
        0: [
            lambda: operator.allocation("granted", "al-1", T0 + 60_000),
            lambda: operator.allocation("started", "al-1", T0 + 61_000),
        ],
        1: [
            lambda: operator.allocation("granted", "al-2", T0 + GRID, devices=shares, **other),
            lambda: operator.allocation("started", "al-2", T0 + GRID + 4_000, devices=shares, **other),
        ],
        2: [
            lambda: operator.allocation("ended", "al-1", T0 + 2 * GRID + 18_000),
            lambda: operator.allocation("ended", "al-2", T0 + 3 * GRID, devices=shares, **other),
        ],
    }
    for n in range(windows):
        for happen in events.get(n, []):
            happen()
        for node in (a, b):
            window = node.cut(T0 + (n + 1) * GRID)
            if skip is None or not skip(node, n + 1):
                operator.take(node, window)
        operator.show_checkpoint()
    return operator

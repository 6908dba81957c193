"""Taking signed usage windows in: what is stored waits for its index in the evidence log.

Per key the sequence numbers are stored without a gap, each window's header naming the hash of the one before.
A number that came before with the same bytes is fine; with other bytes it is a fork of the chain, which only a
stolen or misused key can make. What many nodes sent is checked together and stored in one statement.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from scheduler.domain.errors import Unavailable
from scheduler.services.evidence import NodeKey
from scheduler.storage.direct import Direct
from scheduler.storage.segments import pack_segments, unpack_segments, unpacked_bytes
from scheduler.storage.windows import Advance, Head, advance, heads, stored_headers
from suanli.evidence.errors import EvidenceError
from suanli.evidence.window_checks import ReadWindow, read_window
from suanli.evidence.windows import (
    NO_PREVIOUS,
    Segment,
    SignedWindow,
    WindowHeader,
    header_hash,
    parse_header,
)

FUTURE_TOLERANCE_MS = 300_000
"""How far a window may end ahead of our clock; beyond it, somebody signs time that has not happened."""


# How often a chain that another stream moved meanwhile is looked at anew before its sender is told to come again.
TRIES = 3


@dataclass(slots=True)
class SentWindow:
    """Exact bytes of a window; `packed` are its segments, as `storage/segments.py` packs them.

    Where it came in a message that no agent sends, `wrong` says why it is refused, whatever else it holds.
    """

    header: bytes
    signature: bytes
    packed: bytes
    wrong: EvidenceError | None = None

    @classmethod
    def of(cls, window: SignedWindow) -> "SentWindow":
        """A window that came unpacked."""
        return cls(window.header, window.signature, pack_segments(window.segments))


@dataclass(frozen=True, slots=True)
class Sent:
    """Windows of one node, as they came and in their order."""

    key: NodeKey
    windows: Sequence[SentWindow]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a window was not stored. `fork` is true where the same number was stored with other bytes."""

    seq: int
    field: str
    detail: str
    fork: bool = False


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of a batch: the highest number stored now, how many were new, and the refusals."""

    stored_seq: int
    stored: int
    refused: tuple[Refusal, ...]


_Row = tuple[int, bytes, bytes, bytes, int]
"""A window as `Advance` takes it."""


@dataclass(slots=True)
class _Good:
    """A window in which nothing is wrong but perhaps its place in the chain, and its row, made while it is at hand."""

    header: WindowHeader
    sha256: str
    row: _Row


@dataclass(slots=True)
class _Draft:
    """One node's windows while they are taken in."""

    sent: Sent
    checked: Sequence[_Good | Refusal]
    head: Head | None = None
    rows: list[_Row] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    tries: int = 0
    answer: Intake | Exception | None = None

    @property
    def key_id(self) -> str:
        """The key that signed."""
        return self.sent.key.key_id

    def repeated(self, head: Head) -> set[tuple[str, int]]:
        """The stored windows to look at: those that came again, and the last where its end was not noted."""
        seqs = {c.header.seq for c in self.checked if isinstance(c, _Good) and c.header.seq <= head.seq}
        if head.seq and head.end_ms is None:
            seqs.add(head.seq)
        return {(self.key_id, seq) for seq in seqs}


@dataclass(frozen=True, slots=True)
class Checked:
    """Windows of one node, and what could be said of each without its chain."""

    sent: Sent
    verdicts: Sequence[_Good | Refusal]


def check_windows(batch: Sequence[Sent], now_ms: int) -> list[Checked]:
    """Everything about windows that needs no database: some 0.1 ms each, to be spent beside the event loop."""
    return [Checked(sent, [_check(sent.key, window, now_ms) for window in sent.windows]) for sent in batch]


async def store_windows(
    database: Direct, batch: Sequence[Checked], moved: Callable[[], None]
) -> list[Intake | Exception]:
    """Store those windows that continue their chains; the others are refused one by one. One answer for each.

    A key revoked meanwhile stores nothing. An answer is Unavailable where other streams of the same key moved
    its chain again and again. `moved` is called whenever some were stored, before anything else may fail.
    Cost: two round trips for all, one more where windows came before; again for each further batch of one key.
    Raises DatabaseAway, or psycopg.Error where PostgreSQL refuses a statement: what was stored before it stays.
    """
    drafts = [_Draft(checked.sent, checked.verdicts) for checked in batch]
    while waiting := [draft for draft in drafts if draft.answer is None]:
        # Of several batches of one key the first alone: the next goes on from where it ends.
        if await _store(database, list({draft.key_id: draft for draft in reversed(waiting)}.values())):
            moved()
    return [draft.answer for draft in drafts if draft.answer is not None]


async def _store(database: Direct, drafts: Sequence[_Draft]) -> bool:
    """One try for one batch of each key; says whether any chain moved."""
    known = await heads(database, [draft.key_id for draft in drafts])
    wanted = {place for d in drafts if d.key_id in known for place in d.repeated(known[d.key_id])}
    kept = await stored_headers(database, sorted(wanted)) if wanted else {}
    moves: dict[str, Advance] = {}
    for draft in drafts:
        head = known.get(draft.key_id)
        if head is None:
            refused = [Refusal(_seq(w), "key", "the key is revoked") for w in draft.sent.windows]
            draft.answer = Intake(0, 0, tuple(refused))
            continue
        after = _continued(draft, head, kept)
        if draft.rows:
            key = draft.sent.key
            moves[draft.key_id] = Advance(key.key_id, key.node_id, head, after, draft.rows)
        else:
            draft.answer = Intake(head.seq, 0, tuple(draft.refused))
    moved = await advance(database, list(moves.values()))
    for draft in drafts:
        draft.tries += 1
        if draft.key_id in moved:
            after = moves[draft.key_id].after
            draft.answer = Intake(after.seq, len(draft.rows), tuple(draft.refused))
        elif draft.answer is None and draft.tries == TRIES:
            draft.answer = Unavailable("another stream of this key stores its windows at the same time")
    return bool(moved)


def _continued(draft: _Draft, head: Head, kept: Mapping[tuple[str, int], bytes]) -> Head:
    """Sorts the windows of a batch into rows to store and refusals; returns where the chain then ends."""
    key_id = draft.key_id
    draft.rows.clear()
    draft.refused.clear()
    end_ms = head.end_ms
    if end_ms is None:
        end_ms = parse_header(kept[key_id, head.seq]).end_ms if head.seq else draft.sent.key.metering_from_ms
    chain = replace(head, end_ms=end_ms)
    pending: dict[int, bytes] = {}
    for window, checked in zip(draft.sent.windows, draft.checked, strict=True):
        if isinstance(checked, Refusal):
            draft.refused.append(checked)
            continue
        header = checked.header
        if header.seq <= chain.seq:
            stored = pending.get(header.seq) or kept[key_id, header.seq]
            if stored != window.header:
                draft.refused.append(_fork(header.seq))
            continue
        problem = _continues(header, chain)
        if problem is not None:
            draft.refused.append(problem)
            continue
        chain = Head(header.seq, checked.sha256, header.end_ms)
        pending[header.seq] = window.header
        draft.rows.append(checked.row)
    return chain


def _seq(window: SentWindow) -> int:
    """The number a window claims, as far as it can be read."""
    try:
        return parse_header(window.header).seq
    except EvidenceError:
        return 0


def _check(key: NodeKey, window: SentWindow, now_ms: int) -> _Good | Refusal:
    """What can be said of a window without its chain: signature, commitments, tiling, bounds, its devices."""
    try:
        if window.wrong is not None:
            raise window.wrong
        segments = unpack_segments(window.packed)
    except EvidenceError as error:
        return Refusal(_seq(window), error.field, f"got {error.got}, want {error.want}")
    read = read_window(SignedWindow(window.header, window.signature, segments), key.public_key)
    if not isinstance(read, ReadWindow):
        first = read[0]
        more = f" (and {len(read) - 1} more problems)" if len(read) > 1 else ""
        return Refusal(_seq(window), first.field, f"got {first.got}, want {first.want}{more}")
    header = read.header
    if header.node_id != key.node_id:
        return Refusal(header.seq, "node_id", f"got {header.node_id}, want {key.node_id}")
    if header.end_ms > now_ms + FUTURE_TOLERANCE_MS:
        detail = f"got {header.end_ms}, want at most {FUTURE_TOLERANCE_MS} ms after now, {now_ms}"
        return Refusal(header.seq, "end_ms", detail)
    refusal = _check_devices(key, header, read.segments)
    if refusal is not None:
        return refusal
    row = header.seq, window.header, window.signature, window.packed, unpacked_bytes(window.packed)
    return _Good(header, header_hash(window.header), row)


def _check_devices(key: NodeKey, header: WindowHeader, segments: Sequence[Segment]) -> Refusal | None:
    """Every enrolled device is in the window, no other is, and each is priced as what it was enrolled as."""
    for n, segment in enumerate(segments):
        device = segment.device
        registered = key.devices.get(device.device_id)
        if registered is None:
            detail = f"got {device.device_id}, want a device of this node"
            return Refusal(header.seq, f"segments[{n}].device.device_id", detail)
        if (device.vendor, device.model, device.index, device.simulated) == (
            registered.vendor, registered.model, registered.index, registered.simulated
        ):  # fmt: skip
            continue
        for name in ("vendor", "model", "index", "simulated"):
            got, want = getattr(device, name), getattr(registered, name)
            if got != want:
                return Refusal(
                    header.seq, f"segments[{n}].device.{name}", f"got {got}, want {want} as enrolled"
                )
    missing = key.devices.keys() - {segment.device.device_id for segment in segments}
    if missing:
        return Refusal(header.seq, "segments", f"no segment of device {min(missing)}: idle time is time too")
    return None


def _continues(header: WindowHeader, chain: Head) -> Refusal | None:
    checks: tuple[tuple[str, object, object], ...] = (
        ("seq", header.seq, chain.seq + 1),
        ("prev_hash", header.prev_hash, chain.header_sha256 if chain.seq else NO_PREVIOUS),
        ("start_ms", header.start_ms, chain.end_ms),
    )
    for name, got, want in checks:
        if got != want:
            return Refusal(header.seq, name, f"got {got}, want {want}")
    return None


def _fork(seq: int) -> Refusal:
    return Refusal(seq, "seq", f"window {seq} is stored with other bytes: two chains of one key", fork=True)


# The newest window of a node is found at the end of its part of an index. `+ 0`, so that nobody thinks of all that lies
# below the checkpoint's size in another index instead, which is the whole log.
_LOGGED = """
WITH checkpoint AS MATERIALIZED (SELECT size, note FROM log_checkpoints ORDER BY size DESC LIMIT 1)
SELECT note, array_agg(asked.key_id), array_agg(newest.seq)
FROM checkpoint, unnest(%(nodes)b::text[], %(keys)b::text[]) AS asked (node_id, key_id)
CROSS JOIN LATERAL (
    SELECT seq FROM log_entries
    WHERE node_id = asked.node_id AND end_ms IS NOT NULL AND producer_key_id = asked.key_id
      AND log_index + 0 < checkpoint.size
    ORDER BY end_ms DESC LIMIT 1
) AS newest
GROUP BY note
"""


@dataclass(frozen=True, slots=True)
class Logged:
    """How far windows are in the published log: per key the highest number, and the checkpoint over them."""

    seqs: Mapping[str, int]
    log_checkpoint: bytes


async def logged_windows(database: Direct, keys: Mapping[str, str]) -> Logged:
    """How far the windows of `keys` (key_id -> node_id) are under the newest signed log checkpoint; one round trip.

    Raises DatabaseAway.
    """
    parameters = {"nodes": list(keys.values()), "keys": list(keys)}
    for note, key_ids, seqs in await database.fetch(_LOGGED, parameters, binary=True):
        return Logged(dict(zip(key_ids, seqs, strict=True)), note)
    return Logged({}, b"")

"""The case: what the steps of one verification share, and what a part of it is given.

A bundle is read twice: once for the log and every record but windows, which are few; then for the windows,
which are many and are checked node by node, so that several processes can share the work (`PartJob`). Nothing
that is kept grows with the number of windows.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, field

from suanli.evidence.bundle import AUDITOR, Manifest
from suanli.evidence.bundle_files import BundleFiles, tile_reader
from suanli.evidence.device_list import DeviceList
from suanli.evidence.entries import Entry
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import VerifierKey
from suanli.evidence.limits import Limit
from suanli.evidence.log_checkpoint import LogCheckpoint
from suanli.evidence.merkle import range_root
from suanli.evidence.policy import Policy
from suanli.evidence.receipts import FirmKey
from suanli.evidence.records import AllocationEvent, Firm, KeyEvent, OperatorKeys, Record
from suanli.evidence.register import Register
from suanli.evidence.sampling import Sampler
from suanli.evidence.signed_note import SignedNote
from suanli.evidence.stamps import StampCheck
from suanli.evidence.steps.report import Report
from suanli.evidence.windows import Segment, WindowHeader
from suanli.rating.attribution import CLOCK_TOLERANCE_MS
from suanli.rating.inputs import RatingInputs
from suanli.rating.intervals import Stretch

_NO_MANIFEST = Manifest("", 0, 1, 0, AUDITOR, {})
_NO_HEAD = LogCheckpoint("", 0, b"")
FOREVER_MS = 2**62

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is; in bytes or entries."""


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """Tolerances of the reader.

    clock_tolerance_ms: by how much clocks of nodes and controller may differ. back_date_tolerance_ms: how
    long before the newest thing it had seen a window may end. idle_use_ms: how long a job may hold devices in
    use without work before it is asked about. now_ms: the reader's clock, if there is one. firm_id: the firm
    that the reader is; its bundle must be made for it. firm_keys: keys that the reader had from the firms
    themselves, each under the firm's id; None where the reader has no such list. device_list: likewise the
    devices that the reader inspected. every_signature: whether a window's signature is checked also where the
    next window of its key vouches for it (`steps.signatures`).
    """

    clock_tolerance_ms: int = CLOCK_TOLERANCE_MS
    back_date_tolerance_ms: int = 60_000
    idle_use_ms: int = 3_600_000
    now_ms: int | None = None
    firm_id: str | None = None
    firm_keys: tuple[VerifierKey, ...] | None = None
    device_list: DeviceList | None = None
    every_signature: bool = False


@dataclass(slots=True)
class WindowEvidence:
    """An opened usage window. A segment is None where the reader is not entitled to it."""

    index: int
    producer_key_id: str
    header: WindowHeader
    header_bytes: bytes
    signature: bytes
    segments: tuple[Segment | None, ...]

    def __str__(self) -> str:
        """The window as findings name it."""
        return f"window {self.header.seq} of node {self.header.node_id}"


@dataclass(slots=True)
class RecordEvidence:
    """An opened entry of another type."""

    index: int
    entry: Entry
    record: Record
    body: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A node's key and the log indexes between which it speaks."""

    event: KeyEvent
    added_index: int
    revoked_index: int | None


@dataclass(frozen=True, slots=True)
class KnownFirmKey:
    """A firm's key and the log indexes between which it speaks."""

    event: FirmKey
    added_index: int
    revoked_index: int | None = None


@dataclass(slots=True)
class AllocationEvidence:
    """One allocation as its events tell it."""

    granted: AllocationEvent
    index: int
    shares: dict[str, int]
    started: bool = False
    ended: AllocationEvent | None = None

    @property
    def end_ms(self) -> int:
        """When it ended; without end while it is open."""
        return FOREVER_MS if self.ended is None else self.ended.at_ms


class NewestKnown:
    """The latest time stated by operator or controller below a log size."""

    def __init__(self, records: list[RecordEvidence]) -> None:
        self._indexes: list[int] = []
        self._times_ms: list[int] = []
        newest = 0
        for item in records:
            if isinstance(item.record, AllocationEvent | KeyEvent | Firm | OperatorKeys):
                newest = max(newest, item.record.at_ms)
                self._indexes.append(item.index)
                self._times_ms.append(newest)

    def at_ms(self, size: int) -> int:
        """0 when nothing below `size` states a time."""
        place = bisect.bisect_left(self._indexes, size)
        return self._times_ms[place - 1] if place else 0


@dataclass(slots=True)
class Known:
    """What the records of a log say: everything that windows are held against."""

    manifest: Manifest = _NO_MANIFEST
    head: LogCheckpoint = _NO_HEAD
    settings: VerifySettings = field(default_factory=VerifySettings)
    keys: dict[str, KnownKey] = field(default_factory=dict)
    register: Register = field(default_factory=Register)
    allocations: dict[str, AllocationEvidence] = field(default_factory=dict)
    newest: NewestKnown = field(default_factory=lambda: NewestKnown([]))
    calendars: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """By node, log index and time of each statement of what is planned for its devices."""
    latest_ms: int | None = None
    """No window of this tree can end later: a witness had cosigned the tree by then."""
    closed_at: int = 0
    """Log size at which the statement's period closed; 0 where it cannot be read, so that nothing is rated."""
    max_watts: dict[str, int] = field(default_factory=dict)
    """By device, the most that it draws, where the reader's own list says so."""
    changed_terms: dict[int, str] = field(default_factory=dict)
    """By log index, versions of a price or program that had a version before: they change what was in force."""
    rating: RatingInputs | None = None
    """Authorisations, terms and devices; stretches of use come from windows."""
    sampler: Sampler | None = None
    """How to draw a sample, where one is wanted; empty."""

    @property
    def period(self) -> Stretch:
        """[from_ms, to_ms) of the manifest."""
        return self.manifest.from_ms, self.manifest.to_ms

    @property
    def for_auditor(self) -> bool:
        """Whether everything should be open to the reader."""
        return self.manifest.scope.kind == "auditor"


@dataclass(frozen=True, slots=True)
class PartJob:
    """The windows of every node that falls to part `number` of `parts`. Can be sent to another process."""

    files: BundleFiles
    known: Known
    number: int
    parts: int


class CaseStopped(Exception):
    """Raised by `Case.stop`: no later step can say anything."""

    def __init__(self, reason: Limit) -> None:
        self.reason = reason
        super().__init__(str(reason))


@dataclass(slots=True)
class Case:
    """State of one verification."""

    files: BundleFiles
    policy: Policy | None
    since: bytes | None
    known: Known
    progress: Progress
    note: SignedNote | None = None
    check_stamp: StampCheck | None = None
    cosigned_s: dict[str, int] = field(default_factory=dict)
    others: list[tuple[int, Entry]] = field(default_factory=list)
    """Index and entry of everything but windows."""
    records: list[RecordEvidence] = field(default_factory=list)
    windows: int = 0
    operator: OperatorKeys | None = None
    firm_keys: dict[str, KnownFirmKey] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    facts: dict[str, object] = field(default_factory=dict)
    not_proved: list[Limit] = field(default_factory=list)
    stopped_because: list[Limit] = field(default_factory=list)

    def stop(self, reason: Limit) -> None:
        """Ends the case. What the remaining steps would ask stays unanswered, which is not a pass."""
        raise CaseStopped(reason)


def root_at(files: BundleFiles, head: LogCheckpoint) -> Callable[[int], bytes | None]:
    """Roots of this tree at sizes that it reaches, from its tiles, which step 4 has compared with the entries."""
    node = tile_reader(files, head.size)

    def root(size: int) -> bytes | None:
        try:
            return range_root(0, size, node)
        except EvidenceError:
            return None

    return root


def no_progress(_what: str, _done: int, _total: int) -> None:
    """For readers who do not look."""

"""The case: what the steps of one verification share.

Root-cause rule: the first step that sees a manipulation names it as an error; findings of later steps that
depend on what was already found broken are consequences. Both fail the verdict; people read the errors first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from suanli.evidence.bundle import AUDITOR, Manifest
from suanli.evidence.entries import (
    ALLOCATION_EVENT,
    DEVICE_EVENT,
    FIRM,
    KEY_EVENT,
    OPERATOR_KEYS,
    PRICE_VERSION,
    PROGRAM_VERSION,
    USAGE_WINDOW,
    Entry,
)
from suanli.evidence.errors import shorten
from suanli.evidence.findings import (
    BOTH,
    CODES,
    COMPLETENESS,
    CONSEQUENCE,
    ERROR,
    INTEGRITY,
    NOTICE,
    WARNING,
    Finding,
)
from suanli.evidence.log_checkpoint import LogCheckpoint
from suanli.evidence.policy import Policy
from suanli.evidence.records import AllocationEvent, KeyEvent, OperatorKeys, Record
from suanli.evidence.register import Register
from suanli.evidence.signed_note import SignedNote
from suanli.evidence.strict_json import printable
from suanli.evidence.windows import Segment, WindowHeader
from suanli.rating.intervals import Stretch

FINDINGS_PER_CODE = 100
_NO_MANIFEST = Manifest("", 0, 1, 0, AUDITOR, {})
_NO_HEAD = LogCheckpoint("", 0, b"")

_EVERYTHING_RATED = frozenset(
    {ALLOCATION_EVENT, USAGE_WINDOW, PRICE_VERSION, PROGRAM_VERSION, FIRM, DEVICE_EVENT}
)
DEPENDS_ON: Mapping[int, frozenset[str]] = {
    6: frozenset({OPERATOR_KEYS, KEY_EVENT}),
    7: frozenset({OPERATOR_KEYS, KEY_EVENT}),
    8: frozenset({USAGE_WINDOW, ALLOCATION_EVENT, FIRM}),
    9: frozenset({OPERATOR_KEYS}),
    10: frozenset({DEVICE_EVENT, USAGE_WINDOW}),
    11: frozenset({DEVICE_EVENT}),
    12: frozenset({ALLOCATION_EVENT, DEVICE_EVENT, USAGE_WINDOW}),
    13: frozenset(),
    14: _EVERYTHING_RATED,
    15: _EVERYTHING_RATED,
}
"""Types whose damaged entries explain a finding of a later step."""


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """Tolerances of the reader.

    clock_tolerance_ms: by how much clocks of nodes and controller may differ. back_date_tolerance_ms: how
    long before the newest thing it had seen a window may end. now_ms: the reader's clock, if there is one.
    """

    clock_tolerance_ms: int = 10_000
    back_date_tolerance_ms: int = 60_000
    now_ms: int | None = None


@dataclass(slots=True)
class WindowEvidence:
    """An opened usage window. A segment is None where the reader is not entitled to it."""

    index: int
    producer_key_id: str
    header: WindowHeader
    header_bytes: bytes
    signature: bytes
    segments: tuple[Segment | None, ...]


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


class CaseStopped(Exception):
    """Raised by `Case.stop`: no later step can say anything."""


@dataclass(slots=True)
class Case:
    """State of one verification."""

    files: Mapping[str, bytes]
    policy: Policy | None
    since: bytes | None
    settings: VerifySettings
    manifest: Manifest = _NO_MANIFEST
    note: SignedNote | None = None
    head: LogCheckpoint = _NO_HEAD
    cosigned_s: dict[str, int] = field(default_factory=dict)
    leaves: list[bytes] = field(default_factory=list)
    entries: list[Entry | None] = field(default_factory=list)
    windows: list[WindowEvidence] = field(default_factory=list)
    records: list[RecordEvidence] = field(default_factory=list)
    damaged: dict[str, list[int]] = field(default_factory=dict)
    withheld: dict[str, list[int]] = field(default_factory=dict)
    """Indexes of windows that the reader was not given, per key, by right or by damage."""
    operator: OperatorKeys | None = None
    keys: dict[str, KnownKey] = field(default_factory=dict)
    register: Register = field(default_factory=Register)
    broken_history: bool = False
    other_roots: bool = False
    """Whether an agent was shown a root that this tree never had."""
    chain_breaks: dict[str, list[Stretch]] = field(default_factory=dict)
    """Per node, time already explained by a finding of step 8."""
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    not_proved: list[str] = field(default_factory=list)
    stopped_because: list[str] = field(default_factory=list)
    left_out: int = 0
    fails_integrity: bool = False
    fails_completeness: bool = False
    _counts: dict[str, int] = field(default_factory=dict)

    @property
    def period(self) -> Stretch:
        """[from_ms, to_ms) of the manifest."""
        return self.manifest.from_ms, self.manifest.to_ms

    @property
    def for_auditor(self) -> bool:
        """Whether everything should be open to the reader."""
        return self.manifest.scope.kind == "auditor"

    def report(self, code: str, entity: str, expected: str, found: str, index: int | None = None) -> None:
        """Adds a finding of one of CODES; an error, unless what was found earlier explains it."""
        self._add(code, (entity, expected, found), index, consequence=self.explained(CODES[code][0]))

    def follow(self, code: str, entity: str, expected: str, found: str, index: int | None = None) -> None:
        """Adds a finding that follows from another one."""
        self._add(code, (entity, expected, found), index, consequence=True)

    def _add(self, code: str, texts: tuple[str, str, str], index: int | None, *, consequence: bool) -> None:
        """Beyond a limit per code findings are only counted: hostile bundles must not flood the report."""
        step, question = CODES[code]
        if question in (INTEGRITY, BOTH):
            self.fails_integrity = True
        if question in (COMPLETENESS, BOTH):
            self.fails_completeness = True
        count = self._counts[code] = self._counts.get(code, 0) + 1
        if count > FINDINGS_PER_CODE:
            self.left_out += 1
            return
        severity = WARNING if question == NOTICE else CONSEQUENCE if consequence else ERROR
        entity, expected, found = (shorten(printable(text)) for text in texts)
        self.findings.append(Finding(step, code, entity, index, expected, found, severity, question))

    def explained(self, step: int) -> bool:
        """Whether damage found earlier explains what this step finds."""
        if step == 9 and self.broken_history:
            return True
        return any(kind in self.damaged for kind in DEPENDS_ON.get(step, ()))

    def damage(self, index: int, kind: str, key_id: str | None = None) -> None:
        """Notes that the entry at `index` cannot be used by later steps."""
        self.damaged.setdefault(kind, []).append(index)
        if kind == USAGE_WINDOW and key_id is not None:
            self.withheld.setdefault(key_id, []).append(index)

    def stop(self, reason: str) -> None:
        """Ends the case. What the remaining steps would ask stays unanswered, which is not a pass."""
        self.fails_integrity = True
        self.fails_completeness = True
        raise CaseStopped(reason)

    def allocation_events(self) -> list[tuple[int, AllocationEvent]]:
        """Allocation events with their log index, in log order."""
        return [(r.index, r.record) for r in self.records if isinstance(r.record, AllocationEvent)]

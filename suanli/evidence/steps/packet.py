"""Step 18 without a bundle: entries drawn out of the whole log, each with its own proof.

A proof packet is a ZIP file of `payloads.jsonl` (one line an entry, in log order, as in bundles) and of
`proofs/INDEX.tlog-proof` for each, under the log checkpoint of the seed. Besides what was drawn it holds the
entries that say whose keys speak: the operator's, the nodes', the firms'.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from suanli.evidence.bundle import AUDITOR, LINE_LIMIT_BYTES, PAYLOADS, Manifest, Scope, parse_payload_line
from suanli.evidence.bundle_files import BundleFiles, read_file, read_lines
from suanli.evidence.entries import (
    FIRM_KEY,
    FIRM_SCOPED,
    KEY_EVENT,
    OPERATOR_KEYS,
    USAGE_WINDOW,
    Entry,
    read_entry,
)
from suanli.evidence.errors import EvidenceError
from suanli.evidence.findings import Finding
from suanli.evidence.keys import verify_signature
from suanli.evidence.limits import Limit, limit
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.policy import Policy
from suanli.evidence.proof_file import PROOF_FILE_LIMIT_BYTES, check_proof, parse_proof_file
from suanli.evidence.records import parse_record
from suanli.evidence.sampling import DrawnSegment, Stratum
from suanli.evidence.signed_note import parse_note
from suanli.evidence.steps.case import Case, CaseStopped, Known, RecordEvidence, no_progress
from suanli.evidence.steps.keys import check_operator_keys, check_record_signatures, collect_keys, key_problem
from suanli.evidence.steps.payloads import Damaged, EntryReader
from suanli.evidence.steps.plausibility import check_bounds
from suanli.evidence.steps.samples import check_all_raw_samples
from suanli.evidence.windows import window_message

SUPPORTING = frozenset({OPERATOR_KEYS, KEY_EVENT, FIRM_KEY})
"""Types that a packet holds besides what was drawn."""


def proof_path(index: int) -> str:
    """Name of the file in a packet that proves an entry."""
    return f"proofs/{index}.tlog-proof"


@dataclass(frozen=True, slots=True)
class EntriesWanted:
    """What was drawn: the seed's signed log checkpoint, the indexes, and whether all must be open."""

    seed: bytes
    indexes: frozenset[int]
    for_auditor: bool = True


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a packet shows. `segments` are the segments in use whose raw samples the nodes keep."""

    proved: int
    withheld: int
    windows: int
    findings: tuple[Finding, ...]
    not_proved: tuple[Limit, ...]
    segments: tuple[DrawnSegment, ...] = field(repr=False)

    @property
    def good(self) -> bool:
        """Whether every drawn entry is in the log, open to whom it must be, and signed by whom it says."""
        return not any(finding.severity in ("error", "consequence") for finding in self.findings)


def inspect_packet(
    files: BundleFiles, policy: Policy, wanted: EntriesWanted, raw: BundleFiles | None = None
) -> Inspected:
    """Check a proof packet against what was drawn; `raw` are raw samples that came back from the nodes.

    Malformed packets become findings. Raises EvidenceError where the seed is no log checkpoint, or a file is
    not as long as it says.
    """
    head = parse_log_checkpoint(parse_note(wanted.seed).text)
    scope = AUDITOR if wanted.for_auditor else Scope("firm", "")
    known = Known(manifest=Manifest(head.origin, 0, 1, 0, scope, {}), head=head)
    case = Case(files=files, policy=policy, since=None, known=known, progress=no_progress)
    packet = _Packet(case, policy, wanted)
    packet.read()
    packet.check_records()
    packet.check_windows()
    if raw is not None:
        check_all_raw_samples(case, raw, packet.segments)
    elif packet.segments:
        case.not_proved.append(limit("sample_open"))
    case.not_proved.append(limit("sample_entries", drawn=len(wanted.indexes), size=head.size))
    return Inspected(
        proved=len(packet.entries),
        withheld=packet.withheld,
        windows=packet.windows,
        findings=case.report.findings(),
        not_proved=tuple(case.not_proved),
        segments=tuple(packet.segments),
    )


class _Packet:
    def __init__(self, case: Case, policy: Policy, wanted: EntriesWanted) -> None:
        self._case = case
        self._policy = policy
        self._wanted = wanted
        self._reader = EntryReader(case.report, for_auditor=wanted.for_auditor)
        self.entries: dict[int, tuple[Entry, bytes]] = {}
        self.windows = 0
        self.withheld = 0
        self.segments: list[DrawnSegment] = []

    def read(self) -> None:
        """Every line with its proof; what was drawn is there, and little else."""
        report, there = self._case.report, self._case.files.sizes()
        last = -1
        for line in read_lines(self._case.files, PAYLOADS) if PAYLOADS in there else ():
            try:
                index = parse_payload_line(line).index if len(line) <= LINE_LIMIT_BYTES else -1
            except EvidenceError as error:
                report.add("payload.format", error.field, error.want, error.got)
                continue
            if index <= last:
                report.add("sample.extra", PAYLOADS, f"an index after {last}", str(index))
                continue
            last = index
            self._prove(index, line)
        for index in sorted(self._wanted.indexes - self.entries.keys()):
            if not any(f.index == index for f, _ in report.kept.get("sample.proof", ())):
                report.add("sample.missing", f"entry {index}", "the entry and its proof", "neither", index)
        known = {PAYLOADS, *(proof_path(index) for index in self.entries)}
        for path in sorted(there.keys() - known):
            if not report.counts.get("sample.proof"):
                report.add("sample.extra", path, "only what was drawn", "a file")

    def _prove(self, index: int, line: bytes) -> None:
        report = self._case.report
        try:
            entry = self._proved(index)
        except EvidenceError as error:
            report.add("sample.proof", f"entry {index}: {error.field}", error.want, error.got, index)
            return
        if index not in self._wanted.indexes and entry.type not in SUPPORTING:
            report.add("sample.extra", f"entry {index}", "only what was drawn", entry.type, index)
            return
        self.entries[index] = entry, line

    def _proved(self, index: int) -> Entry:
        """The entry at an index, proved to be in the seed's tree. Raises EvidenceError."""
        files, path = self._case.files, proof_path(index)
        if path not in files.sizes():
            raise EvidenceError(path, "no such file", "a proof for every line")
        proof = parse_proof_file(read_file(files, path, PROOF_FILE_LIMIT_BYTES))
        if proof.index != index:
            raise EvidenceError("proof.index", proof.index, str(index))
        proved = check_proof(proof, self._policy)
        if proved.head != self._case.known.head:
            raise EvidenceError("proof.log", f"{proved.head.size} entries", "the seed's log checkpoint")
        return read_entry(proved.entry)

    def check_records(self) -> None:
        """Who may speak, and whether each record was signed by whom it says."""
        case = self._case
        for index, (entry, data) in self.entries.items():
            if entry.type == USAGE_WINDOW:
                continue
            try:
                payload = self._reader.payload(index, entry, self._reader.line(index, entry, data))
                if payload is None:
                    self.withheld += entry.type in FIRM_SCOPED
                    continue
                record = parse_record(entry.type, payload.body)
            except Damaged:
                continue
            except EvidenceError as error:
                self._reader.damaged(index, entry, "payload.content", error)
                continue
            case.records.append(RecordEvidence(index, entry, record, payload.body, payload.signature))
        try:
            check_operator_keys(case)
        except CaseStopped as stopped:
            case.not_proved.append(stopped.reason)
        check_record_signatures(case)
        collect_keys(case)

    def check_windows(self) -> None:
        """Each drawn window is signed by a key of its node, and says nothing impossible."""
        report, known = self._case.report, self._case.known
        for index, (entry, data) in self.entries.items():
            if entry.type != USAGE_WINDOW:
                continue
            try:
                line = self._reader.line(index, entry, data)
                if self._reader.payload(index, entry, line) is None:
                    self.withheld += 1
                    continue
                window = self._reader.window(index, entry, data)
            except Damaged:
                continue
            problem = key_problem(known, window)
            if problem is None:
                public_key = bytes.fromhex(known.keys[entry.producer_key_id].event.public_key)
                if not verify_signature(public_key, window_message(window.header_bytes), window.signature):
                    problem = "signature.window", f"a signature of {entry.producer_key_id}", "no match"
            if problem is not None:
                report.add(problem[0], str(window), problem[1], problem[2], index)
                continue
            self.windows += 1
            check_bounds(report, window)
            for segment in window.segments:
                if segment is not None and segment.observed == "in_use" and segment.samples_root is not None:
                    stratum = Stratum("", segment.device.model, 0)
                    self.segments.append(DrawnSegment(index, segment.n, stratum, segment))

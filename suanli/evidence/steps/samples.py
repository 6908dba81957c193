"""Step 18: a sample drawn under a seed from after the close, and the raw samples that the operator returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suanli.evidence.bundle_files import BundleFiles, read_file
from suanli.evidence.errors import EvidenceError
from suanli.evidence.limits import limit
from suanli.evidence.log_checkpoint import LogCheckpoint, parse_log_checkpoint
from suanli.evidence.moments import shown_time
from suanli.evidence.policy import NO_QUORUM, cosigners
from suanli.evidence.samples import LINE_LIMIT_BYTES, LINES_LIMIT, check_samples
from suanli.evidence.sampling import (
    MISSING,
    REQUEST_LIMIT_BYTES,
    DrawnSegment,
    Sampler,
    parse_missing,
    sample_seed,
)
from suanli.evidence.signed_note import parse_note, verify_note
from suanli.evidence.statement_file import ClaimedStatement
from suanli.evidence.steps.case import Case, root_at


@dataclass(frozen=True, slots=True)
class SampleWanted:
    """A sample under the seed of the signed log checkpoint `after`: `size` a stratum; `packet`, if it is back."""

    after: bytes
    size: int = 3
    packet: BundleFiles | None = None


def plan_sample(case: Case, wanted: SampleWanted, claimed: ClaimedStatement | None) -> Sampler | None:
    """The sampler, where the checkpoint may give the seed: from after the close, not the operator's choice."""
    try:
        note = parse_note(wanted.after)
        head = parse_log_checkpoint(note.text)
        log_key = None if case.policy is None else case.policy.log_key(head.origin)
        if log_key is not None:
            verify_note(note, [log_key])
    except EvidenceError as error:
        case.report.add("sample.seed", error.field, error.want, error.got)
        return None
    problem = _seed_problem(case, head, claimed)
    if problem is None and case.policy is not None:
        times, _ = cosigners(case.policy, note)
        if not case.policy.quorum_met(times):
            problem = (
                f"the quorum {case.policy.quorum}",
                ", ".join(sorted(times)) or "no witness of the policy",
            )
        elif times and max(times.values()) * 1000 + 1000 < case.known.period[1]:
            problem = "cosigned after the period", shown_time(1000 * max(times.values()))
        elif case.policy.quorum == NO_QUORUM:
            case.not_proved.append(limit("sample_unseen"))
    if problem is not None:
        case.report.add("sample.seed", "log checkpoint of the seed", *problem)
        return None
    if head.size > case.known.head.size:
        case.not_proved.append(limit("sample_ahead", size=head.size))
    seed = sample_seed(head)
    case.facts["sample"] = {"seed": seed.hex(), "log_size": head.size}
    return Sampler(seed, wanted.size)


def _seed_problem(
    case: Case, head: LogCheckpoint, claimed: ClaimedStatement | None
) -> tuple[str, str] | None:
    if head.origin != case.known.head.origin:
        return case.known.head.origin, head.origin
    closed_at = case.known.head.size if claimed is None else claimed.log_size
    if head.size < closed_at:
        return f"at least {closed_at} entries, where the period closed", f"{head.size} entries"
    if head.size <= case.known.head.size and root_at(case.files, case.known.head)(head.size) != head.root:
        return "a root of this log", head.root.hex()
    return None


def check_packet(case: Case, wanted: SampleWanted, drawn: Sampler) -> None:
    """Every drawn segment is borne out by its raw samples; nothing else is in the packet."""
    segments = drawn.segments()
    case.facts["sample"] = {
        **_known(case),
        "strata": len({item.stratum for item in segments}),
        "segments": len(segments),
        "devices": [
            {"firm_id": firm_id, "model": model, "device_id": device_id}
            for firm_id, model, device_id in drawn.devices()
        ],
    }
    if wanted.packet is None:
        case.not_proved.append(limit("sample_open"))
        return
    check_all_raw_samples(case, wanted.packet, segments)
    for path in sorted(wanted.packet.sizes().keys() - {MISSING, *(item.path for item in segments)}):
        case.report.add("sample.extra", path, "only what was drawn", "a file")


def _known(case: Case) -> dict[str, object]:
    facts = case.facts.get("sample")
    return facts if isinstance(facts, dict) else {}


def check_all_raw_samples(case: Case, packet: BundleFiles, segments: Sequence[DrawnSegment]) -> None:
    """Whether the raw samples of all drawn segments are there and bear them out."""
    reasons: dict[str, str] = {}
    if MISSING in packet.sizes():
        try:
            reasons = parse_missing(read_file(packet, MISSING, REQUEST_LIMIT_BYTES))
        except EvidenceError as error:
            case.report.add("sample.extra", f"{MISSING}: {error.field}", error.want, error.got)
    for item in segments:
        _check_raw_samples(case, packet, item, reasons.get(item.path))


def _check_raw_samples(case: Case, packet: BundleFiles, item: DrawnSegment, reason: str | None) -> None:
    segment = item.segment
    where = f"device {segment.device.device_id} in window {segment.seq} of node {segment.node_id}"
    if segment.samples_root is None:
        case.report.add("sample.unrooted", where, "raw samples under a root", "none kept", item.index)
        return
    if item.path not in packet.sizes():
        found = "no such file" if reason is None else f"none, and the operator says: {reason}"
        case.report.add("sample.missing", where, item.path, found, item.index)
        return
    try:
        data = read_file(packet, item.path, LINES_LIMIT * (LINE_LIMIT_BYTES + 1))
    except EvidenceError as error:
        case.report.add("sample.readings", where, error.want, error.got, item.index)
        return
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    for problem in check_samples(segment, lines):
        entity = f"{where}: {problem.field}"
        case.report.add("sample.readings", entity, problem.want, problem.got, item.index)

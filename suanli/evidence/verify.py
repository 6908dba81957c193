"""The offline verifier: a bundle in, a verdict out. Pure: no network, no clock, no disk.

The steps of the audit procedure, numbered as there; history (3) is asked after the tree (4) it stands on.
Whatever a bundle holds, the answer is a verdict: malformed input becomes findings, never an exception. Only
an archive that lies about its own files raises EvidenceError while they are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from suanli.evidence.bundle_files import BundleFiles, MemoryFiles
from suanli.evidence.entries import USAGE_WINDOW
from suanli.evidence.findings import COMPLETENESS, INTEGRITY, SAMPLING, Verdict
from suanli.evidence.limits import limit
from suanli.evidence.policy import Policy
from suanli.evidence.stamps import StampCheck
from suanli.evidence.steps.attribution import check_ends, collect_allocations
from suanli.evidence.steps.calendar import check_calendar
from suanli.evidence.steps.case import (
    Case,
    CaseStopped,
    Known,
    NewestKnown,
    PartJob,
    Progress,
    VerifySettings,
    no_progress,
)
from suanli.evidence.steps.chains import check_controller, check_firms
from suanli.evidence.steps.closing import check_closing
from suanli.evidence.steps.coverage import build_register
from suanli.evidence.steps.files import check_history, check_log_checkpoint, check_manifest, check_tree
from suanli.evidence.steps.inspection import check_inspection
from suanli.evidence.steps.keys import check_operator_keys, check_record_signatures, collect_keys
from suanli.evidence.steps.payloads import read_records
from suanli.evidence.steps.plausibility import check_patterns
from suanli.evidence.steps.receipts import check_receipts
from suanli.evidence.steps.samples import SampleWanted, check_packet, plan_sample
from suanli.evidence.steps.stamps import check_stamp as check_stamp_of
from suanli.evidence.steps.statements import check_statement, collect_terms, read_claim
from suanli.evidence.steps.times import find_latest
from suanli.evidence.steps.windows import PartResult, check_part
from suanli.evidence.strict_json import printable

Run = Callable[[Sequence[PartJob]], Iterable[PartResult]]
"""Runs `check_part` on every job, here or in other processes."""

_LOG_STEPS: tuple[tuple[Callable[[Case], None], int], ...] = (
    (check_manifest, 1),
    (check_log_checkpoint, 2),
    (check_tree, 4),
    (check_history, 3),
)
_RECORD_STEPS: tuple[Callable[[Case], None], ...] = (
    read_records,
    check_operator_keys,
    check_record_signatures,
    collect_keys,
    check_firms,
    check_controller,
    find_latest,
    build_register,
    check_inspection,
    collect_allocations,
)


def run_here(jobs: Sequence[PartJob]) -> Iterable[PartResult]:
    """One part after the other in this process."""
    return map(check_part, jobs)


def verify(  # noqa: PLR0913 - what some reader asks for; only files are needed
    files: BundleFiles | Mapping[str, bytes],
    *,
    policy: Policy | None = None,
    since: bytes | None = None,
    settings: VerifySettings | None = None,
    parts: int = 1,
    run: Run = run_here,
    progress: Progress = no_progress,
    sample: SampleWanted | None = None,
    check_stamp: StampCheck | None = None,
) -> Verdict:
    """Verifies the files of a bundle.

    `policy` says whom the reader trusts; without it nothing is ever "verified". `since` is a signed log
    checkpoint that the reader kept from before. `sample` asks for a sample; `check_stamp` knows the reader's
    time-stamping authorities. The windows are checked in `parts`, which `run` may share among processes; the
    verdict is the same for any number. Linear in the number of entries; memory grows with records, nodes and
    devices, not with windows.
    """
    given = MemoryFiles(files) if isinstance(files, Mapping) else files
    known = Known(settings=settings or VerifySettings())
    case = Case(
        files=given, policy=policy, since=since, known=known, progress=progress, check_stamp=check_stamp
    )
    steps_run: list[int] = []
    seen = PartResult()
    try:
        for check, step in _LOG_STEPS:
            check(case)
            steps_run.append(step)
        check_stamp_of(case)
        for check in _RECORD_STEPS:
            check(case)
        known.newest = NewestKnown(case.records)
        collect_terms(case)
        claimed = read_claim(case)
        check_calendar(case)
        if sample is not None:
            known.sampler = plan_sample(case, sample, claimed)
        for result in run([PartJob(given, known, number, parts) for number in range(parts)]):
            seen.merge(result)
        case.report.merge(seen.report)
        check_ends(case, seen.last_use_ms)
        check_receipts(case, seen.patterns)
        check_patterns(case, seen.patterns)
        steps_run.extend(range(5, 14))
        if claimed is not None:
            check_closing(case, claimed, check_statement(case, claimed, seen))
            steps_run.extend((14, 15))
        if sample is not None and seen.sampler is not None:
            check_packet(case, sample, seen.sampler)
            steps_run.append(SAMPLING)
    except CaseStopped as stopped:
        case.stopped_because.append(stopped.reason)
    _state_facts(case, seen)
    _state_limits(case, seen)
    report, stopped_early = case.report, bool(case.stopped_because)
    return Verdict(
        integrity=not (stopped_early or report.fails(INTEGRITY)),
        completeness=not (stopped_early or report.fails(COMPLETENESS)),
        policy_given=policy is not None,
        findings=report.findings(),
        facts=case.facts,
        not_proved=tuple(case.not_proved),
        steps_run=tuple(sorted(steps_run)),
        left_out=report.left_out(),
        drawn=seen.sampler,
    )


def _state_facts(case: Case, seen: PartResult) -> None:
    manifest = case.known.manifest
    if case.policy is not None and case.policy.sha256:
        case.facts["policy_sha256"] = case.policy.sha256
    if case.known.settings.now_ms is not None:
        case.facts["verified_at_ms"] = case.known.settings.now_ms
    case.facts["period_ms"] = [manifest.from_ms, manifest.to_ms]
    case.facts["made_at_ms"] = manifest.made_at_ms
    case.facts["scope"] = manifest.scope.as_json()
    entries = Counter(entry.type for _, entry in case.others)
    entries[USAGE_WINDOW] = case.windows
    case.facts["entries"] = {kind: count for kind, count in sorted(entries.items()) if count}
    case.facts["windows"] = {
        "checked": seen.windows,
        "isolation": dict(sorted(seen.isolation.items())),
        "simulated": seen.simulated,
        "drivers": sorted(seen.drivers),
    }


def _state_limits(case: Case, seen: PartResult) -> None:
    """What no verification of this kind proves, said each time."""
    limits = [limit(name) for name in ("existence", "truth", "beginning", "caps")]
    if case.policy is None:
        limits.insert(0, limit("no_policy"))
    if not case.known.for_auditor:
        limits.insert(0, limit("firm_scope", firm_id=printable(str(case.known.manifest.scope.firm_id))))
    if seen.simulated or any(e.device.simulated for e in case.known.register.enrolments):
        limits.insert(0, limit("simulated"))
    # The reason of an early end comes first: it weighs more than what is never proved anyway.
    case.not_proved[:] = [*case.stopped_because, *limits, *case.not_proved]

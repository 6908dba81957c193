"""The offline verifier: a bundle in, a verdict out. Pure: no network, no clock, no disk.

Fifteen steps in the order of the audit procedure; history (3) is asked after the tree (4) it stands on.
Whatever a bundle holds, the answer is a verdict: malformed input becomes findings, never an exception.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from suanli.evidence.findings import Verdict
from suanli.evidence.policy import Policy
from suanli.evidence.steps.attribution import check_attribution, check_bounds
from suanli.evidence.steps.case import Case, CaseStopped, VerifySettings
from suanli.evidence.steps.chains import check_chains
from suanli.evidence.steps.coverage import build_register, check_coverage, check_uniqueness
from suanli.evidence.steps.files import check_history, check_log_checkpoint, check_manifest, check_tree
from suanli.evidence.steps.keys import (
    check_node_keys,
    check_operator_keys,
    check_record_signatures,
    check_window_signatures,
)
from suanli.evidence.steps.payloads import check_payloads
from suanli.evidence.steps.statements import check_statement
from suanli.evidence.steps.times import check_times

_STAGES: tuple[tuple[Callable[[Case], None], tuple[int, ...]], ...] = (
    (check_manifest, (1,)),
    (check_log_checkpoint, (2,)),
    (check_tree, (4,)),
    (check_history, (3,)),
    (check_payloads, (5,)),
    (check_operator_keys, ()),
    (check_record_signatures, ()),
    (check_node_keys, (6,)),
    (check_window_signatures, (7,)),
    (check_chains, (8,)),
    (check_times, (9,)),
    (build_register, ()),
    (check_coverage, (10,)),
    (check_uniqueness, (11,)),
    (check_attribution, (12,)),
    (check_bounds, (13,)),
    (check_statement, (14, 15)),
)


def verify(
    files: Mapping[str, bytes],
    *,
    policy: Policy | None = None,
    since: bytes | None = None,
    settings: VerifySettings | None = None,
) -> Verdict:
    """Verifies the files of a bundle.

    `policy` says whom the reader trusts; without it nothing is ever "verified". `since` is a signed log
    checkpoint that the reader kept from before. Linear in the number of entries. Never raises for what is in
    `files`.
    """
    case = Case(files=files, policy=policy, since=since, settings=settings or VerifySettings())
    steps_run: list[int] = []
    try:
        for stage, steps in _STAGES:
            stage(case)
            steps_run.extend(steps)
    except CaseStopped as stopped:
        case.stopped_because.append(str(stopped))
    _state_facts(case)
    _state_limits(case)
    return Verdict(
        integrity=not case.fails_integrity,
        completeness=not case.fails_completeness,
        policy_given=policy is not None,
        findings=tuple(sorted(case.findings, key=lambda f: (f.severity != "error", f.step, f.index or 0))),
        facts=case.facts,
        not_proved=tuple(case.not_proved),
        steps_run=tuple(sorted(steps_run)),
        left_out=case.left_out,
    )


def _state_facts(case: Case) -> None:
    manifest = case.manifest
    case.facts["period_ms"] = [manifest.from_ms, manifest.to_ms]
    case.facts["made_at_ms"] = manifest.made_at_ms
    case.facts["scope"] = manifest.scope.as_json()
    case.facts["entries"] = dict(sorted(Counter(e.type for e in case.entries if e is not None).items()))
    case.facts["windows"] = {
        "checked": len(case.windows),
        "isolation": dict(sorted(Counter(w.header.isolation for w in case.windows).items())),
        "simulated": sum(w.header.simulated for w in case.windows),
        "drivers": sorted({w.header.driver for w in case.windows}),
    }


def _state_limits(case: Case) -> None:
    """What no verification of this kind proves, said each time."""
    limits = [
        "That devices exist and are what they report: only inspection shows that.",
        "That the work done was the work declared: a log proves records unaltered, not true.",
        "What happened before the first log checkpoint that a witness of the reader cosigned.",
        "What a cap of a program had left from earlier periods: caps are applied within this period.",
    ]
    if case.policy is None:
        limits.insert(
            0, "Whose log this is: no policy was given, so the log's own claim about its key was used."
        )
    if not case.for_auditor:
        limits.insert(
            0,
            f"Coverage of devices and the use of others: this bundle is for firm "
            f"{case.manifest.scope.firm_id} alone; attribution and rating cover its own entries only.",
        )
    if any(w.header.simulated for w in case.windows) or any(
        e.device.simulated for e in case.register.enrolments
    ):
        limits.insert(0, "Anything about real hardware where devices are SIMULATED.")
    # The reason of an early end comes first: it weighs more than what is never proved anyway.
    case.not_proved[:] = [*case.stopped_because, *limits, *case.not_proved]

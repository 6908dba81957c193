"""What tests of the verifier ask of a verdict."""

from __future__ import annotations

from collections.abc import Iterable

from suanli.evidence.findings import Verdict
from suanli.evidence.steps.case import VerifySettings
from suanli.evidence.verify import verify
from tests.builders.evidence import Operator


def codes(verdict: Verdict, severity: str) -> set[str]:
    """Codes of the findings of one severity."""
    return {finding.code for finding in verdict.findings if finding.severity == severity}


def judged(operator: Operator, **options: object) -> Verdict:
    """The verdict on an operator's bundle, under the policy of a reader who trusts its log and witness."""
    files = operator.bundle(**options)  # type: ignore[arg-type]
    verdict = verify(files, policy=operator.policy())
    # However many processes share the work, and also where each signature is checked, they say the same.
    assert verify(files, policy=operator.policy(), parts=3) == verdict
    assert verify(files, policy=operator.policy(), settings=VerifySettings(every_signature=True)) == verdict
    return verdict


def assert_found(verdict: Verdict, causes: Iterable[str], consequences: Iterable[str] = ()) -> None:
    """The verdict names these causes and, besides, only these reviewed consequences."""
    assert not verdict.verified
    assert codes(verdict, "error") == set(causes)
    assert codes(verdict, "consequence") == set(consequences)
    assert verdict.exit_code == 1

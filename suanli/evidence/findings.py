"""What verification says: findings, facts, and a verdict that answers two questions apart.

Integrity: is what is here what was logged, by whom it says, unaltered, and rightly added up?
Completeness: is everything here that must be, for every registered device over the whole period?
"""

from __future__ import annotations

from dataclasses import dataclass

STEPS = {
    1: "manifest",
    2: "log checkpoint and quorum",
    3: "history",
    4: "tree",
    5: "payloads",
    6: "keys",
    7: "signatures",
    8: "chains",
    9: "time",
    10: "coverage",
    11: "uniqueness",
    12: "attribution",
    13: "bounds",
    14: "rating",
    15: "statement sums",
}

INTEGRITY = "integrity"
COMPLETENESS = "completeness"
BOTH = "both"
NOTICE = "notice"
"""A finding that fails neither question."""

ERROR = "error"
CONSEQUENCE = "consequence"
"""Follows from an error that is reported too: still failing, but not a cause of its own."""
WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, for machines and people alike. `index` is the log index it points to, if any."""

    step: int
    code: str
    entity: str
    index: int | None
    expected: str
    found: str
    severity: str
    question: str

    def as_json(self) -> dict[str, object]:
        """The finding as `--json` shows it."""
        value: dict[str, object] = {name: getattr(self, name) for name in Finding.__slots__}
        value["step_name"] = STEPS[self.step]
        return value


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of a verification. `left_out` counts findings beyond the limit per code."""

    integrity: bool
    completeness: bool
    policy_given: bool
    findings: tuple[Finding, ...]
    facts: dict[str, object]
    not_proved: tuple[str, ...]
    steps_run: tuple[int, ...]
    left_out: int = 0

    @property
    def verified(self) -> bool:
        """Both questions answered with yes, under a policy of the reader's own."""
        return self.integrity and self.completeness and self.policy_given

    @property
    def exit_code(self) -> int:
        """0 verified; 1 something is wrong; 3 nothing wrong was found, but no policy was given."""
        if self.verified:
            return 0
        return 3 if self.integrity and self.completeness else 1

    def as_json(self) -> dict[str, object]:
        """The verdict as `--json` shows it."""
        return {
            "schema": "suanli.verdict.v1",
            "verified": self.verified,
            "integrity": self.integrity,
            "completeness": self.completeness,
            "policy_given": self.policy_given,
            "steps_run": list(self.steps_run),
            "findings": [finding.as_json() for finding in self.findings],
            "findings_left_out": self.left_out,
            "facts": self.facts,
            "not_proved": list(self.not_proved),
        }

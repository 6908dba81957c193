"""What verification says: findings, facts, and a verdict that answers two questions apart.

Integrity: is what is here what was logged, by whom it says, unaltered, and rightly added up?
Completeness: is everything here that must be, for every registered device over the whole period?
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from suanli.evidence.limits import Limit
from suanli.evidence.sampling import Sampler

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
    13: "bounds and plausibility",
    14: "rating",
    15: "statement sums",
    18: "sampling",
}
"""Steps of the audit procedure as far as they are asked of a bundle; step 19 is the verdict."""

SAMPLING = 18
"""The one step that is run only where it is asked for."""

INTEGRITY = "integrity"
COMPLETENESS = "completeness"
BOTH = "both"
NOTICE = "notice"
"""A finding that fails neither question."""

ERROR = "error"
CONSEQUENCE = "consequence"
"""Follows from an error that is reported too: still failing, but not a cause of its own."""
WARNING = "warning"
SUSPICION = "suspicion"
"""Severity and question of what is likely but proves nothing: for a person to ask about, fails neither."""


CODES: dict[str, tuple[int, str]] = {
    "manifest.missing": (1, BOTH),
    "manifest.format": (1, BOTH),
    "manifest.scope": (1, BOTH),
    "manifest.file_missing": (1, BOTH),
    "manifest.size": (1, BOTH),
    "manifest.hash": (1, BOTH),
    "manifest.extra_file": (1, INTEGRITY),
    "checkpoint.format": (2, BOTH),
    "checkpoint.origin": (2, INTEGRITY),
    "checkpoint.unknown_log": (2, BOTH),
    "checkpoint.signature": (2, BOTH),
    "checkpoint.false_cosignature": (2, INTEGRITY),
    "checkpoint.quorum": (2, BOTH),
    "checkpoint.stamp": (2, INTEGRITY),
    "checkpoint.time": (2, INTEGRITY),
    "history.rolled_back": (3, BOTH),
    "history.forked": (3, BOTH),
    "tree.size": (4, BOTH),
    "tree.tiles": (4, BOTH),
    "tree.tile_missing": (4, BOTH),
    "tree.extra_tile": (4, INTEGRITY),
    "tree.bundle": (4, BOTH),
    "tree.tile": (4, BOTH),
    "tree.root": (4, BOTH),
    "entry.format": (4, INTEGRITY),
    "payload.missing": (5, BOTH),
    "payload.extra": (5, INTEGRITY),
    "payload.format": (5, BOTH),
    "payload.commitment": (5, BOTH),
    "payload.content": (5, INTEGRITY),
    "payload.withheld": (5, COMPLETENESS),
    "segment.missing": (5, BOTH),
    "segment.withheld": (5, COMPLETENESS),
    "segment.commitment": (5, BOTH),
    "segment.content": (5, INTEGRITY),
    "keys.operator": (6, BOTH),
    "keys.operator_again": (6, INTEGRITY),
    "keys.producer": (6, INTEGRITY),
    "keys.record_producer": (6, INTEGRITY),
    "keys.added_twice": (6, INTEGRITY),
    "keys.revoked_unknown": (6, INTEGRITY),
    "keys.unknown": (6, INTEGRITY),
    "keys.before_added": (6, INTEGRITY),
    "keys.after_revoked": (6, INTEGRITY),
    "keys.node": (6, INTEGRITY),
    "keys.firm": (6, INTEGRITY),
    "signature.record": (7, INTEGRITY),
    "signature.window": (7, INTEGRITY),
    "chain.gap": (8, COMPLETENESS),
    "chain.fork": (8, INTEGRITY),
    "chain.duplicate": (8, INTEGRITY),
    "chain.order": (8, INTEGRITY),
    "chain.prev_hash": (8, INTEGRITY),
    "chain.time": (8, INTEGRITY),
    "chain.boot": (8, INTEGRITY),
    "firm.gap": (8, COMPLETENESS),
    "firm.order": (8, INTEGRITY),
    "controller.order": (8, INTEGRITY),
    "time.origin": (9, INTEGRITY),
    "time.future_checkpoint": (9, INTEGRITY),
    "time.root": (9, INTEGRITY),
    "time.back_dated": (9, INTEGRITY),
    "time.post_dated": (9, INTEGRITY),
    "time.forgets": (9, NOTICE),
    "time.clock": (9, NOTICE),
    "time.drift": (9, NOTICE),
    "coverage.hole": (10, COMPLETENESS),
    "coverage.overlap": (10, INTEGRITY),
    "coverage.unregistered": (10, COMPLETENESS),
    "coverage.wrong_node": (10, INTEGRITY),
    "coverage.outside_stay": (10, INTEGRITY),
    "calendar.back_dated": (10, INTEGRITY),
    "register.twice": (11, INTEGRITY),
    "register.retired": (11, INTEGRITY),
    "register.same_identity": (11, INTEGRITY),
    "register.changed": (11, INTEGRITY),
    "register.die": (11, INTEGRITY),
    "register.driver": (11, INTEGRITY),
    "register.absent": (10, COMPLETENESS),
    "register.unlisted": (11, INTEGRITY),
    "register.model": (11, INTEGRITY),
    "attribution.sequence": (12, INTEGRITY),
    "attribution.device": (12, INTEGRITY),
    "attribution.double": (12, INTEGRITY),
    "attribution.unauthorised": (12, INTEGRITY),
    "attribution.outside": (12, INTEGRITY),
    "attribution.share": (12, INTEGRITY),
    "attribution.in_maintenance": (12, INTEGRITY),
    "attribution.into_maintenance": (12, NOTICE),
    "attribution.beyond_use": (12, NOTICE),
    "attribution.after_loss": (12, NOTICE),
    "attribution.unobserved": (12, NOTICE),
    "receipt.allocation": (12, INTEGRITY),
    "receipt.twice": (12, INTEGRITY),
    "receipt.beyond": (12, INTEGRITY),
    "receipt.contested": (12, NOTICE),
    "bounds.segment": (13, INTEGRITY),
    "bounds.tiling": (13, INTEGRITY),
    "plausibility.idle_use": (13, SUSPICION),
    "plausibility.constant": (13, SUSPICION),
    "plausibility.power": (13, SUSPICION),
    "plausibility.same_image": (13, SUSPICION),
    "statement.format": (14, INTEGRITY),
    "statement.period": (14, INTEGRITY),
    "statement.log_size": (14, INTEGRITY),
    "statement.rating": (14, INTEGRITY),
    "statement.device_time": (14, INTEGRITY),
    "statement.held": (14, INTEGRITY),
    "statement.entry": (14, INTEGRITY),
    "statement.twice": (14, INTEGRITY),
    "terms.twice": (14, INTEGRITY),
    "terms.retroactive": (14, NOTICE),
    "terms.rewritten": (14, INTEGRITY),
    "statement.after_close": (14, NOTICE),
    "statement.sum": (15, INTEGRITY),
    "sample.seed": (18, BOTH),
    "sample.proof": (18, BOTH),
    "sample.missing": (18, COMPLETENESS),
    "sample.unrooted": (18, NOTICE),
    "sample.readings": (18, INTEGRITY),
    "sample.extra": (18, INTEGRITY),
}
"""Every code with its step and the question it fails."""


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

    def rated(self, severity: str) -> Finding:
        """The finding with its severity."""
        return replace(self, severity=severity)

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
    not_proved: tuple[Limit, ...]
    steps_run: tuple[int, ...]
    left_out: int = 0
    drawn: Sampler | None = field(default=None, compare=False)
    """The sample, where one was asked for."""

    @property
    def steps_missed(self) -> tuple[int, ...]:
        """Steps that were not run to their end; sampling counts where it was asked for."""
        wanted = (step for step in STEPS if step != SAMPLING or "sample" in self.facts)
        return tuple(step for step in wanted if step not in self.steps_run)

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
            "not_proved": [str(item) for item in self.not_proved],
        }

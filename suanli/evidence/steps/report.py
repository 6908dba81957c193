"""The report of one verification while it is written, by one process or by several that are added up.

Root-cause rule: the first step that sees a manipulation names it as an error; findings of later steps that
depend on what was already found broken are consequences. Both fail the verdict; people read the errors first.
Which is which is decided at the end, when all damage is known, whatever order things were seen in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from suanli.evidence.entries import (
    ALLOCATION_EVENT,
    DEVICE_EVENT,
    ENTRY_TYPES,
    FIRM,
    FIRM_KEY,
    JOB_RECEIPT,
    KEY_EVENT,
    OPERATOR_KEYS,
    STATEMENT,
    USAGE_WINDOW,
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
    SUSPICION,
    WARNING,
    Finding,
)
from suanli.evidence.strict_json import printable

FINDINGS_PER_CODE = 100
UNREADABLE = "?"
"""Stands for the type of an entry that cannot be read: whatever it was, its absence explains what is missing."""

DEPENDS_ON: Mapping[int, frozenset[str]] = {
    6: frozenset({OPERATOR_KEYS, KEY_EVENT, FIRM_KEY}),
    7: frozenset({OPERATOR_KEYS, KEY_EVENT, FIRM_KEY}),
    8: frozenset({USAGE_WINDOW, ALLOCATION_EVENT, FIRM, FIRM_KEY, JOB_RECEIPT, STATEMENT}),
    9: frozenset({OPERATOR_KEYS}),
    10: frozenset({DEVICE_EVENT, USAGE_WINDOW}),
    11: frozenset({DEVICE_EVENT}),
    12: frozenset({ALLOCATION_EVENT, DEVICE_EVENT, USAGE_WINDOW, FIRM_KEY, JOB_RECEIPT}),
    14: ENTRY_TYPES,
    15: ENTRY_TYPES,
}
"""Types whose damaged entries explain a finding of a later step."""

EXPLAINED_BY: Mapping[str, frozenset[str]] = {
    "tree.root": frozenset({"tree.tile"}),
    # Where roots differ, entries were taken out or put in, and places moved with them.
    "time.future_checkpoint": frozenset({"time.root", "history.rolled_back", "history.forked"}),
    # Earlier roots are read from the tiles.
    "time.root": frozenset({"tree.tile", "history.rolled_back", "history.forked"}),
    "history.forked": frozenset({"tree.tile"}),
    # A window counts once here, however often its time was counted there.
    "statement.device_time": frozenset({"chain.duplicate"}),
    "statement.held": frozenset({"chain.duplicate"}),
}
"""Codes that, once found, explain others."""

_RANK_WITHIN_STEP = {"keys.operator": 51, "keys.operator_again": 51}
_RANK_WITHIN_STEP |= {"keys.record_producer": 52, "signature.record": 52}


def _rank(code: str) -> int:
    """Order in which causes come: records speak of keys, so their own signatures come before keys."""
    return _RANK_WITHIN_STEP.get(code, CODES[code][0] * 10)


@dataclass(slots=True)
class Report:
    """Findings, how many of each code, and which types of entries are damaged by which finding."""

    kept: dict[str, list[tuple[Finding, bool]]] = field(default_factory=dict)
    """Per code, findings and whether they are known to follow from another one."""
    counts: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, set[str]] = field(default_factory=dict)

    def add(
        self,
        code: str,
        entity: str,
        expected: str,
        found: str,
        index: int | None = None,
        *,
        follows: bool = False,
    ) -> None:
        """Adds a finding of one of CODES. Beyond a limit per code they are only counted: no floods."""
        count = self.counts[code] = self.counts.get(code, 0) + 1
        if count > FINDINGS_PER_CODE:
            return
        step, question = CODES[code]
        entity, expected, found = (shorten(printable(text)) for text in (entity, expected, found))
        finding = Finding(step, code, entity, index, expected, found, ERROR, question)
        self.kept.setdefault(code, []).append((finding, follows))

    def damage(self, kind: str, code: str) -> None:
        """Notes that a finding of `code` keeps an entry of type `kind` from later steps."""
        self.damaged.setdefault(kind, set()).add(code)

    def merge(self, other: Report) -> None:
        """Adds the report of another part of the same bundle."""
        for code, count in other.counts.items():
            self.counts[code] = self.counts.get(code, 0) + count
            kept = self.kept.setdefault(code, [])
            kept += other.kept.get(code, [])
            kept.sort(key=lambda item: -1 if item[0].index is None else item[0].index)
            del kept[FINDINGS_PER_CODE:]
        for kind, codes in other.damaged.items():
            self.damaged.setdefault(kind, set()).update(codes)

    def has(self, step: int) -> bool:
        """Whether a step has found anything."""
        return any(CODES[code][0] == step for code in self.counts)

    def fails(self, question: str) -> bool:
        """Whether a finding fails integrity or completeness."""
        return any(CODES[code][1] in (question, BOTH) for code in self.counts)

    def explained(self, code: str) -> bool:
        """Whether damage found elsewhere explains findings of `code`."""
        if not EXPLAINED_BY.get(code, frozenset()).isdisjoint(self.counts):
            return True
        rank = _rank(code)
        return any(
            _rank(cause) < rank
            for kind in (*DEPENDS_ON.get(CODES[code][0], ()), UNREADABLE)
            for cause in self.damaged.get(kind, ())
        )

    def findings(self) -> tuple[Finding, ...]:
        """All findings with their severity: causes first, then by step and place."""
        result = [
            finding.rated(_severity(finding.question, follows=follows or self.explained(code)))
            for code, kept in self.kept.items()
            for finding, follows in kept
        ]
        return tuple(sorted(result, key=lambda f: (f.severity != ERROR, f.step, f.index or 0)))

    def left_out(self) -> int:
        """Findings that were only counted."""
        return sum(max(count - FINDINGS_PER_CODE, 0) for count in self.counts.values())


def _severity(question: str, *, follows: bool) -> str:
    if question in (INTEGRITY, COMPLETENESS, BOTH):
        return CONSEQUENCE if follows else ERROR
    return {NOTICE: WARNING, SUSPICION: SUSPICION}[question]

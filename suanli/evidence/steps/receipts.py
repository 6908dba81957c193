"""Step 12, what firms say: receipts against allocations and against what windows observed.

That a receipt is missing is stated, for a firm owes none; that one contests is for people to settle; that one does
not fit what it speaks of is an error.
"""

from __future__ import annotations

from suanli.evidence.limits import limit
from suanli.evidence.moments import shown_stretch
from suanli.evidence.receipts import JobReceipt
from suanli.evidence.steps.case import Case, RecordEvidence
from suanli.evidence.steps.plausibility import WorkPattern


def check_receipts(case: Case, patterns: dict[str, WorkPattern]) -> None:
    """Holds the standing receipt of each allocation against its use. Linear in receipts and allocations."""
    standing = _standing(case)
    tolerance_ms = case.known.settings.clock_tolerance_ms
    counts = {"agreed": 0, "contested": 0, "missing": 0}
    for allocation_id, pattern in sorted(patterns.items()):
        item = standing.get(allocation_id)
        if item is None:
            counts["missing"] += 1
            continue
        receipt, index = item
        counts[receipt.stance] += 1
        where = f"allocation {allocation_id}"
        if receipt.stance == "contested":
            expected, found = f"use that firm {receipt.firm_id} agrees to", f"contested: {receipt.reason}"
            case.report.add("receipt.contested", where, expected, found, index)
        elif (
            pattern.first_ms < receipt.start_ms - tolerance_ms
            or pattern.last_ms > receipt.end_ms + tolerance_ms
        ):
            expected = f"use within {shown_stretch(receipt.start_ms, receipt.end_ms)}, which the firm signed"
            found = f"in use in {shown_stretch(pattern.first_ms, pattern.last_ms)}"
            case.report.add("receipt.beyond", where, expected, found, index)
    case.facts["receipts"] = counts
    _check_images(case, standing)
    if counts["missing"]:
        missing, used = counts["missing"], len(patterns)
        case.not_proved.append(limit("receipts_missing", missing=missing, used=used))


def _check_images(case: Case, standing: dict[str, tuple[JobReceipt, int]]) -> None:
    """Asks about one image that ran for several firms: one of the signs of work that nobody needed."""
    first: dict[str, JobReceipt] = {}
    asked: set[tuple[str, str]] = set()
    for receipt, index in standing.values():
        digest, firm_id = receipt.image_digest, receipt.firm_id
        if digest is None:
            continue
        other = first.setdefault(digest, receipt)
        if other.firm_id != firm_id and (digest, firm_id) not in asked:
            asked.add((digest, firm_id))
            found = f"firm {firm_id} ran what firm {other.firm_id} ran"
            case.report.add(
                "plausibility.same_image", f"image {digest}", "an image of one firm", found, index
            )


def _standing(case: Case) -> dict[str, tuple[JobReceipt, int]]:
    """The newest receipt of each allocation; of two of one moment, the one that contests."""
    standing: dict[str, tuple[JobReceipt, int]] = {}
    told: set[bytes] = set()
    for item in case.records:
        receipt = item.record
        if not isinstance(receipt, JobReceipt) or not _fits(case, item, receipt):
            continue
        where = f"allocation {receipt.allocation_id}"
        if item.body in told:
            case.report.add("receipt.twice", where, "each receipt once", "the same again", item.index)
            continue
        told.add(item.body)
        before = standing.get(receipt.allocation_id)
        if before is None or _order(before[0]) <= _order(receipt):
            standing[receipt.allocation_id] = receipt, item.index
    return standing


def _order(receipt: JobReceipt) -> tuple[int, bool]:
    return receipt.at_ms, receipt.stance == "contested"


def _fits(case: Case, item: RecordEvidence, receipt: JobReceipt) -> bool:
    """Whether a receipt speaks of an allocation that its firm had."""
    allocation = case.known.allocations.get(receipt.allocation_id)
    granted = None if allocation is None else allocation.granted
    if granted is not None and (granted.firm_id, granted.job_id) == (receipt.firm_id, receipt.job_id):
        return True
    found = "no such allocation"
    if granted is not None:
        found = f"job {granted.job_id} of firm {granted.firm_id}"
    expected = f"an allocation of job {receipt.job_id} of firm {receipt.firm_id}"
    where = f"allocation {receipt.allocation_id}"
    case.report.add("receipt.allocation", where, expected, found, item.index)
    return False

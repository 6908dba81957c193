"""Step 14, last part: the bundle's statement is the one whose digest was logged when its period was closed, and what
was logged with it of the time that firms held is what the log tells."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from suanli.evidence.bundle import STATEMENT
from suanli.evidence.bundle_files import read_file
from suanli.evidence.limits import limit
from suanli.evidence.records import PERIOD_CLOSED, AdministrativeAct
from suanli.evidence.statement_entry import Statement
from suanli.evidence.statement_file import STATEMENT_LIMIT_BYTES, ClaimedStatement
from suanli.evidence.steps.case import Case, RecordEvidence
from suanli.evidence.strict_json import encode, parse
from suanli.rating.held import HeldTime
from suanli.rating.intervals import Stretch, overlap
from suanli.rating.statements import firm_part


def firm_digest(statement: Mapping[str, Any], firm_id: str) -> str:
    """Hex of SHA-256 over a firm's own statement.json: its part of `statement`, which may hold all firms."""
    return hashlib.sha256(encode(firm_part(statement, firm_id))).hexdigest()


def check_closing(case: Case, claimed: ClaimedStatement, held: Mapping[str, Sequence[HeldTime]]) -> None:
    """Every firm's part has the digest and the sums of its entry; where there is no entry, that is stated.

    `held` is the time that firms held, by firm, as the bundle's records and windows tell it.
    """
    logged = _logged(case)
    _check_size(case, claimed, closed=bool(logged))
    data = read_file(case.files, STATEMENT, STATEMENT_LIMIT_BYTES)
    value = cast("Mapping[str, Any]", parse(data, "statement", STATEMENT_LIMIT_BYTES))
    # A statement that differs from its log is named by the re-rating; that it is not the logged one follows.
    follows = any(code in case.report.counts for code in ("statement.rating", "statement.sum"))
    for firm_id, (item, entry) in sorted(logged.items()):
        firm = claimed.firms.get(firm_id)
        want = f"{entry.sha256}, {entry.total_fen} and {entry.net_fen} fen at log size {entry.log_size}"
        found = "no statement of the firm"
        if firm is not None:
            digest = firm_digest(value, firm_id)
            found = f"{digest}, {firm.total_fen} and {firm.net_fen} fen at log size {claimed.log_size}"
        if found != want:
            case.report.add("statement.entry", f"firm {firm_id}", want, found, item.index, follows=follows)
    missing = len(claimed.firms.keys() - logged.keys())
    if missing:
        case.not_proved.append(limit("statements_unlogged", missing=missing, firms=len(claimed.firms)))
    _check_held(case, logged, held, claimed.log_size, follows=follows)
    case.facts["statements"] = {"firms": len(claimed.firms), "logged": len(claimed.firms) - missing}


def _check_held(
    case: Case,
    logged: Mapping[str, tuple[RecordEvidence, Statement]],
    held: Mapping[str, Sequence[HeldTime]],
    log_size: int,
    *,
    follows: bool,
) -> None:
    """What each entry says of the time that its firm held, bucket by bucket for an auditor. A firm is not shown what
    others see of its devices while it does not use them: of its unused time it can check the sum."""
    stated = {firm_id: entry.held for firm_id, (_, entry) in logged.items() if entry.held is not None}
    if len(stated) < len(logged):
        case.not_proved.append(limit("held_unstated", missing=len(logged) - len(stated), firms=len(logged)))
    if case.report.explained("statement.held"):
        return  # of damaged entries no bucket can be told; that they are damaged has been said
    for firm_id, models in sorted(stated.items()):
        item, entry = logged[firm_id]
        if entry.log_size != log_size:
            continue  # of another log: named already
        want = _figures(held.get(firm_id, ()), whole=case.known.for_auditor)
        got = _figures(models, whole=case.known.for_auditor)
        for name in sorted(want.keys() | got.keys()):
            expected, found = want.get(name, 0), got.get(name, 0)
            if expected != found:
                where = f"firm {firm_id}, {name}"
                case.report.add(
                    "statement.held", where, f"{expected} ms", f"{found} ms", item.index, follows=follows
                )
    if stated and not case.known.for_auditor:
        mine = [of for models in stated.values() for of in models]
        case.facts["held_time_ms"] = {
            name: sum(getattr(of, f"{name}_ms") for of in mine) for name in ("held", *_BUCKETS)
        }
        if any(of.unused_ms for of in mine):
            case.not_proved.append(limit("held_unused"))


_BUCKETS = ("allocated", "reserved", "faulty", "unknown")


def _figures(models: Sequence[HeldTime], *, whole: bool) -> dict[str, int]:
    """What can be compared, under names for findings."""
    names = ["held_ms", "allocated_ms", "live_ms", "worked_ms", "unused_ms"]
    if whole:
        names[-1:] = ["reserved_ms", "faulty_ms", "unknown_ms"]
    return {f"{of.device_model}, {name}": getattr(of, name) for of in models for name in names}


def _check_size(case: Case, claimed: ClaimedStatement, *, closed: bool) -> None:
    """Only who closes a period decides where it ends in the log: else whoever hands a bundle on could leave out what
    was logged last. A firm that used nothing below that size has no entry of its own, but knows of the act.
    """
    size, (from_ms, to_ms) = case.known.head.size, case.known.period
    if closed or claimed.log_size == size:
        return
    subject = f"{from_ms}/{to_ms}"
    acts = (item.record for item in case.records if isinstance(item.record, AdministrativeAct))
    of_others = any(act.act == PERIOD_CLOSED and act.subject == subject for act in acts)
    if case.known.for_auditor or claimed.firms or not of_others:
        expected = f"{size}, the size of the log: no entry has closed the period"
        case.report.add("statement.log_size", "log_size", expected, str(claimed.log_size))


def _logged(case: Case) -> dict[str, tuple[RecordEvidence, Statement]]:
    """By firm, the entry that closed the bundle's period. Time is closed once; later facts are corrections.

    Every statement of the log is looked at: who is billed twice for a day has two statements that are each right.
    """
    logged: dict[str, tuple[RecordEvidence, Statement]] = {}
    closed: dict[str, list[Stretch]] = {}
    for item in case.records:
        entry = item.record
        if not isinstance(entry, Statement):
            continue
        where, period = f"firm {entry.firm_id}", (entry.from_ms, entry.to_ms)
        if entry.log_size > item.index:
            want, found = f"at most {item.index}, its own place in the log", f"log size {entry.log_size}"
            case.report.add("statement.entry", where, want, found, item.index)
            continue
        before = _close(closed.setdefault(entry.firm_id, []), period)
        if before is not None:
            want, found = "each time closed once", f"{list(period)} after {list(before)}"
            case.report.add("statement.twice", where, want, found, item.index)
        if period == case.known.period:
            logged.setdefault(entry.firm_id, (item, entry))
    return logged


def _close(closed: list[Stretch], period: Stretch) -> Stretch | None:
    """Adds a period to those that are closed, disjoint and in order; or gives the one that it overlaps."""
    place = bisect.bisect_left(closed, period)
    for other in closed[max(place - 1, 0) : place + 1]:
        if overlap(other, period) is not None:
            return other
    closed.insert(place, period)
    return None

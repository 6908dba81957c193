"""Step 8: chains. Windows per key, entries per firm, the controller's events: no gap, no fork, no turn."""

from __future__ import annotations

import bisect
from itertools import pairwise

from suanli.evidence.entries import USAGE_WINDOW
from suanli.evidence.records import AllocationEvent, Firm
from suanli.evidence.steps.case import Case, WindowEvidence
from suanli.evidence.windows import header_hash


def check_chains(case: Case) -> None:
    """Step 8: window chains, firm sequences, controller order."""
    by_key: dict[str, list[WindowEvidence]] = {}
    for window in case.windows:
        by_key.setdefault(window.producer_key_id, []).append(window)
    kept: list[WindowEvidence] = []
    for chain in by_key.values():
        kept.extend(_check_chain(case, chain))
    case.windows = sorted(kept, key=lambda window: window.index)
    _check_firms(case)
    _check_controller(case)


def _name(window: WindowEvidence) -> str:
    return f"window {window.header.seq} of node {window.header.node_id}"


def _check_chain(case: Case, chain: list[WindowEvidence]) -> list[WindowEvidence]:
    """Checks the windows of one key, given in log order; returns them without repetitions, by seq."""
    by_seq: dict[int, WindowEvidence] = {}
    for window in chain:
        first = by_seq.setdefault(window.header.seq, window)
        if first is window:
            continue
        if first.header_bytes == window.header_bytes:
            case.report("chain.duplicate", _name(window), "once", f"also at {first.index}", window.index)
        else:
            branches = f"{header_hash(first.header_bytes)} and {header_hash(window.header_bytes)}"
            found = f"two branches at {first.index} and {window.index}: {branches}"
            case.report("chain.fork", _name(window), "one window per seq", found, window.index)
            case.damage(window.index, USAGE_WINDOW)
            _explain(case, window, window.header.start_ms, window.header.end_ms)
    ordered = [by_seq[seq] for seq in sorted(by_seq)]
    missing = sorted(case.withheld.get(chain[0].producer_key_id, []))
    _check_first(case, ordered[0], missing)
    for before, after in pairwise(ordered):
        _check_link(case, before, after, missing)
    return ordered


def _check_first(case: Case, window: WindowEvidence, missing: list[int]) -> None:
    absent = window.header.seq - 1
    if absent and bisect.bisect_left(missing, window.index) < absent:
        found = f"{absent} windows missing"
        case.report("chain.gap", _name(window), "a chain from seq 1", found, window.index)
        _explain(case, window, 0, window.header.start_ms)


def _check_link(case: Case, before: WindowEvidence, after: WindowEvidence, missing: list[int]) -> None:
    one, two = before.header, after.header
    if after.index < before.index:
        found = f"index {after.index} before {before.index}"
        case.report("chain.order", _name(after), "log order as signed", found, after.index)
    absent = two.seq - one.seq - 1
    if absent:
        given = bisect.bisect_left(missing, after.index) - bisect.bisect_right(missing, before.index)
        _explain(case, after, one.end_ms, two.start_ms)
        if given < absent:
            found = f"seq {one.seq}, then {two.seq}: {absent - given} windows missing"
            case.report("chain.gap", _name(after), f"seq {one.seq + 1}", found, after.index)
    elif two.prev_hash != header_hash(before.header_bytes):
        expected = header_hash(before.header_bytes)
        case.report("chain.prev_hash", _name(after), expected, two.prev_hash, after.index)
        _explain(case, after, min(one.end_ms, two.start_ms), max(one.end_ms, two.start_ms))
    elif two.start_ms != one.end_ms:
        case.report("chain.time", _name(after), f"start {one.end_ms}", f"start {two.start_ms}", after.index)
        _explain(case, after, min(one.end_ms, two.start_ms), max(one.end_ms, two.start_ms))
    if two.boot_id == one.boot_id and two.boot_start_ns < one.boot_end_ns:
        expected = f"boot clock from {one.boot_end_ns} ns on"
        case.report("chain.boot", _name(after), expected, f"{two.boot_start_ns} ns", after.index)


def _explain(case: Case, window: WindowEvidence, start_ms: int, end_ms: int) -> None:
    """Time of a node that a finding of this step accounts for: a hole there is its consequence."""
    if start_ms < end_ms:
        case.chain_breaks.setdefault(window.header.node_id, []).append((start_ms, end_ms))


def _check_firms(case: Case) -> None:
    """Entries of each firm are numbered from 1 without gap, in log order."""
    following: dict[str, int] = {}
    for item in case.records:
        record = item.record
        if not isinstance(record, AllocationEvent | Firm) or item.entry.firm_seq is None:
            continue
        want, got = following.get(record.firm_id, 1), item.entry.firm_seq
        entity = f"firm {record.firm_id}"
        if got > want:
            found = f"{got}: {got - want} entries missing"
            case.report("firm.gap", entity, f"firm_seq {want}", found, item.index)
        elif got < want:
            case.report("firm.order", entity, f"firm_seq {want}", str(got), item.index)
        following[record.firm_id] = max(want, got + 1)


def _check_controller(case: Case) -> None:
    """The controller numbers its events without gap; those that are logged are logged in its order."""
    newest = 0
    for index, event in case.allocation_events():
        if event.event_seq < newest:
            entity = f"allocation {event.allocation_id}"
            case.report("controller.order", entity, f"event_seq from {newest}", str(event.event_seq), index)
        newest = max(newest, event.event_seq)

"""Steps 6 and 7 for records: whose keys speak, from when to when, and whether every record is signed by them."""

from __future__ import annotations

from dataclasses import replace

from suanli.evidence.entries import ALLOCATION_EVENT, signing_message
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import NOTE_ED25519, key_id, verifier_key, verify_signature
from suanli.evidence.limits import limit
from suanli.evidence.receipts import FirmKey, JobReceipt
from suanli.evidence.records import KeyEvent, OperatorKeys
from suanli.evidence.signed_note import verify_note
from suanli.evidence.steps.case import (
    Case,
    Known,
    KnownFirmKey,
    KnownKey,
    RecordEvidence,
    WindowEvidence,
)


def check_operator_keys(case: Case) -> None:
    """Step 6, first part: index 0 names log and controller key, and speaks for the key of the policy."""
    first = case.records[0] if case.records and case.records[0].index == 0 else None
    if first is None or not isinstance(first.record, OperatorKeys):
        case.report.add("keys.operator", "operator_keys", "operator_keys at index 0", "something else", 0)
        case.stop(limit("no_operator_keys"))
        return
    operator = first.record
    case.operator = operator
    log_key = bytes.fromhex(operator.log_public_key)
    origin = case.known.head.origin
    trusted = None if case.policy is None else case.policy.log_key(origin)
    if trusted is not None and trusted.public_key != log_key:
        want, got = trusted.public_key.hex(), operator.log_public_key
        case.report.add("keys.operator", "operator_keys.log_public_key", want, got, 0)
        case.stop(limit("other_operator_keys"))
    if operator.log_origin != origin:
        case.report.add("keys.operator", "operator_keys.log_origin", origin, operator.log_origin, 0)
    if case.policy is None:
        _check_own_signature(case, log_key)
    for later in case.records[1:]:
        if isinstance(later.record, OperatorKeys):
            case.report.add("keys.operator_again", "operator_keys", "index 0 only", "another", later.index)


def _check_own_signature(case: Case, log_key: bytes) -> None:
    """Without a policy: whether the checkpoint is at least signed by the key that the log itself names."""
    try:
        key = verifier_key(case.known.head.origin, NOTE_ED25519, log_key)
        if case.note is not None:
            verify_note(case.note, [key])
    except EvidenceError as error:
        case.report.add("checkpoint.signature", error.field, error.want, error.got)


def check_record_signatures(case: Case) -> None:
    """Step 7 for what operator, controller and firms sign; what fails is used no further.

    Firms' keys, which the operator registers, are known by the receipts that come after them.
    """
    if case.operator is None:
        return
    log_key = bytes.fromhex(case.operator.log_public_key)
    controller_key = bytes.fromhex(case.operator.controller_key)
    kept: list[RecordEvidence] = []
    for item in case.records:
        kind = item.entry.type
        want: bytes | None = controller_key if kind == ALLOCATION_EVENT else log_key
        if isinstance(item.record, JobReceipt):
            want = _key_of_firm(case, item, item.record)
        if want is None:
            code, expected, found = (
                "keys.record_producer",
                "a key of the firm that stands in the log",
                item.entry.producer_key_id,
            )
        elif item.entry.producer_key_id != key_id(want):
            code, expected, found = "keys.record_producer", key_id(want), item.entry.producer_key_id
        elif not verify_signature(want, signing_message(kind, item.body), item.signature):
            code, expected, found = "signature.record", f"a signature of {key_id(want)}", "no match"
        else:
            kept.append(item)
            if isinstance(item.record, FirmKey):
                _take_firm_key(case, item.index, item.record)
            continue
        case.report.add(code, kind, expected, found, item.index)
        case.report.damage(kind, code)
    case.records = kept
    _check_firm_keys(case)


def _key_of_firm(case: Case, item: RecordEvidence, receipt: JobReceipt) -> bytes | None:
    known = case.firm_keys.get(item.entry.producer_key_id)
    if known is None or known.revoked_index is not None or known.event.firm_id != receipt.firm_id:
        return None
    return bytes.fromhex(known.event.public_key)


def _take_firm_key(case: Case, index: int, event: FirmKey) -> None:
    known, operator = case.firm_keys.get(event.key_id), case.operator
    own = set() if operator is None else {operator.log_public_key, operator.controller_key}
    if event.event == "added":
        if known is None and event.public_key not in own:
            case.firm_keys[event.key_id] = KnownFirmKey(event, index)
        else:
            expected = "a key of its own, added once"
            case.report.add("keys.added_twice", event.key_id, expected, "again", index)
    elif known is None or known.event.firm_id != event.firm_id:
        case.report.add("keys.revoked_unknown", event.key_id, "a key added before", "none", index)
    elif known.revoked_index is None:
        case.firm_keys[event.key_id] = replace(known, revoked_index=index)


def _check_firm_keys(case: Case) -> None:
    """Firms' keys are those that the reader had from the firms: an operator could register keys of its own."""
    theirs = case.known.settings.firm_keys
    if theirs is None:
        if case.firm_keys:
            case.not_proved.append(limit("firm_keys"))
        return
    listed = {(key.name, key.public_key.hex()) for key in theirs}
    for known in case.firm_keys.values():
        event = known.event
        if (event.firm_id, event.public_key) not in listed:
            where = f"firm {event.firm_id}, key {event.key_id}"
            expected, found = "a key of your list of firms' keys", event.public_key
            case.report.add("keys.firm", where, expected, found, known.added_index)


def collect_keys(case: Case) -> None:
    """Step 6, second part: when each node's key was added and revoked."""
    operator, keys = case.operator, case.known.keys
    own = set() if operator is None else {operator.log_public_key, operator.controller_key}
    for item in case.records:
        event = item.record
        if not isinstance(event, KeyEvent):
            continue
        known = keys.get(event.key_id)
        if event.event == "added":
            if known is not None or event.public_key in own:
                expected = "a key of its own, added once"
                case.report.add("keys.added_twice", event.key_id, expected, "again", item.index)
            else:
                keys[event.key_id] = KnownKey(event, item.index, None)
        elif known is None or known.event.node_id != event.node_id:
            case.report.add("keys.revoked_unknown", event.key_id, "a key added before", "none", item.index)
        elif known.revoked_index is None:
            keys[event.key_id] = KnownKey(known.event, known.added_index, item.index)
    few = sum(len(set(key.event.enrolled_by)) < 2 for key in keys.values())
    if few:
        case.not_proved.append(limit("one_person", few=few, all=len(keys)))


def key_problem(known: Known, window: WindowEvidence) -> tuple[str, str, str] | None:
    """Why a window's key may not speak for it: code, expected, found. None when it may."""
    key = known.keys.get(window.producer_key_id)
    if key is None:
        return "keys.unknown", "a key that the log added", window.producer_key_id
    if window.header.key_id != window.producer_key_id:
        return "keys.producer", window.producer_key_id, window.header.key_id
    if key.added_index > window.index:
        return "keys.before_added", f"a key added before index {window.index}", f"at {key.added_index}"
    if key.revoked_index is not None and key.revoked_index < window.index:
        return "keys.after_revoked", f"nothing after index {key.revoked_index}", f"index {window.index}"
    if key.event.node_id != window.header.node_id:
        return "keys.node", f"node {key.event.node_id}", f"node {window.header.node_id}"
    return None

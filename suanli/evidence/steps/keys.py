"""Steps 6 and 7: whose keys speak, from when to when, and whether every signature is theirs."""

from __future__ import annotations

from suanli.evidence.entries import ALLOCATION_EVENT, USAGE_WINDOW, signing_message
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import NOTE_ED25519, key_id, verifier_key, verify_signature
from suanli.evidence.records import KeyEvent, OperatorKeys
from suanli.evidence.signed_note import verify_note
from suanli.evidence.steps.case import Case, KnownKey, RecordEvidence, WindowEvidence
from suanli.evidence.windows import window_message


def check_operator_keys(case: Case) -> None:
    """Step 6, first part: index 0 names log and controller key, and speaks for the key of the policy."""
    first = case.records[0] if case.records and case.records[0].index == 0 else None
    if first is None or not isinstance(first.record, OperatorKeys):
        case.report("keys.operator", "operator_keys", "operator_keys at index 0", "something else", 0)
        case.stop("Whose keys signed the entries: the log does not begin with the operator's keys.")
        return
    operator = first.record
    case.operator = operator
    log_key = bytes.fromhex(operator.log_public_key)
    trusted = None if case.policy is None else case.policy.log_key(case.head.origin)
    if trusted is not None and trusted.public_key != log_key:
        want, got = trusted.public_key.hex(), operator.log_public_key
        case.report("keys.operator", "operator_keys.log_public_key", want, got, 0)
        case.stop("Whose keys signed the entries: the log's own key is not the one of the policy.")
    if operator.log_origin != case.head.origin:
        case.report("keys.operator", "operator_keys.log_origin", case.head.origin, operator.log_origin, 0)
    if case.policy is None:
        _check_own_signature(case, log_key)
    for later in case.records[1:]:
        if isinstance(later.record, OperatorKeys):
            case.report("keys.operator_again", "operator_keys", "index 0 only", "another", later.index)


def _check_own_signature(case: Case, log_key: bytes) -> None:
    """Without a policy: whether the checkpoint is at least signed by the key that the log itself names."""
    try:
        key = verifier_key(case.head.origin, NOTE_ED25519, log_key)
        if case.note is not None:
            verify_note(case.note, [key])
    except EvidenceError as error:
        case.report("checkpoint.signature", error.field, error.want, error.got)


def check_record_signatures(case: Case) -> None:
    """Step 7 for what operator and controller sign; what fails is used no further."""
    if case.operator is None:
        return
    log_key = bytes.fromhex(case.operator.log_public_key)
    controller_key = bytes.fromhex(case.operator.controller_key)
    log_key_id, controller_key_id = key_id(log_key), key_id(controller_key)
    kept: list[RecordEvidence] = []
    for item in case.records:
        kind = item.entry.type
        by_controller = kind == ALLOCATION_EVENT
        producer = controller_key_id if by_controller else log_key_id
        public_key = controller_key if by_controller else log_key
        if item.entry.producer_key_id != producer:
            case.report("keys.producer", kind, producer, item.entry.producer_key_id, item.index)
        elif not verify_signature(public_key, signing_message(kind, item.body), item.signature):
            case.report("signature.record", kind, f"a signature of {producer}", "no match", item.index)
        else:
            kept.append(item)
            continue
        case.damage(item.index, kind)
    case.records = kept


def check_node_keys(case: Case) -> None:
    """Step 6, second part: every window's key was added before, not revoked, and belongs to its node."""
    _collect_keys(case)
    kept: list[WindowEvidence] = []
    for window in case.windows:
        problem = _key_problem(case, window)
        if problem is None:
            kept.append(window)
            continue
        code, expected, found = problem
        entity = f"window {window.header.seq} of node {window.header.node_id}"
        case.report(code, entity, expected, found, window.index)
        _drop(case, window)
    case.windows = kept
    few = sum(len(set(known.event.enrolled_by)) < 2 for known in case.keys.values())
    if few:
        names = f"{few} of {len(case.keys)} keys name fewer"
        case.not_proved.append(f"That two persons enrolled each node: {names}.")


def _collect_keys(case: Case) -> None:
    operator = case.operator
    own = set() if operator is None else {operator.log_public_key, operator.controller_key}
    for item in case.records:
        event = item.record
        if not isinstance(event, KeyEvent):
            continue
        known = case.keys.get(event.key_id)
        if event.event == "added":
            if known is not None or event.public_key in own:
                expected = "a key of its own, added once"
                case.report("keys.added_twice", event.key_id, expected, "again", item.index)
            else:
                case.keys[event.key_id] = KnownKey(event, item.index, None)
        elif known is None or known.event.node_id != event.node_id:
            case.report("keys.revoked_unknown", event.key_id, "a key added before", "none", item.index)
        elif known.revoked_index is None:
            case.keys[event.key_id] = KnownKey(known.event, known.added_index, item.index)


def _key_problem(case: Case, window: WindowEvidence) -> tuple[str, str, str] | None:
    known = case.keys.get(window.producer_key_id)
    if known is None:
        return "keys.unknown", "a key that the log added", window.producer_key_id
    if window.header.key_id != window.producer_key_id:
        return "keys.producer", window.producer_key_id, window.header.key_id
    if known.added_index > window.index:
        return "keys.before_added", f"a key added before index {window.index}", f"at {known.added_index}"
    if known.revoked_index is not None and known.revoked_index < window.index:
        return "keys.after_revoked", f"nothing after index {known.revoked_index}", f"index {window.index}"
    if known.event.node_id != window.header.node_id:
        return "keys.node", f"node {known.event.node_id}", f"node {window.header.node_id}"
    return None


def check_window_signatures(case: Case) -> None:
    """Step 7 for windows; what fails is used no further. The costliest step: one signature per window."""
    kept: list[WindowEvidence] = []
    for window in case.windows:
        public_key = bytes.fromhex(case.keys[window.producer_key_id].event.public_key)
        if verify_signature(public_key, window_message(window.header_bytes), window.signature):
            kept.append(window)
            continue
        entity = f"window {window.header.seq} of node {window.header.node_id}"
        expected = f"a signature of {window.producer_key_id}"
        case.report("signature.window", entity, expected, "no match", window.index)
        _drop(case, window)
    case.windows = kept


def _drop(case: Case, window: WindowEvidence) -> None:
    case.damage(window.index, USAGE_WINDOW, window.producer_key_id)

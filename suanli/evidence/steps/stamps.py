"""Step 2, the time stamp: an authority of the reader's saw a tree that this one extends."""

from __future__ import annotations

from suanli.evidence.bundle_files import read_file
from suanli.evidence.errors import EvidenceError
from suanli.evidence.limits import limit
from suanli.evidence.log_checkpoint import parse_log_checkpoint
from suanli.evidence.signed_note import NOTE_LIMIT_BYTES, parse_note, verify_note
from suanli.evidence.stamps import STAMP, STAMP_LIMIT_BYTES, STAMPED
from suanli.evidence.steps.case import Case, root_at


def check_stamp(case: Case) -> None:
    """Asked after the tree, out of which the stamped root is read."""
    there = case.files.sizes()
    if STAMP not in there or STAMPED not in there:
        if case.check_stamp is not None:
            case.not_proved.append(limit("stamp_none"))
        return
    if case.check_stamp is None:
        case.not_proved.append(limit("stamp_unchecked"))
        return
    try:
        stamped = read_file(case.files, STAMPED, NOTE_LIMIT_BYTES)
        note = parse_note(stamped)
        head, whole = parse_log_checkpoint(note.text), case.known.head
        log_key = None if case.policy is None else case.policy.log_key(whole.origin)
        if log_key is not None:
            verify_note(note, [log_key])
        same = head.origin == whole.origin and head.size <= whole.size
        if not same or root_at(case.files, whole)(head.size) != head.root:
            _refuse(f"{head.origin} with {head.size} entries", "a tree that this log extends")
        at_ms = case.check_stamp(read_file(case.files, STAMP, STAMP_LIMIT_BYTES), stamped)
    except EvidenceError as error:
        case.report.add("checkpoint.stamp", error.field, error.want, error.got)
        return
    case.facts["time_stamp"] = {"log_size": head.size, "at_ms": at_ms}


def _refuse(got: str, want: str) -> None:
    raise EvidenceError(STAMPED, got, want)

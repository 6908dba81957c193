"""What an operator might do to keys, register, allocations and the files of a bundle, and the step that names it.

The operator holds the keys of log and controller, and signs and publishes anew after each manipulation.
"""

import json
from dataclasses import replace

import pytest

from suanli.evidence import entries
from suanli.evidence.bundle import CHECKPOINT, MANIFEST, PAYLOADS, BundleHead, parse_manifest
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import SigningKey
from suanli.evidence.log_checkpoint import LogCheckpoint, sign_log_checkpoint
from suanli.evidence.records import DeviceEvent, Firm, KeyEvent, OperatorKeys
from suanli.evidence.signed_note import NoteSignature, parse_note, with_signatures
from suanli.evidence.steps.case import VerifySettings
from suanli.evidence.tiles import entries_path, tile_path
from suanli.evidence.verify import verify
from suanli.evidence.windows import segment_commitment
from tests.builders.bundles import build_bundle, build_manifest
from tests.builders.evidence import GRID, ORIGIN, T0, device, honest_operator, seed
from tests.builders.verdicts import assert_found, codes, judged

END = T0 + 6 * GRID


def _idle_operator():
    """Nodes whose devices nobody uses, before their first window."""
    operator = honest_operator(0)
    for node in operator.nodes.values():
        node.uses.clear()
    return operator


def _judged_idle(operator):
    operator.all_cut(6, start=1)
    return judged(operator)


def _added(operator, node_id):
    return next(
        i.record for i in operator.log if isinstance(i.record, KeyEvent) and i.record.node_id == node_id
    )


def test_a_second_set_of_operator_keys_is_named():
    operator = _idle_operator()
    operator.add(
        OperatorKeys(ORIGIN, operator.log_key.public_key.hex(), operator.log_key.public_key.hex(), T0)
    )
    assert_found(_judged_idle(operator), {"keys.operator_again"})


def test_a_key_added_twice_is_named():
    operator = _idle_operator()
    operator.add(_added(operator, "node-a"))
    assert_found(_judged_idle(operator), {"keys.added_twice"})


def test_a_key_revoked_that_was_never_added_is_named():
    operator = _idle_operator()
    key = SigningKey(seed("stranger"))
    event = replace(_added(operator, "node-a"), event="revoked")
    operator.add(replace(event, key_id=key.key_id, public_key=key.public_key.hex()))
    assert_found(_judged_idle(operator), {"keys.revoked_unknown"})


def test_a_key_added_after_it_spoke_is_named():
    operator = _idle_operator()
    late = operator.enrol("node-c", [])
    del operator.nodes["node-c"]
    event = operator.log.pop().record
    operator.take(late, late.cut(T0 + GRID))
    operator.add(event)
    assert_found(_judged_idle(operator), {"keys.before_added"})


def test_a_header_that_names_another_key_than_its_entry_is_named():
    operator = honest_operator(5)
    operator.all_cut(6, start=6, only="node-a", key_id=SigningKey(seed("stranger")).key_id)
    assert_found(judged(operator), {"keys.producer"}, {"coverage.hole"})


def test_an_allocation_that_the_controller_did_not_sign_is_nobodys():
    operator = honest_operator(5)
    template = next(i.record for i in operator.log if getattr(i.record, "event", "") == "granted")
    operator.add(replace(template, allocation_id="al-5"), signer=operator.log_key)
    operator.all_cut(6, start=6)
    verdict = judged(operator)
    # That one allocation less is told explains whatever rating and attribution would say.
    assert_found(verdict, {"keys.record_producer"}, codes(verdict, "consequence"))
    assert codes(verdict, "consequence") <= {"statement.rating", "statement.sum"}


def test_a_record_with_a_signature_of_another_key_is_named():
    operator = _idle_operator()
    index = operator.add(Firm("firm-c", "丙公司", T0))
    item = operator.log[index]
    payload = entries.parse_payload(item.sealed.payload)
    forged = operator.controller.sign(entries.signing_message(entries.FIRM, payload.body))
    _reseal(item, entries.build_payload(payload.body, forged))
    assert_found(_judged_idle(operator), {"signature.record"})


def _reseal(item, payload):
    entry = entries.parse_entry(item.sealed.entry)
    commitment = entries.payload_commitment(item.sealed.salt, payload)
    item.sealed = entries.SealedEntry(
        entries.build_entry(entry._replace(payload_commitment=commitment)), payload, item.sealed.salt
    )


def test_entries_of_a_firm_in_another_order_are_named():
    operator = _idle_operator()
    operator.firm_seq["firm-a"] = 0
    operator.add(Firm("firm-a", "甲公司", T0))
    assert_found(_judged_idle(operator), {"firm.order"})


def test_events_of_the_controller_in_another_order_are_named():
    operator = _idle_operator()
    operator.event_seq = 8
    operator.allocation("granted", "al-3", T0)
    operator.event_seq = 0
    operator.allocation("ended", "al-3", T0 + 1)
    assert_found(_judged_idle(operator), {"controller.order"})


def test_a_fact_told_twice_under_one_number_is_named():
    operator = _idle_operator()
    operator.allocation("granted", "al-3", T0)
    operator.event_seq -= 1
    operator.allocation("granted", "al-3", T0)
    assert "controller.order" in {finding.code for finding in _judged_idle(operator).findings}


def test_the_tasks_of_a_gang_are_granted_under_one_number():
    operator = _idle_operator()
    operator.allocation("granted", "al-3", T0)
    operator.event_seq -= 1
    operator.allocation("granted", "al-4", T0)
    assert "controller.order" not in {finding.code for finding in _judged_idle(operator).findings}


def test_a_device_enrolled_twice_or_retired_without_being_there_is_named():
    operator = _idle_operator()
    known, stranger = operator.nodes["node-a"].devices[0], device("d-8")
    operator.add(DeviceEvent("enrolled", known, "node-b", "host", "pool-1", T0))
    operator.add(DeviceEvent("retired", stranger, "node-b", "host", "pool-1", T0))
    assert_found(_judged_idle(operator), {"register.twice", "register.retired"})


def test_an_allocation_that_ends_twice_is_named():
    operator = _idle_operator()
    operator.allocation("granted", "al-3", T0)
    operator.allocation("ended", "al-3", T0 + 1)
    operator.allocation("ended", "al-3", T0 + GRID)
    assert_found(_judged_idle(operator), {"attribution.sequence"})


def test_an_allocation_of_a_device_of_another_node_is_named():
    operator = _idle_operator()
    operator.allocation("granted", "al-3", T0, node_id="node-b")
    operator.allocation("ended", "al-3", T0 + 1, node_id="node-b")
    assert_found(_judged_idle(operator), {"attribution.device"})


def test_an_allocation_that_started_and_was_never_seen_is_noticed_and_not_billed():
    operator = _idle_operator()
    operator.allocation("granted", "al-3", T0)
    operator.allocation("started", "al-3", T0 + 1)
    operator.allocation("ended", "al-3", T0 + GRID)
    verdict = _judged_idle(operator)
    assert codes(verdict, "warning") == {"attribution.unobserved"}
    assert verdict.facts["charges_recomputed"]["total_fen"] == 0


# Files: what the operator does below the signed entries.


def _with_manifest(files):
    body = {path: data for path, data in files.items() if path != MANIFEST}
    old = parse_manifest(files[MANIFEST])
    head = BundleHead(old.log_origin, old.from_ms, old.to_ms, old.made_at_ms, old.scope)
    return {**body, MANIFEST: build_manifest(body, head)}


OPERATOR = honest_operator()
FILES = OPERATOR.bundle()
POLICY = OPERATOR.policy()
SIZE = len(OPERATOR.log)


def _verdict(changes, drop=()):
    files = {path: data for path, data in {**FILES, **changes}.items() if path not in drop}
    return verify(_with_manifest(files), policy=POLICY)


def _line(index, **changes):
    lines = FILES[PAYLOADS].split(b"\n")
    value = {**json.loads(lines[index]), **changes}
    lines[index] = json.dumps(value).encode()
    return {PAYLOADS: b"\n".join(lines)}


def _window():
    return next(i for i, item in enumerate(OPERATOR.log) if item.window is not None)


def test_a_file_shorter_than_the_manifest_says_is_named():
    files = {**FILES, PAYLOADS: FILES[PAYLOADS][:-1]}
    assert codes(verify(files, policy=POLICY), "error") == {"manifest.size"}


def test_files_that_a_bundle_must_have_are_missed():
    assert codes(_verdict({}, drop=(PAYLOADS,)), "error") == {"manifest.file_missing"}
    assert codes(_verdict({}, drop=(entries_path(0, SIZE),)), "error") == {"tree.tile_missing"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({CHECKPOINT: b"no note at all"}, "checkpoint.format"),
        ({tile_path(0, 0, SIZE): bytes(32 * SIZE)}, "tree.tile"),
        ({entries_path(0, SIZE): b"\xff\xff"}, "tree.bundle"),
        (_line(3, salt="zz"), "payload.format"),
        (_line(3, salt="00" * 32), "payload.commitment"),
        (_line(_window(), segments=[]), "segment.missing"),
        (_line(_window(), segments=[{"salt": "00" * 32, "body": "e30="}] * 3), "segment.commitment"),
        ({"statement.json": b"{}"}, "statement.format"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(changes, code):
    assert codes(_verdict(changes), "error") == {code}


def _signed(head):
    return sign_log_checkpoint(head, OPERATOR.log_key.public_key, OPERATOR.log_key.sign).encode()


def test_a_size_beyond_any_tree_is_refused_before_its_tiles_are_listed():
    def of_size(size):
        return verify(OPERATOR.bundle(checkpoint=_signed(LogCheckpoint(ORIGIN, size, bytes(32)))))

    assert codes(of_size(2**62), "error") == {"tree.size"}
    assert codes(of_size(2**20), "error") == {"tree.tiles"}


def test_a_signed_root_that_is_not_of_these_entries_is_named():
    checkpoint = _signed(LogCheckpoint(ORIGIN, SIZE, bytes(32)))
    assert codes(verify(OPERATOR.bundle(checkpoint=checkpoint)), "error") == {"tree.root"}


def test_a_manifest_that_speaks_of_another_log_is_named():
    old = parse_manifest(FILES[MANIFEST])
    body = {path: data for path, data in FILES.items() if path != MANIFEST}
    head = BundleHead("ledger.example/other", old.from_ms, old.to_ms, old.made_at_ms, old.scope)
    files = {**body, MANIFEST: build_manifest(body, head)}
    assert codes(verify(files, policy=POLICY), "error") == {"checkpoint.origin"}


def test_a_false_line_of_a_witness_sinks_the_checkpoint():
    note = parse_note(FILES[CHECKPOINT])
    witness = POLICY.witnesses[0].key
    line = next(s for s in note.signatures if s.name == witness.name)
    false = NoteSignature(line.name, line.key_hash, line.signature[:-1] + bytes([line.signature[-1] ^ 1]))
    verdict = _verdict({CHECKPOINT: with_signatures(note, [false]).encode()})
    assert_found(verdict, {"checkpoint.false_cosignature", "checkpoint.quorum"})


def test_a_checkpoint_of_the_future_is_named():
    verdict = verify(FILES, policy=POLICY, settings=VerifySettings(now_ms=T0))
    assert codes(verdict, "error") == {"checkpoint.time"}


def test_a_bundle_made_for_another_reader_is_named():
    verdict = verify(FILES, policy=POLICY, settings=VerifySettings(firm_id="firm-a"))
    assert codes(verdict, "error") == {"manifest.scope"}


@pytest.mark.parametrize(
    "since", [b"no note", FILES[CHECKPOINT].replace(b"ledger.example/test", b"x.example/y")]
)
def test_an_earlier_checkpoint_that_cannot_be_compared_is_the_readers_mistake_and_no_finding(since):
    with pytest.raises(
        EvidenceError, match=r"^--since: got .*, want a log checkpoint that ledger\.example/test signed$"
    ):
        verify(FILES, policy=POLICY, since=since)


def test_a_statement_that_closes_beyond_the_log_is_named():
    def beyond(statement):
        statement["log_size"] = SIZE + 1

    verdict = verify(OPERATOR.bundle(change_statement=beyond), policy=POLICY)
    assert codes(verdict, "error") == {"statement.log_size"}


def test_an_entry_and_a_payload_that_nobody_can_read_are_named():
    operator = _idle_operator()
    item = operator.log[2]
    item.sealed = entries.SealedEntry(b"{}", item.sealed.payload, item.sealed.salt)
    verdict = _judged_idle(operator)
    assert_found(verdict, {"entry.format"}, codes(verdict, "consequence"))
    assert codes(verdict, "consequence") <= {"firm.gap", "statement.rating"}
    operator = _idle_operator()
    _reseal(operator.log[2], entries.build_payload(b"{}", bytes(64)))
    verdict = _judged_idle(operator)
    assert codes(verdict, "error") == {"payload.content"}


def test_a_segment_that_nobody_can_read_is_named():
    operator = honest_operator(5)
    node = operator.nodes["node-a"]
    window = node.cut(END)
    broken = replace(window.segments[0], body=b"{}")
    header = window.header.replace(
        segment_commitment(window.segments[0].salt, window.segments[0].body).encode(),
        segment_commitment(broken.salt, broken.body).encode(),
    )
    signature = node.key.sign(entries.signing_message(entries.USAGE_WINDOW, header))
    window = replace(window, header=header, signature=signature, segments=(broken, *window.segments[1:]))
    item = operator.log[operator.take(node, window)]
    other = operator.nodes["node-b"]
    operator.take(other, other.cut(END))
    lines = [
        replace(line, segments=item.window.segments) if line.index == SIZE - 2 else line
        for line in operator.lines()
    ]
    statement = honest_operator().statement((T0, END))
    files = build_bundle(operator.log_files(), lines, statement, BundleHead(ORIGIN, T0, END, END))
    verdict = verify(files, policy=POLICY)
    assert_found(verdict, {"segment.content"}, codes(verdict, "consequence"))
    assert codes(verdict, "consequence") <= {"coverage.hole", "statement.rating", "statement.sum"}

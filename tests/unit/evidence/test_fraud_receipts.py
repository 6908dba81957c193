"""What firms say of their use, and what happens to it: left out, made up, said for another, said twice."""

from dataclasses import replace

import pytest

from suanli.evidence.bundle import firm_scope
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import NOTE_ED25519, SigningKey, verifier_key
from suanli.evidence.policy import parse_firm_keys
from suanli.evidence.records import encode_record
from suanli.evidence.steps.case import VerifySettings
from suanli.evidence.verify import verify
from tests.builders.evidence import GRID, T0, firm_signing_key, honest_operator, seed
from tests.builders.verdicts import assert_found, codes, judged


def _with_key():
    operator = honest_operator()
    operator.firm_key()
    return operator


def _vkey(firm_id, public_key):
    return str(verifier_key(firm_id, NOTE_ED25519, public_key))


def test_an_agreed_receipt_is_counted_and_the_missing_one_is_stated():
    operator = _with_key()
    operator.receipt()
    verdict = judged(operator)
    assert verdict.verified
    assert verdict.facts["receipts"] == {"agreed": 1, "contested": 0, "missing": 1}
    assert "1 of 2 allocations in use have no receipt" in " ".join(map(str, verdict.not_proved))


def test_a_firm_finds_its_receipts_in_its_own_bundle():
    operator = _with_key()
    operator.receipt()
    verdict = verify(operator.bundle(scope=firm_scope("firm-a")), policy=operator.policy())
    assert verdict.verified
    assert verdict.facts["receipts"] == {"agreed": 1, "contested": 0, "missing": 0}
    other = verify(operator.bundle(scope=firm_scope("firm-b")), policy=operator.policy())
    assert other.verified
    assert other.facts["receipts"] == {"agreed": 0, "contested": 0, "missing": 1}


def test_a_contested_receipt_is_listed_and_fails_nothing():
    operator = _with_key()
    operator.receipt(stance="contested", reason="the node hung from 00:03 on")
    verdict = judged(operator)
    assert verdict.verified
    assert codes(verdict, "warning") == {"receipt.contested"}
    assert "the node hung" in verdict.findings[0].found


def test_of_two_receipts_the_newer_stands_in_whatever_order_they_were_logged():
    operator = _with_key()
    operator.receipt(stance="contested", reason="too long", at_ms=T0 + 8 * GRID)
    operator.receipt(at_ms=T0 + 7 * GRID)
    assert codes(judged(operator), "warning") == {"receipt.contested"}
    operator.receipt(at_ms=T0 + 9 * GRID)
    assert codes(judged(operator), "warning") == set()


def test_a_receipt_signed_by_the_operator_for_the_firm_is_forged():
    operator = _with_key()
    operator.receipt(signer=operator.log_key)
    assert_found(judged(operator), {"keys.record_producer"})


def test_a_receipt_signed_by_another_firm_is_forged():
    operator = _with_key()
    operator.firm_key(firm_id="firm-b")
    operator.receipt(signer=firm_signing_key("firm-b"))
    assert_found(judged(operator), {"keys.record_producer"})


def test_a_receipt_under_the_firms_name_with_another_signature_is_forged():
    operator = _with_key()

    class Forger(SigningKey):
        def sign(self, message):
            return SigningKey(seed("forger")).sign(message)

    operator.receipt(signer=Forger(firm_signing_key("firm-a").seed()))
    assert_found(judged(operator), {"signature.record"})


def test_a_receipt_before_its_key_or_after_the_key_was_revoked_is_nobodys():
    operator = honest_operator()
    operator.receipt()
    operator.firm_key()
    assert_found(judged(operator), {"keys.record_producer"}, {"firm.gap"})
    operator = _with_key()
    operator.firm_key("revoked")
    operator.receipt()
    assert_found(judged(operator), {"keys.record_producer"})


def test_keys_that_an_operator_made_for_a_firm_are_not_in_the_readers_list():
    operator = _with_key()
    operator.receipt()
    own = parse_firm_keys(f"# of firms\n{_vkey('firm-a', seed('x'))}\n".encode())
    verdict = verify(operator.bundle(), policy=operator.policy(), settings=VerifySettings(firm_keys=own))
    assert_found(verdict, {"keys.firm"})
    theirs = parse_firm_keys(f"{_vkey('firm-a', firm_signing_key('firm-a').public_key)}\n".encode())
    verdict = verify(operator.bundle(), policy=operator.policy(), settings=VerifySettings(firm_keys=theirs))
    assert verdict.verified
    assert not any("firms' keys" in str(item) for item in verdict.not_proved)


def test_an_operators_own_key_is_no_firms_key_and_a_key_is_added_once():
    operator = _with_key()
    operator.firm_key()
    assert_found(judged(operator), {"keys.added_twice"})
    operator = honest_operator()
    operator.firm_key("revoked")
    assert_found(judged(operator), {"keys.revoked_unknown"})


def test_a_firms_key_without_proof_that_somebody_holds_it_is_refused():
    operator = honest_operator()
    with pytest.raises(EvidenceError, match="proof"):
        operator.firm_key(proof="0" * 128)
    with pytest.raises(EvidenceError, match="key_id"):
        operator.firm_key(key_id="0" * 32)


def test_a_receipt_logged_again_counts_once_and_is_named():
    operator = _with_key()
    operator.receipt()
    operator.receipt()
    assert_found(judged(operator), {"receipt.twice"})


@pytest.mark.parametrize(
    "change", [{"allocation_id": "al-9"}, {"allocation_id": "al-2"}, {"job_id": "job-9"}]
)
def test_a_receipt_for_what_the_firm_never_had_is_named(change):
    operator = _with_key()
    operator.receipt(**change)
    assert_found(judged(operator), {"receipt.allocation"})


@pytest.mark.parametrize("change", [{"end_ms": T0 + GRID}, {"start_ms": T0 + GRID}])
def test_use_beyond_what_the_firm_signed_is_named(change):
    operator = _with_key()
    operator.receipt(**change)
    assert_found(judged(operator), {"receipt.beyond"})


def test_a_receipt_left_out_is_missing_from_its_firms_numbers():
    operator = _with_key()
    index = operator.receipt(stance="contested", reason="no")
    operator.receipt(at_ms=T0 + 9 * GRID)
    del operator.log[index]
    assert_found(judged(operator), {"firm.gap"})


def test_a_receipt_contests_with_a_reason_and_ends_after_it_begins():
    operator = _with_key()
    receipt = operator.log[operator.receipt()].record
    for change in ({"stance": "contested"}, {"reason": "x"}, {"end_ms": 0}, {"workload": "gaming"}):
        with pytest.raises(EvidenceError, match="job_receipt"):
            encode_record(replace(receipt, **change))


def test_a_list_of_firms_keys_names_the_line_that_is_wrong():
    good = _vkey("firm-a", firm_signing_key("firm-a").public_key)
    for text, where in ((f"{good}\nnonsense\n", "line 2"), (f"{good}\n{good}\n", "line 2")):
        with pytest.raises(EvidenceError, match=where):
            parse_firm_keys(text.encode())


def test_one_image_that_ran_for_two_firms_is_a_suspicion_and_no_error():
    operator = _with_key()
    operator.firm_key(firm_id="firm-b")
    operator.receipt(image_digest="sha256:ab")
    other = {"firm_id": "firm-b", "job_id": "job-2", "allocation_id": "al-2", "end_ms": T0 + 3 * GRID}
    operator.receipt(image_digest="sha256:ab", **other)
    verdict = judged(operator)
    assert verdict.verified
    assert codes(verdict, "suspicion") == {"plausibility.same_image"}

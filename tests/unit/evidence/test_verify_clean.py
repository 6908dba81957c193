"""An honest bundle passes every step, and says what it cannot show."""

import json

from suanli.evidence.bundle import MANIFEST, STATEMENT, firm_scope
from suanli.evidence.steps.windows import check_part
from suanli.evidence.verify import verify
from tests.builders.evidence import honest_operator


def test_an_honest_bundle_is_verified_under_the_readers_policy():
    operator = honest_operator()
    verdict = verify(operator.bundle(), policy=operator.policy())
    assert verdict.findings == ()
    assert verdict.verified
    assert verdict.exit_code == 0
    assert verdict.steps_run == tuple(range(1, 16))


def test_what_other_processes_are_sent_does_not_grow_with_the_files_of_a_bundle():
    operator, sent = honest_operator(), []

    def run(jobs):
        sent.extend(jobs)
        return map(check_part, jobs)

    assert verify(operator.bundle(), policy=operator.policy(), parts=2, run=run).verified
    assert [len(job.known.manifest.files) for job in sent] == [0, 0]


def test_without_a_policy_nothing_is_ever_verified():
    operator = honest_operator()
    verdict = verify(operator.bundle())
    assert (verdict.integrity, verdict.completeness) == (True, True)
    assert not verdict.verified
    assert verdict.exit_code == 3
    assert any("policy" in str(limit) for limit in verdict.not_proved)


def test_an_earlier_checkpoint_of_the_same_log_is_extended():
    early, late = honest_operator(4), honest_operator(6)
    verdict = verify(late.bundle(), policy=late.policy(), since=early.checkpoint())
    assert verdict.findings == ()
    assert verdict.facts["extends"]["size"] == len(early.log)


def test_a_firms_bundle_is_verified_and_says_that_it_is_limited():
    operator = honest_operator()
    files = operator.bundle(scope=firm_scope("firm-a"))
    verdict = verify(files, policy=operator.policy())
    assert verdict.findings == ()
    assert verdict.verified
    assert any("firm-a" in str(limit) for limit in verdict.not_proved)
    assert "甲公司" in files[STATEMENT].decode()
    # A2: nothing of the other firm is in what this firm is given.
    everything = b"".join(files.values())
    assert "乙公司".encode() not in everything
    assert b"firm-b" not in everything


def test_simulated_devices_are_said_loudly():
    verdict = verify(honest_operator().bundle())
    assert "SIMULATED" in str(verdict.not_proved[0])
    assert verdict.facts["register"]["simulated_devices"] == 4


def test_the_verdict_is_plain_json():
    operator = honest_operator()
    verdict = verify(operator.bundle(), policy=operator.policy())
    value = json.loads(json.dumps(verdict.as_json()))
    assert value["verified"] is True
    assert value["facts"]["device_time_ms"]["unknown"] == 0


def test_charges_are_recomputed_to_the_fen():
    operator = honest_operator()
    verdict = verify(operator.bundle(), policy=operator.policy())
    # 555 s x 13.5 CNY/h = 208.125 fen and 2 x 594 s = 445.5 fen, halves away from zero.
    assert verdict.facts["charges_recomputed"]["total_fen"] == 208 + 446
    assert verdict.facts["charges_recomputed"]["net_fen"] == 654 - round(208 * 0.3) - round(446 * 0.3)


def test_a_bundle_without_files_is_a_finding_not_a_crash():
    assert verify({}).findings[0].code == "manifest.missing"
    assert verify({MANIFEST: b"{"}).findings[0].code == "manifest.format"

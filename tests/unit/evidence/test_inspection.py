"""The reader's own list of devices: completeness relative to what was inspected, not to what an operator says."""

from dataclasses import replace

import pytest

from suanli.evidence.bundle import firm_scope
from suanli.evidence.device_list import parse_device_list
from suanli.evidence.errors import EvidenceError
from suanli.evidence.steps.case import VerifySettings
from suanli.evidence.verify import verify
from tests.builders.evidence import MODEL, honest_operator
from tests.builders.verdicts import assert_found

SERIALS = [f"SN-d-{n}" for n in (1, 2, 3, 4)]


def _judged(text, operator=None):
    operator = operator or honest_operator()
    listed = parse_device_list(text.encode())
    return verify(operator.bundle(), policy=operator.policy(), settings=VerifySettings(device_list=listed))


def _listed(*serials, model=MODEL, rest=""):
    return "serial,model,from,rack\n" + "".join(f"{s},{model},2026-01-01,r1\n" for s in serials) + rest


def test_a_register_that_is_the_readers_list_is_verified_and_the_verdict_names_the_list():
    verdict = _judged(_listed(*SERIALS))
    assert verdict.verified
    listed = verdict.facts["device_list"]
    assert (listed["devices"], len(listed["sha256"])) == (4, 64)
    assert not any("--register" in str(item) for item in verdict.not_proved)


def test_without_a_list_the_verdict_says_whose_register_it_stands_on():
    operator = honest_operator()
    verdict = verify(operator.bundle(), policy=operator.policy())
    assert any("--register" in str(item) for item in verdict.not_proved)


def test_a_device_of_the_readers_list_that_was_never_enrolled_is_named():
    verdict = _judged(_listed(*SERIALS, "SN-hidden"))
    assert_found(verdict, {"register.absent"})
    assert verdict.integrity
    assert not verdict.completeness
    assert "SN-hidden" in next(f.entity for f in verdict.findings if f.code == "register.absent")


def test_a_device_that_nobody_inspected_is_named():
    verdict = _judged(_listed(*SERIALS[:3]))
    assert_found(verdict, {"register.unlisted"})
    assert not verdict.integrity


def test_a_device_that_is_another_model_than_was_inspected_is_named():
    assert_found(_judged(_listed(*SERIALS, model="nvidia-h20")), {"register.model"})


def test_devices_are_found_by_id_or_uuid_too_and_only_while_they_must_be_there():
    text = (
        "Device_ID,UUID,vendor,to\nd-1,,,\n,UUID-d-2,huawei,\n,UUID-d-3,,\nd-4,,,\n,UUID-gone,,2026-01-01\n"
    )
    assert _judged(text).verified
    wrong = text.replace("huawei", "cambricon")
    verdict = _judged(wrong)
    assert_found(verdict, {"register.absent", "register.unlisted"})
    (absent,) = (finding for finding in verdict.findings if finding.code == "register.absent")
    assert absent.expected == "a device in the register, where vendors are called huawei"
    early = text.replace("d-4,,,\n", "d-4,,,2026-06-01T08:10+08:00\n")
    assert _judged(early).verified


def test_a_device_that_draws_more_than_its_maker_says_is_a_suspicion_and_no_error():
    operator = honest_operator(0)
    alter = {"alter": lambda s: replace(s, energy_mj=(s.end_ms - s.start_ms) * 450, energy_method="counter")}
    operator.all_cut(6, start=1, only="node-a", **alter)
    text = "serial,max_watts\n" + "".join(f"{serial},{{}}\n" for serial in SERIALS)
    for node in operator.nodes.values():
        node.uses.clear()
    verdict = _judged(text.format(400, 420, 1, 1), operator)
    assert {f.code for f in verdict.findings if f.severity == "suspicion"} == {"plausibility.power"}
    assert "450 W" in next(f.found for f in verdict.findings if f.code == "plausibility.power")
    assert {f.entity.split()[1] for f in verdict.findings if f.severity == "suspicion"} == {"d-1"}


def test_a_firm_is_not_asked_for_devices_of_others():
    operator = honest_operator()
    settings = VerifySettings(device_list=parse_device_list(b"serial\nSN-hidden\n"))
    files = operator.bundle(scope=firm_scope("firm-a"))
    assert verify(files, policy=operator.policy(), settings=settings).verified


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "line 1"),
        ("model\nx\n", "line 1"),
        ("serial,serial\nx,y\n", "line 1"),
        ("serial\n", "no device"),
        ("serial,model\n,x\n", "line 2"),
        ("serial\nx,y\n", "line 2"),
        ("serial,max_watts\nx,-1\n", "line 2: max_watts"),
        ("serial,from\nx,yesterday\n", "line 2: from"),
        ("serial,from\nx,2026-01-01T08:00\n", "line 2: from"),
        ("serial,from,to\nx,2026-01-02,2026-01-01\n", "line 2: to"),
        ('serial\n"x\n', "line"),
        ("serial\nx\0\n", "NUL"),
    ],
)
def test_a_list_that_is_none_names_its_line(text, where):
    with pytest.raises(EvidenceError, match=where):
        parse_device_list(text.encode())


def test_a_file_that_is_no_list_is_quoted_as_it_is():
    with pytest.raises(EvidenceError, match="device list line 1: got Firm, Device Count,"):
        parse_device_list(b"Firm, Device Count\n")


def test_a_list_as_a_spreadsheet_writes_it_is_read():
    data = '﻿serial,remark\r\nSN-1,"two\r\nlines"\r\n,\r\n'.encode()
    assert [d.serial for d in parse_device_list(data).devices] == ["SN-1"]

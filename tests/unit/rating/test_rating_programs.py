"""What a program pays: base, rate, cap, measure, and which version is in force."""

import pytest

from suanli.rating.statements import build_statement
from tests.builders.rating import HOUR, MODEL, T0, authorisation, inputs, program, use

DAY = (T0, T0 + 24 * HOUR)


def _firm(*programs, usage=None):
    return build_statement(inputs(usage or [use()], programs=programs), *DAY)["firms"][0]


def test_a_share_of_the_settled_fee_is_deducted():
    firm = _firm(program())
    want = {"program_id": "etown", "version": 1, "base_fen": 1000, "amount_fen": 300}
    assert firm["subsidies"] == [want]
    assert (firm["total_fen"], firm["net_fen"]) == (1000, 700)


@pytest.mark.parametrize(("measure", "base"), [("allocated", 1000), ("live", 1000), ("busy", 500)])
def test_the_program_names_the_measure_it_pays_for(measure, base):
    assert _firm(program(usage_measure=measure))["subsidies"][0]["base_fen"] == base


def test_a_cap_is_a_ceiling():
    assert _firm(program(per_firm_cap_fen=123))["subsidies"][0]["amount_fen"] == 123
    assert _firm(program(per_firm_cap_fen=0))["net_fen"] == 1000


def test_versions_of_a_program_share_its_cap():
    half = T0 + HOUR // 2
    versions = [
        program(per_firm_cap_fen=200, to_ms=half),
        program(version=2, per_firm_cap_fen=200, from_ms=half, order=9),
    ]
    subsidies = _firm(*versions)["subsidies"]
    assert [(s["version"], s["base_fen"], s["amount_fen"]) for s in subsidies] == [
        (1, 500, 150),
        (2, 500, 50),
    ]


def test_the_highest_version_in_force_counts():
    firm = _firm(program(), program(version=2, rate_ppm=100_000, order=9))
    assert [(s["version"], s["amount_fen"]) for s in firm["subsidies"]] == [(2, 100)]


def test_foreign_models_are_outside_a_domestic_program():
    assert _firm(program(domestic_models=frozenset({"another"})))["subsidies"] == []
    foreign = program(domestic_only=False, domestic_models=frozenset())
    assert _firm(foreign)["subsidies"][0]["base_fen"] == 1000


def test_time_outside_the_program_is_not_its_base():
    assert _firm(program(from_ms=T0 + HOUR // 4 * 3))["subsidies"][0]["base_fen"] == 250


def test_several_programs_stand_side_by_side():
    firm = _firm(program(), program(program_id="city", rate_ppm=200_000))
    assert [s["program_id"] for s in firm["subsidies"]] == ["city", "etown"]
    assert firm["net_fen"] == 500


def test_the_base_is_the_sum_of_rounded_lines():
    jobs = [
        authorisation(allocation_id=f"al-{n}", job_id=f"job-{n}", granted_ms=T0, ended_ms=T0 + HOUR)
        for n in range(3)
    ]
    pieces = [use(n * 10_000, n * 10_000 + 1260, allocation_id=f"al-{n}") for n in range(3)]
    firm = build_statement(inputs(pieces, jobs, programs=[program(rate_ppm=1_000_000)]), *DAY)["firms"][0]
    # Each line is 0.35 fen exactly, which rounds to 0: so does the base, although the sum would be 1.05.
    assert firm["total_fen"] == firm["subsidies"][0]["base_fen"] == 0
    assert firm["lines"][0]["device_model"] == MODEL

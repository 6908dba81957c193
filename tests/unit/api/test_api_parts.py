"""The parts of the API that need no database."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scheduler.api.pagination import decode_cursor, encode_cursor
from scheduler.api.periods import LAST_MS, moment_ms, period_ms
from scheduler.api.readable import field_problems, path_of
from scheduler.api.schemas.configuration import ConfigurationIn
from scheduler.api.schemas.job_specs import JobSpecIn, VariantIn
from scheduler.domain.budgets import cny
from scheduler.domain.configuration_reading import configuration_from_json
from scheduler.domain.errors import Invalid
from scheduler.domain.job_reading import spec_from_json
from scheduler.domain.time import from_rfc3339, month_begin_ms, to_rfc3339
from scheduler.services.configuration import price_id
from tests.builders.api import CONFIGURATION, job_spec


@given(
    st.integers(0, (1 << 48) - 1), st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=64)
)
def test_a_cursor_is_read_back_as_it_was_written(at_ms: int, name: str) -> None:
    assert decode_cursor(encode_cursor((at_ms, name))) == (at_ms, name)


@given(st.text(max_size=40))
def test_no_other_text_is_a_cursor_or_breaks_anything(text: str) -> None:
    with contextlib.suppress(Invalid):
        place = decode_cursor(text)
        assert place is not None
        assert (isinstance(place[0], int), isinstance(place[1], str)) == (True, True)


def test_a_month_begins_in_the_zone_of_the_bills() -> None:
    assert month_begin_ms(from_rfc3339("2026-12-31T15:59:59Z")) == from_rfc3339("2026-12-01T00:00:00+08:00")
    assert month_begin_ms(from_rfc3339("2026-12-31T16:00:00Z")) == from_rfc3339("2027-01-01T00:00:00+08:00")


@given(st.text(max_size=30))
def test_a_moment_is_in_range_or_refused(text: str) -> None:
    try:
        at_ms = moment_ms(text, "from")
    except Invalid:
        return
    assert at_ms is not None
    assert 0 <= at_ms <= LAST_MS
    assert to_rfc3339(at_ms)


def test_a_period_needs_time_in_it() -> None:
    with pytest.raises(Invalid, match="query to"):
        period_ms("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", 1_800_000_000_000)


def test_a_period_that_begins_after_now_and_has_no_end_is_refused_for_its_beginning() -> None:
    with pytest.raises(Invalid, match="query from: got 2099-01-01T00:00:00Z, want a time before now"):
        period_ms("2099-01-01T00:00:00Z", None, 1_800_000_000_000)


def test_a_period_ends_now_where_its_end_has_not_come() -> None:
    now_ms = from_rfc3339("2026-11-27T00:00:00Z")
    period = period_ms("2026-11-01T00:00:00Z", "2026-11-28T00:00:00Z", now_ms)
    assert period == (from_rfc3339("2026-11-01T00:00:00Z"), now_ms)
    with pytest.raises(Invalid, match="query from: got 2026-11-28T00:00:00Z, want a time before now"):
        period_ms("2026-11-28T00:00:00Z", "2026-11-30T00:00:00Z", now_ms)


def test_a_plus_that_became_a_space_is_still_a_zone() -> None:
    assert moment_ms("2026-01-01T00:00:00 08:00", "from") == from_rfc3339("2026-01-01T00:00:00+08:00")


@pytest.mark.parametrize(
    ("nano", "text"), [(0, "0.00"), (12_500_000_000, "12.50"), (1, "0.000000001"), (10**18, "1000000000.00")]
)
def test_a_price_is_shown_exactly(nano: int, text: str) -> None:
    assert cny(nano) == text


def test_the_longest_price_id_fits_the_evidence_format() -> None:
    assert len(price_id("x" * 40, from_rfc3339("9998-01-01T00:00:00Z"))) <= 64


def test_paths_are_written_as_people_read_them() -> None:
    assert path_of(["firms", 0, "queues", 2, "name"]) == "firms[0].queues[2].name"
    assert path_of([]) == "(root)"


def test_nested_unknown_fields_are_told_the_known_ones_of_their_place() -> None:
    with pytest.raises(ValidationError) as caught:
        ConfigurationIn.model_validate({"firms": [{"name": "a", "queues": [{"name": "q", "wieght": 2}]}]})
    (problem,) = field_problems(caught.value.errors(), ConfigurationIn)
    assert problem.field == "firms[0].queues[0].wieght"
    assert problem.want == "weight? (one of: borrowing, cohort, lending, name, nominal, pools, weight)"


def test_values_that_may_be_secret_are_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        JobSpecIn.model_validate(job_spec(environment={"TOKEN": ["hf_secret"]}))
    assert "hf_secret" not in str(field_problems(caught.value.errors(), JobSpecIn))


SPECS = [
    job_spec(),
    job_spec(gang={"devices": 8, "devices_per_node": 4}, retry={"max_attempts": 2, "on_exit_codes": [75]}),
    job_spec(
        model_checkpoint={"directory": "/data"}, labels={"a": "b"}, time_limit_seconds=60, priority="low"
    ),
    {"name": "x", "variants": [{"model": "a", "command": ["x", "y"], "environment": {"K": "V"}}]},
]


@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_the_document_of_the_api_and_the_law_of_the_domain_take_the_same_specs(
    spec: dict[str, object],
) -> None:
    spec_from_json(spec)
    JobSpecIn.model_validate(spec)


def test_the_document_knows_every_field_of_a_stored_spec_and_no_other() -> None:
    stored = spec_from_json(SPECS[0]).to_json()
    shorthand = {*VariantIn.model_fields}
    assert set(JobSpecIn.model_fields) == set(stored) | shorthand
    JobSpecIn.model_validate(stored)


def test_the_document_and_the_law_of_configuration_take_the_same_files() -> None:
    configuration_from_json(CONFIGURATION)
    ConfigurationIn.model_validate(CONFIGURATION)
    with pytest.raises(Invalid) as caught:
        configuration_from_json({"nothing": 1})
    known = set(caught.value.problems[0].want.removeprefix("one of: ").split(", "))
    assert known == set(ConfigurationIn.model_fields)

"""What the controller keeps of the specs of jobs that are alike."""

import json

import pytest

from scheduler.domain import stored_specs
from scheduler.domain.errors import Invalid
from scheduler.domain.stored_specs import StoredSpecs
from tests.builders.jobs import a_spec


def written(name: str, **more: object) -> str:
    return json.dumps(a_spec(name, **more).to_json())


def test_jobs_that_are_alike_share_one_spec_and_keep_their_names_and_labels() -> None:
    specs = StoredSpecs()
    one = specs.read(written("seed-1", labels={"seed": "1"}))
    other = specs.read(written("seed-2", labels={"seed": "2"}))
    assert one.spec is other.spec
    assert [(job.name, job.labels) for job in (one, other)] == [
        ("seed-1", {"seed": "1"}),
        ("seed-2", {"seed": "2"}),
    ]
    assert specs.read(written("larger", devices=2)).spec is not one.spec


def test_what_is_remembered_is_bounded() -> None:
    specs = StoredSpecs()
    first = specs.read(written("job", time_limit_s=1)).spec
    for seconds in range(1, stored_specs.MOST_KNOWN + 2):
        specs.read(written("job", time_limit_s=seconds))
    assert specs.read(written("job", time_limit_s=1)).spec is not first


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"variants": 3}', '{"variants": [3]}', '{"name": "x"}'])
def test_what_was_never_stored_by_us_is_refused(text: str) -> None:
    with pytest.raises((ValueError, Invalid)):
        StoredSpecs().read(text)

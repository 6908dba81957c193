"""Specs that are alike are read once, and nobody can tell."""

import json
from dataclasses import replace
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scheduler.catalogue import load_catalogue
from scheduler.domain.errors import Invalid
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.job_reading import spec_from_json
from scheduler.domain.job_templates import MOST_TEMPLATES, _templates, read_spec, write_spec
from scheduler.domain.jobs import JobSpec
from scheduler.machine.queueing import made_shape, shape_of
from scheduler.machine.state import ClusterState, JobRecord

CATALOGUE = load_catalogue()
COMMANDS = ("python train.py", ["python", "train.py"], [], "", None, ["a\0b"], 3)
MAPS = (None, {}, {"SEED": "1"}, {"team": "vision"}, {"SEED": 1}, {"": "x"}, [], "text")


def fields(**values: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every choice of one of the values of each field, or none. Drawn as one, not field by field, it costs little."""
    choices = product(*([None, *((name, one) for one in given)] for name, given in values.items()))
    return [dict(item for item in choice if item is not None) for choice in choices]


def with_own(spec: JobSpec, own: JobSpec) -> JobSpec:
    """The spec with the other's name, labels, commands and environments."""
    pairs = zip(spec.variants, own.variants, strict=True)
    variants = tuple(replace(one, command=o.command, environment=o.environment) for one, o in pairs)
    return replace(spec, name=own.name, labels=own.labels, variants=variants)


def either(value: object) -> JobSpec | list[Any]:
    try:
        return spec_from_json(value)
    except Invalid as error:
        return list(error.problems)


def quick(value: object) -> JobSpec | list[Any]:
    try:
        return read_spec(value)
    except Invalid as error:
        return list(error.problems)


def mostly_right(parts: list[dict[str, Any]], rest: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """One of the parts of a spec, three times in four one that is accepted beside the rest: else none would be."""
    right = [part for part in parts if isinstance(either({**rest, **part}), JobSpec)]
    return st.sampled_from(right * (3 * len(parts) // len(right)) + parts)


NAME, MODEL, COMMAND = {"name": "tune"}, {"model": "ascend-910b3"}, {"command": "python train.py"}
VARYING = fields(command=COMMANDS, environment=MAPS)
REST = mostly_right(
    fields(
        kind=("pretrain", "interactive", "nothing"),
        gang=({"devices": 8}, {"devices": 8.0}, {"devices": True}, None),
        queue=("default", "night"),
        unknown=(1,),
        deadline=("2030-01-01T00:00:00Z", "soon"),
        secrets=([{"name": "token", "environment": "SEED"}],),
    ),
    {**NAME, **MODEL, **COMMAND},
)
NAMED = mostly_right(
    fields(name=("tune", "tune-2", "Wrong Name", "", None, 7), labels=MAPS), {**MODEL, **COMMAND}
)
VARIANTS = st.one_of(
    mostly_right([{**MODEL, **varying} for varying in VARYING], NAME),
    st.lists(
        mostly_right(
            [{"model": model, **one} for model in ("ascend-910b3", "mlu590") for one in VARYING], NAME
        ),
        max_size=3,
    ).map(lambda variants: {"variants": variants}),
)


@given(st.lists(st.tuples(REST, NAMED, VARIANTS), min_size=2, max_size=6))
def test_a_spec_reads_the_same_whatever_was_read_before(
    given_specs: list[tuple[dict[str, Any], ...]],
) -> None:
    state = ClusterState(CATALOGUE, 0)
    for parts in given_specs:
        value = {key: item for part in parts for key, item in part.items()}
        assert quick(value) == either(value)
        spec, whole = quick(value), either(value)  # now that it is known, or was refused
        assert spec == whole
        if isinstance(spec, JobSpec) and isinstance(whole, JobSpec):
            assert json.dumps(write_spec(spec)) == json.dumps(whole.to_json())  # in the same order, too
            stored = state.specs.read(json.dumps(write_spec(spec)))
            assert (stored.name, stored.labels) == (whole.name, whole.labels)
            assert with_own(stored.spec, whole) == whole
            job, anew = (JobRecord(FirmId("firm"), JobId("job"), one, 1) for one in (stored.spec, whole))
            assert shape_of(state, job) == made_shape(anew)


def test_a_spec_that_was_made_from_another_is_like_none() -> None:
    spec = read_spec({"name": "n", "model": "m", "command": "c"})
    assert spec.likeness is not None
    other = replace(spec, queue="night")
    assert other.likeness is None
    assert write_spec(other)["queue"] == "night"


def test_what_is_no_json_is_read_in_full() -> None:
    for value in (None, [], {1: 2}, {"name": "x", "gang": {"devices": 1 << 80}}, {"variants": [None]}):
        assert quick(value) == either(value)


def test_memory_is_bounded_however_many_kinds_of_jobs_there_are() -> None:
    for number in range(MOST_TEMPLATES + 10):
        read_spec({"name": "n", "model": "m", "command": "c", "estimate_seconds": number + 1})
    assert len(_templates) == MOST_TEMPLATES

"""Specs that differ only in their name, labels, commands and environments: what is alike is read once.

Programs submit jobs by the thousand of which each is the one before with another seed. Reading a spec in full
costs about 140 us and writing it 50, of one that is like one before 25 and 3. The result is the same (a property
test). What else follows from a spec but for these fields may be remembered by its `likeness`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import orjson

from scheduler.domain.file_reading import refuse_doubles
from scheduler.domain.job_reading import (
    read_environment,
    read_labels,
    read_name,
    read_variant_command,
    spec_from_json,
)
from scheduler.domain.jobs import JobKind, JobSpec, Variant
from scheduler.domain.reading import Reader

MOST_TEMPLATES = 512
MOST_TEMPLATE_BYTES = 8 << 10
# Whatever is no plain JSON raises: it must not be taken for the text that it would be written as.
_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_OF_A_JOB = frozenset({"name", "labels"})
_OF_A_VARIANT = frozenset({"command", "environment"})


@dataclass(frozen=True)
class _Template:
    """A spec that others are like. `likeness`: the one object by which all of them know it."""

    likeness: bytes
    spec: JobSpec

    @cached_property
    def written(self) -> dict[str, Any]:
        """The spec as it is stored."""
        return self.spec.to_json()


LikeT = TypeVar("LikeT", JobSpec, Variant)
_templates: OrderedDict[bytes, _Template] = OrderedDict()


def read_spec(value: object) -> JobSpec:
    """Like `spec_from_json`, with the same result and the same errors."""
    likeness = _likeness(value)
    if likeness is None:
        return spec_from_json(value)
    known = _templates.get(likeness)
    if known is not None and isinstance(value, dict):
        spec = _filled(known, value)
        if spec is not None:
            _was_used(likeness)
            return spec
    spec = spec_from_json(value)
    _templates[likeness] = _Template(likeness, spec)
    if len(_templates) > MOST_TEMPLATES:
        _templates.popitem(last=False)
    return marked(spec, likeness)


def _was_used(likeness: bytes) -> None:
    with suppress(
        KeyError
    ):  # a trial reads specs beside the API's loop, and one may push out what the other found
        _templates.move_to_end(likeness)


def write_spec(spec: JobSpec) -> dict[str, Any]:
    """Like `JobSpec.to_json`, with the same result. What lies in it is shared with others: it is to be read only."""
    known = None if spec.likeness is None else _templates.get(spec.likeness)
    if known is None:
        return spec.to_json()
    written = known.written
    return {
        **written,
        "name": spec.name,
        "labels": dict(spec.labels),
        "variants": [
            {**like, "command": list(variant.command), "environment": dict(variant.environment)}
            for like, variant in zip(written["variants"], spec.variants, strict=True)
        ],
    }


def _likeness(value: object) -> bytes | None:
    """What two specs that are alike have in common; None where nothing is known of that."""
    if not isinstance(value, dict):
        return None
    variants = value.get("variants")
    if variants is None:
        common = {
            key: item for key, item in value.items() if key not in _OF_A_JOB and key not in _OF_A_VARIANT
        }
    elif isinstance(variants, list) and all(isinstance(variant, dict) for variant in variants):
        common = {key: item for key, item in value.items() if key not in _OF_A_JOB}
        common["variants"] = [
            {key: item for key, item in variant.items() if key not in _OF_A_VARIANT} for variant in variants
        ]
    else:
        return None
    try:
        likeness = orjson.dumps(common, option=_STRICT)
    except TypeError:
        return None
    return likeness if len(likeness) <= MOST_TEMPLATE_BYTES else None


def _filled(known: _Template, value: Mapping[str, Any]) -> JobSpec | None:
    """A spec like the known one with this name, labels, commands and environments; None where they are wrong."""
    reader = Reader(value)
    holds = known.spec.kind is JobKind.INTERACTIVE
    items = value.get("variants")
    readers = [reader] if items is None else [Reader(item, "", reader.problems) for item in items]
    own = {
        "name": read_name(reader),
        "labels": read_labels(reader),
        "variants": tuple(
            _like(
                like, {"command": read_variant_command(child, holds), "environment": read_environment(child)}
            )
            for like, child in zip(known.spec.variants, readers, strict=True)
        ),
        "likeness": known.likeness,
    }
    spec = _like(known.spec, own)
    if spec.secrets:
        refuse_doubles(reader, spec)  # a secret's variable is none of the environment's
    return None if reader.problems else spec


def marked(spec: JobSpec, likeness: bytes) -> JobSpec:
    """A new spec as one of those that have this in common."""
    object.__setattr__(spec, "likeness", likeness)  # before anybody else has it
    return spec


def _like(value: LikeT, own: Mapping[str, Any]) -> LikeT:
    """A copy with some fields of its own: what `dataclasses.replace` makes, in half its time."""
    copy = object.__new__(type(value))
    for name, put in _SLOTS[type(value)]:
        put(copy, own[name] if name in own else getattr(value, name))
    return copy


_SLOTS = {
    kind: [(field.name, getattr(kind, field.name).__set__) for field in fields(kind)]
    for kind in (JobSpec, Variant)
}

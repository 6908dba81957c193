"""Specs as the controller reads them back: of a hundred thousand that are alike but for a seed it keeps one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import orjson

from scheduler.domain.errors import DomainError
from scheduler.domain.job_reading import spec_from_json
from scheduler.domain.job_templates import marked
from scheduler.domain.jobs import JobSpec, Priority

MOST_KNOWN = 4096
UNREADABLE = (KeyError, TypeError, ValueError, DomainError)
"""What reading something stored that is no spec of ours raises."""
_MOST_TOLD = 500  # characters of what is wrong with a spec


class StoredSpec(NamedTuple):
    """A spec in two: what decides where and when a job may run, and what is the job's own."""

    spec: JobSpec  # without name, labels, commands and environments: one object for all that are alike
    name: str
    labels: Mapping[str, str]
    problem: str | None = None  # why it cannot be read: it is a stand-in


def problem_of(error: Exception) -> str:
    """What is wrong with a spec, for people."""
    return f"{type(error).__name__}: {error}"[:_MOST_TOLD]


class StoredSpecs:
    """Reads what was stored of a spec, but for commands and environments: those are long, and for nodes alone."""

    def __init__(self) -> None:
        self._known: dict[bytes, JobSpec] = {}

    def read(self, text: str) -> StoredSpec:
        """From JSON. Cost: decoding it, and a third of that again where one like it is known.

        Raises ValueError or Invalid for what was never stored by us.
        """
        value = orjson.loads(text)
        variants = value.get("variants") if isinstance(value, dict) else None
        if not isinstance(variants, list) or not all(isinstance(variant, dict) for variant in variants):
            return _parted(spec_from_json(value))
        name, labels = value.pop("name", None), value.pop("labels", None)
        for variant in variants:
            variant.pop("command", None)
            variant.pop("environment", None)
        likeness = orjson.dumps(value)
        known = self._known.get(likeness)
        if known is not None:
            return StoredSpec(known, name, labels or {})
        read = _parted(spec_from_json(orjson.loads(text)))
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[likeness] = marked(read.spec, likeness)
        return read

    def read_or_stand_in(self, text: str, project: str, queue: str) -> StoredSpec:
        """The same; of a job whose spec cannot be read what is known of it without: it belongs to a queue's project.

        Nobody of its queue stops it for his priority, as it could not start again.
        """
        try:
            return self.read(text)
        except UNREADABLE as error:
            spec = JobSpec("", variants=(), project=project, queue=queue, priority=Priority.HIGH)
            return StoredSpec(spec, "", {}, problem_of(error))


def _parted(spec: JobSpec) -> StoredSpec:
    variants = tuple(replace(variant, command=(), environment={}) for variant in spec.variants)
    return StoredSpec(replace(spec, name="", labels={}, variants=variants), spec.name, spec.labels)

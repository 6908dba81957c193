"""What a researcher submits, and the states that a job goes through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.reading import Reader

NAME_PATTERN = r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?"
ENVIRONMENT_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,254}"
LABEL_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,253}[A-Za-z0-9])?"
MOST_COMMAND_BYTES = 128 * 1024
MOST_ENVIRONMENT_ENTRIES = 256
MOST_LABELS = 64
MOST_VARIANTS = 16
MOST_DEVICES = 100_000
MOST_TIME_LIMIT_SECONDS = 366 * 24 * 3600
MOST_GRACE_SECONDS = 24 * 3600


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    ALLOCATED = "allocated"  # has devices; its tasks are being prepared
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job never leaves this state."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class JobKind(StrEnum):
    """What sort of work it is."""

    PRETRAIN = "pretrain"
    FINE_TUNE = "fine-tune"
    EVALUATE = "evaluate"
    INTERACTIVE = "interactive"


class Priority(StrEnum):
    """Class of order within and between queues."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Higher goes first."""
        return _RANKS[self]


_RANKS = {Priority.LOW: 0, Priority.NORMAL: 1, Priority.HIGH: 2}


@dataclass(frozen=True, slots=True)
class Gang:
    """Tasks that start together or not at all, each on a node of its own with the same number of devices."""

    devices: int = 1
    devices_per_node: int = 1
    processes_per_node: int = 1

    @property
    def tasks(self) -> int:
        """How many tasks, and therefore nodes."""
        return self.devices // self.devices_per_node


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the job: a device model with the command and environment for it."""

    model: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelCheckpointSpec:
    """The job saves model checkpoints: where, and how long it may take to save one when told to stop."""

    directory: str | None = None
    grace_seconds: int = 30


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed attempt is followed by another. Node loss and preemption always are, up to the limit."""

    max_attempts: int = 3
    on_exit_codes: frozenset[int] = frozenset()


DEFAULT_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a researcher submits."""

    name: str
    variants: tuple[Variant, ...]
    project: str = "default"
    queue: str = "default"
    kind: JobKind = JobKind.FINE_TUNE
    priority: Priority = Priority.NORMAL
    gang: Gang = field(default_factory=Gang)
    working_directory: str | None = None
    model_checkpoint: ModelCheckpointSpec | None = None
    time_limit_seconds: int | None = None
    retry: Retry = field(default_factory=Retry)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def time_limit_ms(self) -> int | None:
        """Longest time from the start of an attempt to its stop."""
        return None if self.time_limit_seconds is None else self.time_limit_seconds * 1000

    @property
    def grace_ms(self) -> int:
        """Time between the request to end and the kill."""
        checkpoint = self.model_checkpoint
        return (DEFAULT_GRACE_SECONDS if checkpoint is None else checkpoint.grace_seconds) * 1000

    def to_json(self) -> dict[str, Any]:
        """As stored: every default filled in; `spec_from_json` reads it back to an equal value."""
        checkpoint = self.model_checkpoint
        return {
            "name": self.name,
            "project": self.project,
            "queue": self.queue,
            "kind": self.kind.value,
            "priority": self.priority.value,
            "gang": {
                "devices": self.gang.devices,
                "devices_per_node": self.gang.devices_per_node,
                "processes_per_node": self.gang.processes_per_node,
            },
            "variants": [
                {"model": v.model, "command": list(v.command), "environment": dict(v.environment)}
                for v in self.variants
            ],
            "working_directory": self.working_directory,
            "model_checkpoint": None
            if checkpoint is None
            else {"directory": checkpoint.directory, "grace_seconds": checkpoint.grace_seconds},
            "time_limit_seconds": self.time_limit_seconds,
            "retry": {
                "max_attempts": self.retry.max_attempts,
                "on_exit_codes": sorted(self.retry.on_exit_codes),
            },
            "labels": dict(self.labels),
        }


def spec_from_json(value: object) -> JobSpec:
    """Reads a job spec as people write it (JSON or YAML already parsed), with the shorthand of one variant.

    Raises Invalid with every problem and its path. Does not look at the catalogue: whether a model exists
    and a shape is allowed is the planner's question (`scheduler.planner.feasibility.ever_fits`).
    """
    reader = Reader(value)
    spec = JobSpec(
        name=reader.text("name", pattern=NAME_PATTERN, want="1 to 100 of a-z 0-9 - . _, no sign at the ends"),
        project=reader.text("project", "default", pattern=NAME_PATTERN, want="name of a project"),
        queue=reader.text("queue", "default", pattern=NAME_PATTERN, want="name of a queue"),
        kind=JobKind(reader.choice("kind", JobKind, JobKind.FINE_TUNE)),
        priority=Priority(reader.choice("priority", Priority, Priority.NORMAL)),
        gang=_gang(reader.child("gang")),
        variants=_variants(reader),
        working_directory=_absolute_path(reader, "working_directory"),
        model_checkpoint=_model_checkpoint(reader),
        time_limit_seconds=reader.optional_integer("time_limit_seconds", low=1, high=MOST_TIME_LIMIT_SECONDS),
        retry=_retry(reader.child("retry")),
        labels=reader.text_map("labels", most=MOST_LABELS, key_pattern=LABEL_PATTERN),
    )
    reader.finish()
    return spec


def _gang(reader: Reader) -> Gang:
    devices = reader.integer("devices", 1, low=1, high=MOST_DEVICES)
    per_node = reader.integer("devices_per_node", devices, low=1, high=MOST_DEVICES)
    if devices % per_node != 0:
        reader.problem(reader.at("devices_per_node"), per_node, f"a divisor of devices ({devices})")
        per_node = devices
    processes = reader.integer("processes_per_node", per_node, low=1, high=4096)
    reader.refuse_unknown()
    return Gang(devices, per_node, processes)


def _variants(reader: Reader) -> tuple[Variant, ...]:
    shorthand = [key for key in ("model", "command", "environment") if reader.has(key)]
    if shorthand and reader.has("variants"):
        reader.problem("variants", "both variants and " + ", ".join(shorthand), "one of the two forms")
    if not reader.has("variants"):
        reader.raw("variants")
        return (_variant(reader),)
    for key in ("model", "command", "environment"):
        reader.raw(key)
    items = reader.items("variants")
    if not 1 <= len(items) <= MOST_VARIANTS:
        reader.problem("variants", f"{len(items)} variants", f"1 to {MOST_VARIANTS} variants")
        return ()
    variants = []
    for number, item in enumerate(items):
        child = Reader(item, f"variants[{number}]", reader.problems)
        variants.append(_variant(child))
        child.refuse_unknown()
    models = [variant.model for variant in variants]
    for number, model in enumerate(models):
        if model in models[:number]:
            reader.problem(f"variants[{number}].model", model, "each device model once")
    return tuple(variants)


def _variant(reader: Reader) -> Variant:
    return Variant(
        model=reader.text("model", pattern=r"[a-z0-9][a-z0-9.-]{0,99}", want="key of a device model"),
        command=_command(reader),
        environment=reader.text_map(
            "environment", most=MOST_ENVIRONMENT_ENTRIES, key_pattern=ENVIRONMENT_PATTERN, secret=True
        ),
    )


def _command(reader: Reader) -> tuple[str, ...]:
    value = reader.raw("command")
    field_name = reader.at("command")
    if isinstance(value, str) and value.strip():
        parts: tuple[str, ...] = ("/bin/sh", "-c", value)
    elif isinstance(value, list) and value and all(isinstance(part, str) for part in value) and value[0]:
        parts = tuple(value)
    else:
        reader.problem(field_name, value, "text for a shell, or a list of program and arguments")
        return ()
    size = sum(len(part.encode(errors="surrogatepass")) for part in parts)
    if size > MOST_COMMAND_BYTES:
        reader.problem(field_name, f"{size} bytes", f"at most {MOST_COMMAND_BYTES} bytes")
    if any("\0" in part for part in parts):
        reader.problem(field_name, "a NUL character", "text without NUL characters")
    return parts


def _absolute_path(reader: Reader, key: str) -> str | None:
    value = reader.raw(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value or ".." in value.split("/"):
        reader.problem(reader.at(key), value, "an absolute path without ..")
        return None
    return value


def _model_checkpoint(reader: Reader) -> ModelCheckpointSpec | None:
    if not reader.has("model_checkpoint"):
        reader.raw("model_checkpoint")
        return None
    child = reader.child("model_checkpoint")
    spec = ModelCheckpointSpec(
        directory=_absolute_path(child, "directory"),
        grace_seconds=child.integer("grace_seconds", DEFAULT_GRACE_SECONDS, low=0, high=MOST_GRACE_SECONDS),
    )
    child.refuse_unknown()
    return spec


def _retry(reader: Reader) -> Retry:
    codes = reader.items("on_exit_codes")
    for number, code in enumerate(codes):
        if not isinstance(code, int) or isinstance(code, bool) or not 1 <= code <= 255:
            reader.problem(f"{reader.at('on_exit_codes')}[{number}]", code, "an exit code from 1 to 255")
    retry = Retry(
        max_attempts=reader.integer("max_attempts", 3, low=1, high=10),
        on_exit_codes=frozenset(code for code in codes if isinstance(code, int)),
    )
    reader.refuse_unknown()
    return retry


def refuse(field_name: str, got: str, want: str) -> Invalid:
    """An Invalid with a single problem."""
    return Invalid([FieldProblem(field_name, got, want)])

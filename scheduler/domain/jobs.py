"""What a researcher submits, and the states that a job goes through. `job_reading` reads what people write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from shlex import quote
from typing import Any

from scheduler.domain.gangs import Gang, Share, Topology
from scheduler.domain.retries import Retry
from scheduler.domain.time import from_rfc3339
from scheduler.domain.writing import to_json


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
        return _UPWARDS.index(self)


_UPWARDS = (Priority.LOW, Priority.NORMAL, Priority.HIGH)


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """Any device model that fits; what is None does not matter."""

    vendor: str | None = None  # key of the catalogue
    memory_bytes_at_least: int | None = None
    fp16_tflops_at_least: int | None = None
    domestic: bool | None = None


@dataclass(frozen=True, slots=True)
class ProcessEnvironment:
    """What stands around the command where it runs as plain processes of the host."""

    virtual_environment: str | None = None  # absolute path of a Python venv or conda environment
    source: tuple[str, ...] = ()  # shell files read first, such as CANN's set_env.sh

    def around(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The command inside this environment: a shell that prepares and then becomes the command."""
        steps = [f". {quote(file)}" for file in self.source]
        if self.virtual_environment is not None:
            folder = quote(self.virtual_environment)
            steps.append(f"export VIRTUAL_ENV={folder} PATH={folder}/bin:$PATH")
        return ("/bin/sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh", *command)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the job: a device model (or a class of them) with the command and environment for it."""

    model: str = ""  # key of the catalogue; empty only where a class stands instead
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    device_class: DeviceClass | None = None
    image: str | None = None  # container image; None: plain processes of the host
    image_credentials: str | None = None  # name of a secret of the project
    process_environment: ProcessEnvironment | None = None
    steps_per_hour: int | None = None  # declared throughput of the whole gang


class StopSignal(StrEnum):
    """By which a task is asked to save a model checkpoint and end."""

    TERM = "SIGTERM"
    INT = "SIGINT"
    USR1 = "SIGUSR1"
    USR2 = "SIGUSR2"


DEFAULT_PROJECT = "default"  # where none is said
DEFAULT_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class ModelCheckpointSpec:
    """The job saves model checkpoints and resumes from them: where, and how it is asked to save one."""

    directory: str | None = None  # absolute; None: a folder of the job
    signal: StopSignal = StopSignal.TERM
    grace_seconds: int = DEFAULT_GRACE_SECONDS  # between the signal and the kill


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that the pool has, as the tasks see it."""

    name: str
    mount_path: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A secret of the project, by name: never its value."""

    name: str
    environment: str | None = None  # variable that holds it
    file: str | None = None  # absolute path of a file that holds it


@dataclass(frozen=True, slots=True)
class Input:
    """What lies in the task's folder before the command starts."""

    path: str  # relative to the task's folder
    digest: str | None = None  # sha256:…, of an uploaded folder
    object: str | None = None  # s3://bucket/key, or s3://bucket/prefix for all below it
    store: str | None = None  # of the pool, by name; None: the only one
    credentials: str | None = None  # name of a secret of the project; None: requests are not signed


class WriteWhen(StrEnum):
    """After which ends of a task an output is written to its object store."""

    ALWAYS = "always"  # also after it has failed or was stopped for good
    SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True)
class Output:
    """What is taken from the task's folder when it has ended."""

    path: str
    object: str | None = None  # s3://bucket/prefix; None: kept by the installation
    store: str | None = None
    credentials: str | None = None
    when: WriteWhen = WriteWhen.ALWAYS
    keep_days: int = 30


@dataclass(frozen=True, slots=True)
class Port:
    """A port of task rank 0 (or another) that may be forwarded."""

    port: int
    name: str | None = None
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Jobs before this one: by id (also of an array), or by name within one batch."""

    after: tuple[str, ...] = ()  # have started, or ended
    after_ok: tuple[str, ...] = ()  # have succeeded; if one does not, this job is cancelled
    after_any: tuple[str, ...] = ()  # have ended, however

    @property
    def all(self) -> tuple[str, ...]:
        """Every reference once, in order."""
        return tuple(dict.fromkeys((*self.after, *self.after_ok, *self.after_any)))


@dataclass(frozen=True, slots=True)
class Array:
    """Many jobs of one spec, told apart by SUANLI_ARRAY_INDEX (0 to count - 1)."""

    count: int
    concurrency: int | None = None  # at most so many at a time; None: as many as fit


class NotifyOn(StrEnum):
    """Moments of a job that a webhook may hear of."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRIED = "retried"


@dataclass(frozen=True, slots=True)
class Notification:
    """A URL that hears of the job, signed as Standard Webhooks says (Ed25519)."""

    url: str
    on: frozenset[NotifyOn] = frozenset({NotifyOn.SUCCEEDED, NotifyOn.FAILED, NotifyOn.CANCELLED})


@dataclass(frozen=True, slots=True)
class Budget:
    """What the job may cost before it is stopped."""

    amount_cny: str  # decimal text, at most nine places

    @property
    def amount_nano(self) -> int:
        """In nano CNY, exact."""
        whole, _, part = self.amount_cny.partition(".")
        return int(whole + part.ljust(9, "0"))


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a researcher submits."""

    name: str
    variants: tuple[Variant, ...]
    project: str = DEFAULT_PROJECT
    queue: str = "default"
    kind: JobKind = JobKind.FINE_TUNE
    priority: Priority = Priority.NORMAL
    gang: Gang = field(default_factory=Gang)
    topology: Topology = field(default_factory=Topology)
    share: Share | None = None  # None: whole devices
    working_directory: str | None = None
    volumes: tuple[Volume, ...] = ()
    secrets: tuple[SecretReference, ...] = ()
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    ports: tuple[Port, ...] = ()
    model_checkpoint: ModelCheckpointSpec | None = None
    time_limit_seconds: int | None = None
    estimate_seconds: int | None = None  # how long one attempt is believed to take, without stops
    deadline: str | None = None  # RFC 3339 UTC: by when the job should have ended; it is stopped then
    retry: Retry = field(default_factory=Retry)
    dependencies: Dependencies = field(default_factory=Dependencies)
    array: Array | None = None
    hold: bool = False  # waits for a release
    labels: Mapping[str, str] = field(default_factory=dict)
    budget: Budget | None = None
    notification: Notification | None = None
    # Specs with the same one differ in name, labels, commands and environments at most (domain/job_templates.py);
    # None: nobody knows. It is no part of the value, and a spec that was made from another has none.
    likeness: bytes | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def time_limit_ms(self) -> int | None:
        """Longest time from the start of an attempt to its stop."""
        return None if self.time_limit_seconds is None else self.time_limit_seconds * 1000

    @property
    def estimate_ms(self) -> int | None:
        """The researcher's own estimate of one attempt's run time."""
        return None if self.estimate_seconds is None else self.estimate_seconds * 1000

    @property
    def deadline_ms(self) -> int | None:
        """When the job is to have ended, ms UTC."""
        return None if self.deadline is None else from_rfc3339(self.deadline)

    @property
    def grace_ms(self) -> int:
        """Time between the request to end and the kill."""
        checkpoint = self.model_checkpoint
        return (DEFAULT_GRACE_SECONDS if checkpoint is None else checkpoint.grace_seconds) * 1000

    def to_json(self) -> dict[str, Any]:
        """As stored: every default filled in; `spec_from_json` reads it back to an equal value."""
        written: dict[str, Any] = to_json(self)
        return written

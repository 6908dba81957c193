"""A job spec over HTTP, for readers: the law is `domain.job_reading.spec_from_json`, and a test holds the two together.

Every field but the name, a model (or class) and a command has a default; null means the default.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from scheduler.api.schemas.base import In
from scheduler.domain import job_limits as law
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.jobs import DEFAULT_GRACE_SECONDS
from scheduler.domain.retries import (
    DEFAULT_IMAGE_FAILED,
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_NODE_LOST,
    DEFAULT_PREEMPTED,
    DEFAULT_PREPARE_FAILED,
    DEFAULT_RULE_BUDGET,
)

Name = Annotated[str, Field(pattern=f"^{law.NAME_PATTERN}$")]
Command = Annotated[
    str | list[str],
    Field(
        description="Text for /bin/sh -c, or a program with its arguments; at most 128 KiB.",
        examples=[["python", "train.py"], "python train.py --steps 100"],
    ),
]
Environment = Annotated[
    dict[str, str],
    Field(
        max_length=law.MOST_ENVIRONMENT_ENTRIES,
        description="Variables of the task's processes. Put no secrets here: use `secrets`.",
        examples=[{"OMP_NUM_THREADS": "8"}],
    ),
]
AbsolutePath = Annotated[str, Field(pattern="^/", description="Absolute, without `..`.")]
InnerPath = Annotated[str, Field(description="Inside the task's folder, without `..`.", examples=["results"])]
Seconds = Annotated[
    int | str, Field(description="Whole seconds, or text such as 90s, 30m, 1h30m, 2d.", examples=["2h", 7200])
]
Bytes = Annotated[int | str, Field(description="Bytes, or text such as 16GiB.", examples=["16GiB"])]
Domain = Literal["fast-link-group", "node", "leaf", "supernode", "zone"]
Budget = Annotated[int, Field(ge=0, le=law.MOST_BUDGET)]


class ElasticIn(In):
    """The gang may run with any number of nodes whose devices lie in this range."""

    min_devices: Annotated[int | None, Field(ge=1, description="Absent: the gang's devices.")] = None
    max_devices: Annotated[int | None, Field(ge=1, description="Absent: the gang's devices.")] = None


class TaskGroupIn(In):
    """Tasks of one gang that are alike, such as learners and actors."""

    name: Name
    tasks: Annotated[int, Field(ge=1)] = 1
    devices_per_task: Annotated[int, Field(ge=1)] = 1
    processes_per_task: Annotated[int | None, Field(ge=1, description="Absent: one a device.")] = None
    command: Annotated[Command | None, Field(description="Absent: the variant's.")] = None


class GangIn(In):
    """Tasks that start together or not at all, each on a node of its own: numbers, or a list of groups."""

    devices: Annotated[int | None, Field(ge=1, le=law.MOST_DEVICES, description="In all. Absent: 1.")] = None
    devices_per_node: Annotated[
        int | None, Field(ge=1, description="A divisor of devices. Absent: all on one node.")
    ] = None
    processes_per_node: Annotated[int | None, Field(ge=1, description="Absent: one a device.")] = None
    elastic: Annotated[ElasticIn | None, Field(description="Absent: exactly `devices`.")] = None
    groups: Annotated[
        list[TaskGroupIn] | None,
        Field(max_length=law.MOST_GROUPS, description="Instead of the three numbers, where tasks differ."),
    ] = None
    spare_nodes: Annotated[
        int, Field(ge=0, le=law.MOST_SPARE_NODES, description="Kept beside the gang for a node that fails.")
    ] = 0


class TopologyIn(In):
    """How close the gang must or should be. Without either, the smallest domain with room is taken."""

    required: Annotated[Domain | None, Field(description="All tasks inside one, or the job waits.")] = None
    preferred: Annotated[Domain | None, Field(description="Tried first.")] = None


class ShareIn(In):
    """Each device of the gang is a part of a physical one. What is absent follows from the other."""

    ppm: Annotated[int | None, Field(ge=1, le=WHOLE_PPM, description="Millionths of its compute.")] = None
    memory_bytes: Bytes | None = None


class DeviceClassIn(In):
    """Any device model that fits. Conditions that are absent do not matter."""

    vendor: Annotated[str | None, Field(examples=["ascend"])] = None
    memory_bytes_at_least: Bytes | None = None
    fp16_tflops_at_least: Annotated[int | None, Field(ge=1)] = None
    domestic: bool | None = None


class ProcessEnvironmentIn(In):
    """What stands around the command where it runs as plain processes of the host."""

    virtual_environment: Annotated[
        AbsolutePath | None, Field(description="Folder of a Python venv or conda environment.")
    ] = None
    source: Annotated[
        list[AbsolutePath],
        Field(
            description="Shell files that are read first.",
            examples=[["/usr/local/Ascend/ascend-toolkit/set_env.sh"]],
        ),
    ] = Field(default_factory=list)


class _VariantFields(In):
    """What a variant says, and what may stand at the top of a job with one variant."""

    model: Annotated[
        str | None,
        Field(pattern=f"^{law.MODEL_PATTERN}$|^$", description="Key of a device model (GET /v1/models)."),
    ] = None
    device_class: Annotated[
        DeviceClassIn | None, Field(description="Instead of a model: every model of the catalogue that fits.")
    ] = None
    image: Annotated[
        str | None,
        Field(pattern=f"^{law.IMAGE_PATTERN}$", description="Absent: plain processes of the host."),
    ] = None
    image_credentials: Annotated[Name | None, Field(description="Name of a secret of the project.")] = None
    process_environment: ProcessEnvironmentIn | None = None
    steps_per_hour: Annotated[
        int | None,
        Field(ge=1, description="Declared throughput of the whole gang, compared between variants."),
    ] = None


class VariantIn(_VariantFields):
    """One way to run the job: a device model, or a class of them, with the command for it."""

    command: Command
    environment: Environment = Field(default_factory=dict)


class VolumeIn(In):
    """A volume that the job's pools have (`GET /v1/pools`), at a path of the task's own."""

    name: Name
    mount_path: AbsolutePath
    read_only: bool = True


class SecretReferenceIn(In):
    """A secret of the project by its name, given as a variable or as a file: exactly one of the two."""

    name: Name
    environment: Annotated[str | None, Field(pattern=f"^{law.ENVIRONMENT_PATTERN}$")] = None
    file: AbsolutePath | None = None


StoreName = Annotated[
    Name | None, Field(description="Object store of the pool (`GET /v1/pools`). Absent: the only one.")
]
Credentials = Annotated[
    Name | None,
    Field(
        description="Secret of the project with lines AWS_ACCESS_KEY_ID=, AWS_SECRET_ACCESS_KEY= and, where there is "
        "one, AWS_SESSION_TOKEN=. Absent: requests are not signed."
    ),
]


class InputIn(In):
    """What lies in the task's folder before the command starts: an upload or an object-store path."""

    path: InnerPath
    digest: Annotated[
        str | None,
        Field(pattern=f"^{law.DIGEST_PATTERN}$", description="Of a folder that the client uploaded."),
    ] = None
    object: Annotated[
        str | None,
        Field(
            examples=["s3://corpora/wudao"],
            description="An object, or everything below it. {job_id}, {attempt}, {rank}, {array_index} are filled in.",
        ),
    ] = None
    store: StoreName = None
    credentials: Credentials = None


class OutputIn(In):
    """What is taken from the task's folder when the job has ended."""

    path: Annotated[
        str,
        Field(
            description="Inside the task's folder, without `..`: a file, a folder, or a pattern of files, in which `*` "
            "and `?` stand for what is in one name and `**` for any folders.",
            examples=["results", "out/**/*.safetensors"],
        ),
    ]
    object: Annotated[
        str | None,
        Field(
            examples=["s3://results/run-7"],
            description="What is at the path, below this. {job_id}, {attempt}, {rank}, {array_index} are filled in. "
            "Absent: kept for `suanli fetch`.",
        ),
    ] = None
    store: StoreName = None
    credentials: Credentials = None
    when: Annotated[
        Literal["always", "succeeded"],
        Field(description="After which ends it is written to its object store."),
    ] = "always"
    keep_days: Annotated[int, Field(ge=1, le=3_650, description="Where it is kept for `suanli fetch`.")] = 30


class PortIn(In):
    """A port of a task that may be forwarded."""

    port: Annotated[int, Field(ge=1, le=65_535)]
    name: Name | None = None
    rank: Annotated[int, Field(ge=0, description="Of the task.")] = 0


class ModelCheckpointIn(In):
    """The job saves model checkpoints and resumes from them."""

    directory: Annotated[AbsolutePath | None, Field(description="Absent: a folder of the job.")] = None
    signal: Annotated[
        Literal["SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2"],
        Field(
            description="Asks the processes to save a model checkpoint and end. Other than SIGTERM it ends a shell "
            "around the program: give the command as a list, or put exec before it."
        ),
    ] = "SIGTERM"
    grace_seconds: Annotated[Seconds, Field(description="Between the signal and the kill.")] = (
        DEFAULT_GRACE_SECONDS
    )


class ExitCodeRuleIn(In):
    """Ends with one of these exit codes are retried."""

    codes: Annotated[list[Annotated[int, Field(ge=1, le=255)]], Field(min_length=1)]
    budget: Annotated[int, Field(ge=1, le=law.MOST_BUDGET)] = DEFAULT_RULE_BUDGET


class LogPatternRuleIn(In):
    """Ends after a line like this are retried."""

    pattern: Annotated[
        str,
        Field(
            min_length=1,
            max_length=law.MOST_PATTERN_CHARACTERS,
            description="Text in one line of output; * stands for anything.",
            examples=["HCCL*timeout"],
        ),
    ]
    budget: Annotated[int, Field(ge=1, le=law.MOST_BUDGET)] = DEFAULT_RULE_BUDGET


class RetryIn(In):
    """When an attempt that ended badly is followed by another: a budget for each kind of end."""

    max_attempts: Annotated[
        int,
        Field(ge=1, le=law.MOST_ATTEMPTS, description="The first included; preempted ones do not count."),
    ] = DEFAULT_MAX_ATTEMPTS
    node_lost: Annotated[Budget, Field(description="A node, or the task on it, was lost.")] = (
        DEFAULT_NODE_LOST
    )
    preempted: Budget = DEFAULT_PREEMPTED
    prepare_failed: Annotated[Budget, Field(description="It could not be prepared.")] = DEFAULT_PREPARE_FAILED
    image_failed: Annotated[Budget, Field(description="Its container image could not be had.")] = (
        DEFAULT_IMAGE_FAILED
    )
    out_of_memory: Budget = 0
    on_exit_codes: Annotated[
        list[Annotated[int, Field(ge=1, le=255)] | ExitCodeRuleIn],
        Field(description="Rules; bare codes together make one rule.", examples=[[75], [{"codes": [75]}]]),
    ] = Field(default_factory=list)
    on_log_patterns: list[str | LogPatternRuleIn] = Field(default_factory=list)


class DependenciesIn(In):
    """Jobs before this one: by id (an array's id means all its jobs), or by name within one batch."""

    after: Annotated[list[str], Field(description="Have started, or ended.")] = Field(default_factory=list)
    after_ok: Annotated[
        list[str], Field(description="Have succeeded. If one does not, this job is cancelled.")
    ] = Field(default_factory=list)
    after_any: Annotated[list[str], Field(description="Have ended, however.")] = Field(default_factory=list)


class ArrayIn(In):
    """Many jobs of one spec, told apart by SUANLI_ARRAY_INDEX."""

    count: Annotated[int, Field(ge=1, le=law.MOST_ARRAY)]
    concurrency: Annotated[
        int | None, Field(ge=1, le=law.MOST_ARRAY, description="At most so many at a time.")
    ] = None


class BudgetIn(In):
    """What the job may cost before it is stopped."""

    amount_cny: Annotated[str, Field(pattern=f"^{law.AMOUNT_PATTERN}$", examples=["250.00"])]


class NotificationIn(In):
    """A URL that hears of the job, signed as Standard Webhooks says (Ed25519)."""

    url: Annotated[str, Field(max_length=law.MOST_URL_CHARACTERS, pattern="^https://")]
    on: Annotated[
        list[Literal["started", "succeeded", "failed", "cancelled", "retried"]],
        Field(description="Absent: succeeded, failed, cancelled."),
    ] = Field(default_factory=list)


_SHORTEST: JsonDict = {"name": "hello", "model": "ascend-910b3", "command": "python hello.py"}
_GANG: JsonDict = {
    "name": "tune-qwen",
    "project": "research",
    "gang": {"devices": 16, "devices_per_node": 8},
    "variants": [
        {
            "model": "ascend-910b3",
            "command": ["python", "train.py"],
            "process_environment": {"source": ["/usr/local/Ascend/ascend-toolkit/set_env.sh"]},
        },
        {"model": "mlu370-x8", "command": ["python", "train.py"]},
    ],
    "time_limit_seconds": "12h",
    "estimate_seconds": "8h",
    "model_checkpoint": {"signal": "SIGUSR1", "grace_seconds": "2m"},
    "retry": {"node_lost": 5, "on_exit_codes": [{"codes": [75], "budget": 3}]},
    "labels": {"paper": "icml"},
}


class JobSpecIn(_VariantFields):
    """What a researcher submits. With one variant, its fields may stand at the top."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHORTEST, _GANG]})

    name: Name
    project: Name = "default"
    queue: Name = "default"
    kind: Literal["pretrain", "fine-tune", "evaluate", "interactive"] = "fine-tune"
    priority: Annotated[
        Literal["low", "normal", "high"], Field(description="Class of order within and between queues.")
    ] = "normal"
    gang: GangIn = Field(default_factory=GangIn)
    topology: TopologyIn = Field(default_factory=TopologyIn)
    share: Annotated[ShareIn | None, Field(description="Absent: whole devices.")] = None
    variants: Annotated[
        list[VariantIn] | None,
        Field(min_length=1, max_length=law.MOST_VARIANTS, description="Ways to run the job; one is chosen."),
    ] = None
    command: Command | None = None
    environment: Environment | None = None
    working_directory: Annotated[AbsolutePath | None, Field(description="Absent: the task's own folder.")] = (
        None
    )
    volumes: Annotated[list[VolumeIn], Field(max_length=law.MOST_LISTED)] = Field(default_factory=list)
    secrets: Annotated[list[SecretReferenceIn], Field(max_length=law.MOST_LISTED)] = Field(
        default_factory=list
    )
    inputs: Annotated[list[InputIn], Field(max_length=law.MOST_LISTED)] = Field(default_factory=list)
    outputs: Annotated[list[OutputIn], Field(max_length=law.MOST_LISTED)] = Field(default_factory=list)
    ports: Annotated[
        list[Annotated[int, Field(ge=1, le=65_535)] | PortIn],
        Field(
            max_length=law.MOST_LISTED,
            description="Numbers, or ports with a name and a task.",
            examples=[[8888]],
        ),
    ] = Field(default_factory=list)
    model_checkpoint: ModelCheckpointIn | None = None
    time_limit_seconds: Annotated[
        Seconds | None, Field(description="From an attempt's start to its stop. Absent: none.")
    ] = None
    estimate_seconds: Annotated[
        Seconds | None, Field(description="How long an attempt will take by your estimate; helps backfill.")
    ] = None
    deadline: Annotated[
        str | None,
        Field(
            description="RFC 3339 with a zone. The job is stopped then, also while it waits.",
            examples=["2026-12-01T08:00:00+08:00"],
        ),
    ] = None
    retry: RetryIn = Field(default_factory=RetryIn)
    dependencies: DependenciesIn = Field(default_factory=DependenciesIn)
    array: ArrayIn | None = None
    hold: Annotated[bool, Field(description="Waits until it is released.")] = False
    labels: Annotated[dict[str, str], Field(max_length=law.MOST_LABELS, examples=[{"paper": "icml"}])] = (
        Field(default_factory=dict)
    )
    budget: BudgetIn | None = None
    notification: NotificationIn | None = None

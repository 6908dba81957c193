"""Answers of the API as typed dictionaries. They may hold more keys than are named here."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from suanli.client.node_types import Device, Free, Node, Nodes, Occupant, Place

JobState = Literal["queued", "allocated", "running", "stopping", "succeeded", "failed", "cancelled"]
FINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})


class StepReport(TypedDict):
    """The job's own account of its progress."""

    step: int | None
    of: int | None
    loss: float | None
    tokens: int | None
    model_checkpoint: str | None
    at: str | None


class Job(TypedDict):
    """A job with where it is. Times are RFC 3339 in UTC."""

    job_id: str
    name: str
    firm: str
    project: str
    queue: str
    state: JobState
    attempt: int
    device_model: str | None
    devices: int
    simulated: bool | None
    reason: str | None
    detail: str | None
    exit_code: int | None
    step_report: StepReport | None
    cancel_requested: bool
    held: bool
    revision: int
    array_id: str | None
    array_index: int | None
    submitted_by: str
    submitted_at: str
    started_at: str | None
    ended_at: str | None
    warnings: list[Wrong]  # what its spec says, and can hardly mean
    spec: dict[str, Any]


class JobPage(TypedDict):
    """A page of jobs, newest first."""

    jobs: list[Job]
    next_cursor: str | None


class Refusal(TypedDict):
    """Why an item of a batch was refused."""

    code: str
    detail: str
    errors: list[dict[str, str]]


class Outcome(TypedDict):
    """What became of one item of a batch."""

    item: int
    name: str | None
    job_id: str | None
    array_id: str | None
    jobs: int
    refused: Refusal | None
    warnings: list[Wrong]


class Batch(TypedDict):
    """What became of a batch."""

    submitted: int
    refused: int
    outcomes: list[Outcome]


class VariantPrice(TypedDict):
    """What a variant costs, in yuan."""

    model: str
    device_hour_cny: str | None
    gang_hour_cny: str | None
    at_most_cny: str | None
    estimate_cny: str | None


class Trial(TypedDict):
    """What would become of a job."""

    valid: bool
    starts_now: bool
    device_model: str | None
    pool: str | None
    position: int | None
    reasons: list[Reason]
    counterfactual: str | None
    starts_by: str | None
    starts: Starts | None
    prices: list[VariantPrice]
    warnings: list[Wrong]  # what the job says, and can hardly mean
    spec: dict[str, Any]


class Starts(TypedDict):
    """Between which moments a waiting job starts, with a probability of 80 %."""

    earliest: str
    expected: str
    latest: str


class Waiting(TypedDict):
    """A waiting job in its queue."""

    position: int | None
    firm: str
    job_id: str
    name: str
    array_index: int | None
    submitted_by: str
    priority: str
    devices: int
    share_ppm: int  # of each device
    models: list[str]
    submitted_at: str
    why: str
    counterfactual: str | None
    starts: Starts | None


class Task(TypedDict):
    """A task of an attempt."""

    allocation_id: str
    rank: int
    node: str
    devices: list[int]
    goal: str
    phase: str | None
    exit_code: int | None
    end_reason: str | None
    detail: str | None
    granted_at: str
    started_at: str | None
    ended_at: str | None


class Attempt(TypedDict):
    """One try at running a job."""

    attempt: int
    variant: int
    device_model: str
    state: str
    outcome: str | None
    reason: str | None
    why_here: dict[str, Any]
    image_digest: str | None  # of the container image that it runs in
    allocated_at: str
    started_at: str | None
    ended_at: str | None
    tasks: list[Task]


class Reason(TypedDict):
    """Why a job waits."""

    reason: str
    domain: str | None
    device_model: str | None
    asked: int | None
    available: int | None
    sentence: str


class Explanation(TypedDict):
    """Why a job is where it is."""

    job_id: str
    name: str
    state: JobState
    sentence: str
    position: int | None
    reasons: list[Reason]
    counterfactual: str | None
    starts: Starts | None
    placement: dict[str, Any] | None
    account: list[str]
    reported_at: str | None


class LogRecord(TypedDict, total=False):
    """A piece of output; or, at the end, a note that some of it is missing."""

    attempt: int
    rank: int
    task_rank: int
    local_rank: int
    stream: Literal["stdout", "stderr"]
    offset: int  # of the text's first byte in its stream
    end: int  # behind its last
    at: str | None  # when it reached the control plane: RFC 3339 with milliseconds, UTC
    text: str
    note: str
    missing: list[str]


class Event(TypedDict):
    """A fact in past tense."""

    event_seq: int
    at: str
    kind: str
    job_id: str | None
    node_id: str | None
    data: dict[str, Any]


class Difference(TypedDict):
    """One fact that changed."""

    field: str
    was: Any
    now: Any


class Change(TypedDict):
    """What applying a file did to one object."""

    kind: str
    name: str
    outcome: Literal["created", "changed", "unchanged"]
    differences: list[Difference]


class Wrong(TypedDict):
    """A field of a file: what it has, and what would be right."""

    field: str
    got: str
    want: str


class Applied(TypedDict):
    """What applying a file did, or would do."""

    dry_run: bool
    changes: list[Change]
    warnings: list[Wrong]  # what was written, and can hardly be meant


class Whoami(TypedDict):
    """Who calls. `projects`: where they may act; None: in all of the firm's."""

    name: str
    kind: str
    role: str
    firm: str | None
    firm_id: str | None
    projects: list[str] | None


class Issuer(TypedDict):
    """Where people sign in."""

    issuer: str
    client_id: str
    scopes: list[str]


class Principal(TypedDict):
    """A principal."""

    name: str
    kind: str
    role: str
    firm: str | None
    created_at: str
    disabled: bool
    issuer: str | None


class NewApiKey(TypedDict):
    """A key at the only moment when its text is known."""

    api_key_id: str
    api_key: str
    principal: str
    scope: str
    expires_at: str | None


class ApiKey(TypedDict):
    """A key without its text."""

    api_key_id: str
    principal: str
    scope: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class JoinToken(TypedDict):
    """A join token at the only moment when its text is known."""

    token_id: str
    token: str
    pool: str
    uses: int
    expires_at: str


class Model(TypedDict):
    """A device model of the catalogue."""

    model: str
    name: str
    vendor: str
    domestic: bool
    memory_bytes: int | None
    fp16_tflops: float | None
    devices_per_node: int | None
    allowed_devices_per_node: list[int] | None


class Price(TypedDict):
    """A price version."""

    price_id: str
    device_model: str
    price_nano_cny: int
    price_cny_per_device_hour: str
    effective_from: str
    in_force: bool


class Program(TypedDict):
    """A version of a subsidy program: `rate_ppm` of what is paid for the use that `usage_measure` names."""

    program_id: str
    version: int
    title: str
    legal_reference: str
    rate_ppm: int
    rate_meaning: str
    usage_measure: str
    domestic_only: bool
    domestic_models: list[str]
    per_firm_cap_fen: int | None
    effective_from: str
    in_force: bool


class Queue(TypedDict):
    """A queue."""

    firm: str
    name: str
    pools: list[str]
    nominal: dict[str, int]
    weight: int
    cohort: str | None


class Firm(TypedDict):
    """A firm."""

    name: str
    title: str
    projects: list[str]


class PoolVolume(TypedDict):
    """A volume of a pool; `host_path` and `firms` for operators alone."""

    name: str
    read_only: bool
    shared: bool
    host_path: str | None
    firms: list[str] | None


class ObjectStore(TypedDict):
    """An S3-compatible store of a pool."""

    name: str
    endpoint: str
    region: str
    addressing: str


class Pool(TypedDict):
    """A pool."""

    name: str
    backend: str
    patience_seconds: int
    volumes: list[PoolVolume]
    object_stores: list[ObjectStore]


__all__ = ["Device", "Free", "Node", "Nodes", "Occupant", "Place"]


class FirmStatement(TypedDict):
    """What a firm's statement of a closed period came to."""

    firm_id: str
    firm: str
    sha256: str
    total_fen: int
    net_fen: int


Period = TypedDict("Period", {"from": str, "to": str, "log_size": int, "statements": list[FirmStatement]})
"""A closed period: what lies below `log_size` belongs to it, what comes later is a correction."""
